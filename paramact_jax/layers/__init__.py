"""Flax layers of the activation records; they keep a and b in Flax params."""

from paramact_jax.layers import linen, nnx
from paramact_jax.layers.labels import ACTIVATION, WEIGHTS, parameter_labels, weight_decay_mask
from paramact_jax.layers.maxout import maxout
from paramact_jax.layers.retrofit import Retrofit, parametrise
from paramact_jax.layers.sharing import Sharing

__all__ = [
    "ACTIVATION",
    "WEIGHTS",
    "Retrofit",
    "Sharing",
    "linen",
    "maxout",
    "nnx",
    "parameter_labels",
    "parametrise",
    "weight_decay_mask",
]
