"""The colours and lines of all figures: curves differ for colour-blind readers and in grey print."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import to_rgb

COLOURS = tuple(
    to_rgb(colour)
    for colour in ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#882255")
)
"""The colours of Okabe and Ito (2008), with grey in place of black, which hides marks, and wine in place of yellow."""
_DASHES = ("-", "--", "-.", (0, (8, 2)), (0, (4, 1.5, 1, 1.5, 1, 1.5)))


def colour(i: int) -> tuple[float, float, float]:
    """Returns the colour of the i-th curve.

    Args:
      i: number of the curve, from 0.
    """
    return COLOURS[i % len(COLOURS)]


def style(i: int) -> dict[str, Any]:
    """Returns the look of the i-th curve as options of `plot`; among 40 curves no two have the same colour and dashes.

    Args:
      i: number of the curve, from 0.

    Examples:
      >>> style(0)["linestyle"], style(1)["linestyle"], style(8)["color"] == style(0)["color"]
      ('-', '--', True)
    """
    return {"color": colour(i), "linestyle": _DASHES[i % len(_DASHES)]}
