"""Describes arrays and other values in one short line each, the same in every process."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHORT = 8
"""Largest number of entries of an array that is written out."""


def describe_value(value: Any) -> str:
    """Returns a value in one short line: the value itself if it is short, otherwise type, shape and checksum.

    Examples:
      >>> describe_value(np.arange(3))
      'int64 [0, 1, 2]'
      >>> describe_value(np.zeros((20, 30)))
      'float64[20, 30] sha256:24ddaa4710480313'
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"{value.dtype} {describe_value(jax.random.key_data(value))}"
    if is_array(value):
        return _describe_array(value)
    text = without_addresses(repr(value))
    return text if len(text) <= 80 and "\n" not in text else f"{type(value).__name__} {checksum(text.encode())}"


def is_array(value: Any) -> bool:
    """Returns whether a value is an array: of NumPy, of JAX, or of a kind in which JAX keeps constants."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in ("dtype", "shape", "__array__"))


def checksum(content: bytes | memoryview) -> str:
    """Returns the first sixteen digits of the SHA-256 of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"


def without_addresses(text: str) -> str:
    """Returns a text without the memory addresses that default texts of objects have."""
    return re.sub(r"(?: at )?0x[0-9a-fA-F]{6,}", "", text)


def _describe_array(value: Any) -> str:
    if isinstance(value, jax.Array) and not value.is_fully_addressable:  # this process has only a part of it
        parts = ", ".join(_describe_array(shard.data) for shard in value.addressable_shards)
        return f"{value.dtype}{list(value.shape)} {checksum(parts.encode())}"
    array = np.asarray(value)
    if array.dtype == object:
        return f"object{list(array.shape)} {checksum(without_addresses(repr(array.tolist())).encode())}"
    if 0 < array.size <= SHORT:
        return f"{array.dtype} {array.tolist()}"
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{array.dtype}{list(array.shape)} {checksum(content.data)}"
