"""How the tables of an MNIST run write an interval and a verdict."""

from __future__ import annotations

import math


def range_cell(bounds: tuple[float, float] | None, form: str) -> str:
    """Both ends in a format; empty where there is no interval.

    Examples:
      >>> range_cell((-0.5, 1.0), ".1f")
      '-0.5 to 1.0'
    """
    return "" if bounds is None or math.isnan(bounds[0]) else f"{bounds[0]:{form}} to {bounds[1]:{form}}"


def yes_no_cell(value: bool | None) -> str:
    """Empty where there is no verdict."""
    return {None: "", True: "yes", False: "no"}[value]
