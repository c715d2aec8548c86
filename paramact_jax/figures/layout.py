"""What the figures have in common: axes of losses and of counts, the legend, the title."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter


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


def count_axis(axes: Axes) -> None:
    """Gives the horizontal axis ticks at whole numbers: there is no step 2.5.

    Args:
      axes: to change.
    """
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def titled(figure: Figure, title: str) -> None:
    """Puts a title over the figure, in as many lines as its width asks for.

    Args:
      figure: to change.
      title: what to write.
    """
    figure.suptitle(title, wrap=True)
