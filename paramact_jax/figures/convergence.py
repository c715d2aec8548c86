"""Draws the share of trials that have converged, by iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from paramact_jax.figures.colours import colour, style
from paramact_jax.figures.layout import count_axis
from paramact_jax.statistics import wilson_interval


@dataclasses.dataclass(frozen=True)
class ConvergenceCurve:
    """The trials of one activation.

    Attributes:
      label: for the legend.
      converged_at: for every trial the iteration at which it converged, negative if it never did.
      published: the paper's share of converged trials, within 0..1; None if it gives none.
    """

    label: str
    converged_at: np.ndarray
    published: float | None = None


def convergence(curves: Sequence[ConvergenceCurve], *, iterations: int, threshold: float) -> Figure:
    """Draws the share of trials that have converged, by iteration, with Wilson 95 % intervals as shaded bands.

    Args:
      curves: one per activation; a diamond at the right edge marks a published share.
      iterations: length of the training; the right end of the axis.
      threshold: the loss that counts as converged, for the axis label.

    Raises:
      ValueError: if there are no curves, or a curve has no trials.
    """
    if not curves or any(len(curve.converged_at) == 0 for curve in curves):
        raise ValueError("expected at least one curve, each with at least one trial, got none; leave empty curves out")
    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    at = np.unique(np.linspace(0, iterations, 501).round())
    for i, curve in enumerate(sorted(curves, key=_final_share, reverse=True)):
        trials = len(curve.converged_at)
        reached = np.sort(curve.converged_at[curve.converged_at >= 0])
        counts = np.searchsorted(reached, at, side="right")
        bounds = {int(count): wilson_interval(int(count), trials) for count in np.unique(counts)}
        low, high = np.array([bounds[int(count)] for count in counts]).T
        axes.fill_between(at, low, high, color=colour(i), alpha=0.2, linewidth=0)
        axes.plot(at, counts / trials, **style(i), label=f"{curve.label}  {counts[-1] / trials:.1%}")
        if curve.published is not None:
            axes.plot(iterations, curve.published, "D", color=colour(i), markersize=6, clip_on=False, zorder=5)
    if any(curve.published is not None for curve in curves):
        axes.plot([], [], "D", color="0.4", label="published, at the end")
    axes.set(
        xlabel="iteration",
        ylabel=f"trials that have converged (loss below {threshold:g})",
        xlim=(0, iterations),
        ylim=(0, 1),
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    count_axis(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _final_share(curve: ConvergenceCurve) -> float:
    return float((curve.converged_at >= 0).mean())
