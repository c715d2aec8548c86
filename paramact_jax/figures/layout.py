"""The parts that all figures share: axes of losses and of counts, and the title."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter


def log_axis(axes: Axes, curves: np.ndarray, *, room: float) -> None:
    """Makes the vertical axis logarithmic, with limits from the curves, since a band down to 0 has no lower limit.

    Args:
      axes: axes to change; they stay as they are if no value is positive.
      curves: all values that must be visible, of any shape; values that are not finite or not positive are ignored.
      room: free space above and below, as a share of the limits.
    """
    positive = curves[np.isfinite(curves) & (curves > 0)]
    if not len(positive):
        return
    axes.set(yscale="log", ylim=((1 - room) * positive.min(), (1 + room) * positive.max()))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def count_axis(axes: Axes) -> None:
    """Sets the ticks of the horizontal axis to whole numbers, since there is no step 2.5.

    Args:
      axes: axes to change.
    """
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def titled(figure: Figure, title: str) -> None:
    """Puts a title over the figure, in as many lines as needed.

    Args:
      figure: figure to change.
      title: the text.
    """
    figure.suptitle(title, wrap=True)
