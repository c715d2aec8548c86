"""The vertical axis of losses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter


def log_axis(axes: Axes, curves: np.ndarray, *, room: float) -> None:
    """Make the vertical axis logarithmic, with the limits of the curves: a band down to 0 has no end on it.

    Args:
      axes: to change; left as they are if no value is positive.
      curves: all values that are to be seen, of any shape; those that are not finite or not positive are not.
      room: share of the limits that is left free above and below.
    """
    positive = curves[np.isfinite(curves) & (curves > 0)]
    if not len(positive):
        return
    axes.set(yscale="log", ylim=((1 - room) * positive.min(), (1 + room) * positive.max()))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
