"""Draws many curves with a band each, in several panels: [A, Fig. 12]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from paramact_jax.figures.bands import BandCurve, check_lengths
from paramact_jax.figures.colours import colour, style
from paramact_jax.figures.layout import count_axis, log_axis, titled


def curves_in_panels(
    steps: np.ndarray,
    panels: Mapping[str, Sequence[BandCurve]],
    *,
    xlabel: str = "step",
    ylabel: str = "loss",
    title: str = "",
    shares: bool = False,
    logarithmic: bool = False,
) -> Figure:
    """Draws one panel per title, all with the same axes: losses on a logarithmic scale, or shares in percent.

    Args:
      steps: the step of every value, in rising order.
      panels: title of the panel -> curves. Curves with the same label have the same colour and line in all panels.
        Nothing is drawn where a value is not finite; a diamond at the right edge marks a published value.
      xlabel: name of the steps.
      ylabel: name of the values.
      title: of the whole figure.
      shares: whether the values are shares, drawn on a linear scale from 0.
      logarithmic: whether `steps` are drawn on a logarithmic scale with a dot at each, as for learning rates.

    Raises:
      ValueError: if there are no panels, one has no curves, or a curve is not as long as `steps`.
    """
    if not panels or not all(panels.values()):
        raise ValueError("expected at least one panel, each with at least one curve, got none; leave empty panels out")
    for curves in panels.values():
        check_lengths(curves, steps)
    labels = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(4.2 * columns + 1.8, 8.5), max(3.0 * rows, 3.8) + 0.8), dpi=150, layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    handles = {}
    drawn = []
    for i, (axes, (name, curves)) in enumerate(zip(all_axes, panels.items(), strict=False)):
        for curve in curves:
            middle, low, high = (
                np.where(np.isfinite(values), values, np.nan) for values in (curve.middle, curve.low, curve.high)
            )
            k = labels.index(curve.label)
            axes.fill_between(steps, low, high, color=colour(k), alpha=0.15, linewidth=0)
            look = style(k) | ({"marker": "o", "markersize": 3.5} if logarithmic else {})
            (handles[curve.label],) = axes.plot(steps, middle, **look, linewidth=1.3)
            drawn.append(middle)
            if curve.published is not None:
                axes.plot(steps[-1], curve.published, "D", color=colour(k), markersize=5, clip_on=False, zorder=5)
                drawn.append(np.array([curve.published]))
        axes.set_title(f"({chr(ord('a') + i)}) {name}", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
    values = np.concatenate(drawn)
    if shares:
        positive = values[np.isfinite(values) & (values > 0)]
        highest = positive.max() if len(positive) else 1
        all_axes[0].set_ylim(-0.02 * highest, 1.05 * highest)  # a little below 0, so that a curve at 0 is visible
        all_axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        log_axis(all_axes[0], values, room=0.2)
    if logarithmic:
        all_axes[0].set_xscale("log")
    else:
        count_axis(all_axes[0])
        if len(steps) > 1:
            all_axes[0].set_xlim(steps[0], steps[-1])
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    for axes in all_axes[len(panels) - columns : len(panels)]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    if any(curve.published is not None for curves in panels.values() for curve in curves):
        (handles["published"],) = all_axes[0].plot([], [], "D", color="0.4", markersize=5)
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    titled(figure, title)
    return figure
