"""Draws the smallest and the largest of many values by step, in one panel for each set of values: [P, Fig. 13]."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from paramact_jax.figures.colours import colour
from paramact_jax.figures.layout import count_axis, titled

_COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class RangeHistory:
    """The range of some values in several runs; nothing is drawn where it is not finite.

    Attributes:
      label: title of the panel.
      smallest, largest: (runs, steps). The first run is drawn as lines, the range of all runs as a band.
    """

    label: str
    smallest: np.ndarray
    largest: np.ndarray


def range_panels(
    steps: np.ndarray,
    histories: Sequence[RangeHistory],
    *,
    until: int | None = None,
    reach: float | None = None,
    xlabel: str = "step",
    ylabel: str = "smallest and largest value",
    title: str = "",
) -> Figure:
    """Draws one panel per history, all with the same axes.

    Args:
      steps: the step of every value, in rising order.
      histories: one panel each, (a), (b), ... in this order.
      until: right end of the axes; by default the last step.
      reach: the y axis goes from -reach to reach, and values beyond are cut off; by default all values are shown.
      xlabel: name of the steps.
      ylabel: name of the values.
      title: of the whole figure.

    Raises:
      ValueError: if there are no histories, one has no run, or its number of steps is not that of `steps`.
    """
    if not histories:
        raise ValueError("expected at least one history, got none")
    for history in histories:
        for values in (history.smallest, history.largest):
            if values.ndim != 2 or len(values) == 0 or values.shape[1] != len(steps):
                raise ValueError(f"{history.label}: expected values (runs, {len(steps)}), got shape {values.shape}")
    columns = min(_COLUMNS, len(histories))
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(3.2 * columns + 0.4, 2.5 * rows + 0.8), dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    shown = steps <= (steps[-1] if until is None else until)
    at = steps[shown]
    for i, (axes, history) in enumerate(zip(panels, histories, strict=False)):
        smallest, largest = (
            np.where(np.isfinite(values), values, np.nan)[:, shown] for values in (history.smallest, history.largest)
        )
        # fmin and fmax ignore NaN and do not warn where a step has nothing else
        low, high = np.fmin.reduce(smallest, axis=0), np.fmax.reduce(largest, axis=0)
        axes.fill_between(at, low, high, color=colour(i), alpha=0.4, linewidth=0)
        for values in (smallest[0], largest[0]):
            axes.plot(at, values, color=[0.6 * part for part in colour(i)], linewidth=0.3)
        axes.set_title(f"({chr(ord('a') + i)}) {history.label}", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.93")
    if len(at) > 1:
        panels[0].set_xlim(at[0], at[-1])
    count_axis(panels[0])
    if reach is not None:
        panels[0].set_ylim(-reach, reach)
    for axes in panels[len(histories) :]:
        axes.set_axis_off()
    for axes in panels[len(histories) - columns : len(histories)]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    titled(figure, title)
    return figure
