"""Networks of the layers, and the same networks as pure functions of their params."""

from paramact_jax.networks.cnn import CNN
from paramact_jax.networks.mlp import MLP
from paramact_jax.networks.pure import (
    Params,
    forward,
    forward_with_values,
    params_of,
    with_activation,
    with_params,
)

__all__ = ["CNN", "MLP", "Params", "forward", "forward_with_values", "params_of", "with_activation", "with_params"]
