"""Converts arguments of this package to plain Python and NumPy numbers, or refuses them in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def finite_numbers(values: ArrayLike, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns the values in float64; raises ValueError if one is not a finite real number."""
    try:
        given = np.asarray(values)
        if np.iscomplexobj(given):
            raise TypeError("complex numbers")
        x = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected {name} to be real numbers in rows of equal length, got {values!r:.80}") from error
    bad = int(np.count_nonzero(~np.isfinite(x)))
    if bad:
        raise ValueError(
            f"expected finite {name}, got {bad} of {x.size} that are not; count or drop those trials first"
        )
    return x


def whole_number(value: Any) -> int | None:
    """Returns the value as Python's int, which does not overflow; None if it is not a single whole number.

    Examples:
      >>> whole_number(np.uint8(200)), whole_number(3.0), whole_number(2.5), whole_number("3")
      (200, 3, None, None)
    """
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf" or not float(array).is_integer():
        return None
    return int(array)


def at_least(name: str, value: Any, least: int) -> int:
    """Returns the value as Python's int; raises ValueError if it is not a whole number >= `least`."""
    number = whole_number(value)
    if number is None or number < least:
        raise ValueError(f"expected {name} >= {least}, a whole number, got {value!r}")
    return number


def real_number(value: Any) -> float:
    """Returns the value as Python's float, so that no small dtype rounds; nan if it is not a single real number."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 and array.dtype.kind in "iuf" else float("nan")


def check_confidence(confidence: Any) -> float:
    """Returns the confidence as Python's float; raises ValueError if it is not a number within (0, 1)."""
    if not 0 < (number := real_number(confidence)) < 1:
        raise ValueError(f"expected a confidence within (0, 1), got {confidence!r}")
    return number
