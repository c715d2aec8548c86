"""Draws the gradient against depth: at the first layer of deeper and deeper networks, or at every layer of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paramact_jax.figures.colours import colour, style
from paramact_jax.figures.layout import count_axis


@dataclasses.dataclass(frozen=True)
class DepthCurve:
    """One activation: decimal logarithms of the gradient's norm, by depth.

    Attributes:
      label: for the legend.
      measured: over all seeds; nothing is drawn where it is not finite.
      low, high: ends of the band around it.
      predicted: values of mean-field theory; None: no line.
    """

    label: str
    measured: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predicted: np.ndarray | None = None


def gradient_against_depth(
    depths: np.ndarray,
    panels: Mapping[str, Sequence[DepthCurve]],
    *,
    xlabel: str = "hidden layers",
    ylabel: str = r"$\log_{10}\,\|\partial L/\partial y^{(1)}\|$",
) -> Figure:
    """Draws one panel per title: measured curves with shaded bands, predicted ones as dotted lines.

    Args:
      depths: the depth of every network, or the number of every layer.
      panels: title -> curves, each as long as `depths`.
      xlabel: name of the depths.
      ylabel: name of the gradient.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not panels or not all(panels.values()):
        raise ValueError("expected at least one panel with a curve, got none")
    figure = Figure(figsize=(4.4 * len(panels) + 1.4, 4.4), dpi=150, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        for i, curve in enumerate(curves):
            axes.fill_between(depths, curve.low, curve.high, color=colour(i), alpha=0.25, linewidth=0)
            axes.plot(depths, curve.measured, **style(i), label=curve.label, linewidth=1.3)
            if curve.predicted is not None:
                axes.plot(depths, curve.predicted, color="black", linestyle=":", linewidth=1, zorder=4)
        axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        axes.set(xlabel=xlabel, title=title)
        count_axis(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.93")
    all_axes[0].set_ylabel(ylabel)
    if any(curve.predicted is not None for curves in panels.values() for curve in curves):
        all_axes[0].plot([], [], color="black", linestyle=":", linewidth=1, label="mean field")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure
