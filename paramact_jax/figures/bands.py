"""Draws curves with a band each, over all steps and over the first ones: [P, Fig. 12]."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramact_jax.figures.colours import colour, style
from paramact_jax.figures.layout import count_axis, log_axis, titled


@dataclasses.dataclass(frozen=True)
class BandCurve:
    """One curve; nothing is drawn where it is not finite.

    Attributes:
      label: for the legend.
      middle: one value per step.
      low, high: ends of the band around it; NaN: no band.
      published: the published value at the last step; None if there is none.
    """

    label: str
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    published: float | None = None


def check_lengths(curves: Iterable[BandCurve], steps: np.ndarray) -> None:
    """Raises ValueError, in one line, for a curve or band that does not have one value for each step."""
    for curve in curves:
        lengths = [len(values) for values in (curve.middle, curve.low, curve.high)]
        if set(lengths) != {len(steps)}:
            got = ", ".join(map(str, lengths))
            raise ValueError(f"{curve.label}: expected {len(steps)} values in middle, low and high, got {got}")


def curves_with_bands(
    steps: np.ndarray,
    curves: Sequence[BandCurve],
    *,
    closeup: int | None = None,
    xlabel: str = "step",
    ylabel: str = "loss",
    title: str = "",
) -> Figure:
    """Draws all curves over all steps, and in a second panel over the first steps, with logarithmic values.

    Args:
      steps: the step of every value, in rising order.
      curves: in the order of the colours; a diamond right of the panel marks a published value.
      closeup: last step of the second panel; None: no such panel.
      xlabel: name of the steps.
      ylabel: name of the values.
      title: of the whole figure.

    Raises:
      ValueError: if there are no curves, or one is not as long as `steps`.
    """
    if not curves:
        raise ValueError("expected at least one curve, got none")
    check_lengths(curves, steps)
    panels = 1 if closeup is None else 2
    figure = Figure(figsize=(5.4 * panels + 1.8, 4.6), dpi=150, layout="constrained")
    whole, *close = figure.subplots(1, panels, squeeze=False)[0]
    _draw(whole, steps, curves)
    if len(steps) > 1:
        whole.set_xlim(steps[0], steps[-1])
    whole.set_title(f"(a) all {xlabel}s" if close else "", loc="left", fontsize=10)
    marked = [(i, curve.published) for i, curve in enumerate(curves) if curve.published is not None]
    for place, (i, value) in enumerate(marked):
        whole.plot(
            1.02 + 0.025 * place,  # side by side, since values can be equal
            value,
            "D",
            color=colour(i),
            markersize=5,
            transform=whole.get_yaxis_transform(),
            clip_on=False,
        )
    for axes in close:
        shown = steps <= closeup
        _draw(
            axes,
            steps[shown],
            [
                dataclasses.replace(curve, middle=curve.middle[shown], low=curve.low[shown], high=curve.high[shown])
                for curve in curves
            ],
        )
        axes.set(xlim=(steps[0], closeup))
        axes.set_title(f"(b) {xlabel}s up to {closeup}", loc="left", fontsize=10)
    for axes in figure.axes:
        axes.set(xlabel=xlabel, ylabel=ylabel)
        log_axis(axes, np.concatenate([np.asarray(drawn.get_ydata(), float) for drawn in axes.lines]), room=0.3)
        count_axis(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
    handles, labels = whole.get_legend_handles_labels()
    if marked:
        handles += whole.plot([], [], "D", color="0.4", markersize=5)
        labels.append("published, at the end")
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    titled(figure, title)
    return figure


def _draw(axes: Axes, steps: np.ndarray, curves: Sequence[BandCurve]) -> None:
    for i, curve in enumerate(curves):
        middle, low, high = (
            np.where(np.isfinite(values), values, np.nan) for values in (curve.middle, curve.low, curve.high)
        )
        axes.fill_between(steps, low, high, color=colour(i), alpha=0.12, linewidth=0)
        axes.plot(steps, middle, **style(i), linewidth=1.3, label=curve.label)
