"""How a table writes an interval, a number and a verdict."""

from __future__ import annotations

import math


def range_cell(bounds: tuple[float, float] | None, form: str) -> str:
    """Both ends in a format; empty where there is no interval.

    Examples:
      >>> range_cell((-0.5, 1.0), ".1f")
      '-0.5 to 1.0'
    """
    return "" if bounds is None or math.isnan(bounds[0]) else f"{bounds[0]:{form}} to {bounds[1]:{form}}"


def share_cell(bounds: tuple[float, float] | None) -> str:
    """The interval of a share, cut off at 0 and 1, beyond which a t interval of few values may reach.

    Examples:
      >>> share_cell((-0.02, 0.154))
      '0.0% to 15.4%'
    """
    return "" if bounds is None else range_cell((max(bounds[0], 0), min(bounds[1], 1)), ".1%")


def number_cell(value: float) -> str:
    """Four digits, or thousands; empty where there is no number.

    Examples:
      >>> number_cell(0.0123456), number_cell(12345.6), number_cell(math.nan)
      ('0.01235', '12,346', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def yes_no_cell(value: bool | None) -> str:
    """Empty where there is no verdict."""
    return {None: "", True: "yes", False: "no"}[value]


def verdict_cell(holds: bool | None) -> str:
    """Of a statement."""
    return {None: "undecided", True: "true", False: "false"}[holds]
