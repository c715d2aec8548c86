"""Flax layers over the activation records: here a and b live in Flax params."""

from paramact_jax.layers import nnx
from paramact_jax.layers.labels import ACTIVATION, WEIGHTS, parameter_labels

__all__ = ["ACTIVATION", "WEIGHTS", "nnx", "parameter_labels"]
