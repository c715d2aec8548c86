"""Checks of options that several commands share, in one line each. Standard library only."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

MAX_SEED = 2**32 - 1
"""That of `paramact_jax.sweeps`, which imports JAX."""


def expect(value: float, field: str, expected: str, holds: Callable[[float], bool]) -> None:
    """Refuse a value of a field.

    Args:
      value: of the option.
      field: as Python has it, "first_seed" for --first-seed.
      expected: what it should be.
      holds: whether it is.

    Raises:
      ValueError: if it is not.
    """
    if not holds(value):
        raise ValueError(f"--{field.replace('_', '-')}: expected {expected}, got {value}")


def check_positive(option: str, values: Sequence[float]) -> None:
    """Refuse numbers that the trainings, which have them as float32, cannot have.

    Args:
      option: with its dashes.
      values: one number, or several that have to differ.

    Raises:
      ValueError: for no number, one that is not finite and > 0 as float32, or two that are the same there.

    Examples:
      >>> check_positive("--rates", [0.1, 1e-50])
      Traceback (most recent call last):
        ...
      ValueError: --rates: expected finite numbers > 0 that float32 can hold, got 1e-50
    """
    found = [_float32(value) for value in values]
    for value, as_float32 in zip(values, found, strict=True):
        if not (math.isfinite(as_float32) and as_float32 > 0):
            raise ValueError(f"{option}: expected finite numbers > 0 that float32 can hold, got {value}")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{option}: expected at least one value and each once as float32, got {list(values)}")


def check_each_once(option: str, values: Sequence[object]) -> None:
    """Refuse no value, or one twice.

    Args:
      option: with its dashes.
      values: of the option.

    Raises:
      ValueError: for such values.
    """
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{option}: expected at least one value and each once, got {list(values)}")


def check_first_seed(first_seed: int, seeds: int) -> None:
    """Refuse a first seed from which so many would leave 0 to 2**32 - 1.

    Raises:
      ValueError: for such a one.
    """
    last = MAX_SEED - seeds + 1
    if not 0 <= first_seed <= last:
        raise ValueError(f"--first-seed: expected an integer within 0..{last}, got {first_seed}")


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.inf
