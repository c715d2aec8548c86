"""Data as NumPy arrays."""

from paramact_jax.datasets.xor import xor

__all__ = ["xor"]
