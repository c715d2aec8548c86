"""Where a gradient vanishes, and why: the factors of the chain rule, layer by layer."""

from paramact_jax.gradients import mean_field, units
from paramact_jax.gradients.attribution import Attribution, attribute
from paramact_jax.gradients.backward import UnitState
from paramact_jax.gradients.decay import Cause, LayerDecay, causes_of
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
    "FeatureMapGradients",
    "Kind",
    "LayerDecay",
    "LayerGradients",
    "LayerJacobians",
    "Spectra",
    "UnitState",
    "attribute",
    "causes_of",
    "chain",
    "feature_map_gradients",
    "layer_jacobians",
    "mean_field",
    "parameter_gradients",
    "spectra",
    "units",
]
