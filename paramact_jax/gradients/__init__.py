"""Where a gradient vanishes, and why: the factors of the chain rule, layer by layer."""

from paramact_jax.gradients import mean_field, units
from paramact_jax.gradients.attribution import Attribution, attribute
from paramact_jax.gradients.backward import Units
from paramact_jax.gradients.decay import Cause, Decay, cause
from paramact_jax.gradients.feature_maps import FeatureMapGradients, feature_map_gradients
from paramact_jax.gradients.jacobians import (
    Chain,
    LayerGradients,
    LayerJacobians,
    chain,
    layer_jacobians,
    parameter_gradients,
)
from paramact_jax.gradients.kinds import Kind
from paramact_jax.gradients.spectra import Spectra, spectra

__all__ = [
    "Attribution",
    "Cause",
    "Chain",
    "Decay",
    "FeatureMapGradients",
    "Kind",
    "LayerGradients",
    "LayerJacobians",
    "Spectra",
    "Units",
    "attribute",
    "cause",
    "chain",
    "feature_map_gradients",
    "layer_jacobians",
    "mean_field",
    "parameter_gradients",
    "spectra",
    "units",
]
