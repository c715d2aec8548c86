"""Data sets as NumPy arrays: MNIST, other labelled images, XOR."""

from paramact_jax.datasets.cache import cache_directory
from paramact_jax.datasets.digits import Digits
from paramact_jax.datasets.idx import parse_idx, read_idx, to_idx
from paramact_jax.datasets.mnist import load_mnist
from paramact_jax.datasets.own import load_images
from paramact_jax.datasets.subsets import balanced_subset
from paramact_jax.datasets.synthetic import synthetic_mnist
from paramact_jax.datasets.xor import xor

__all__ = [
    "Digits",
    "balanced_subset",
    "cache_directory",
    "load_images",
    "load_mnist",
    "parse_idx",
    "read_idx",
    "synthetic_mnist",
    "to_idx",
    "xor",
]
