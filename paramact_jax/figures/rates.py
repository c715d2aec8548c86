"""An outcome against the learning rate, one curve an optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paramact_jax.figures.bands import BandCurve
from paramact_jax.figures.colours import colour, style
from paramact_jax.figures.layout import log_axis, titled


def curves_over_rates(
    rates: np.ndarray, panels: Mapping[str, Sequence[BandCurve]], *, ylabel: str, title: str = "", log: bool = False
) -> Figure:
    """One panel per title, all with the same axes; the rates on a logarithmic scale, a dot at each.

    Args:
      rates: of every value, > 0, in rising order.
      panels: curves by title of their panel; equal labels have equal colours and lines throughout. Nothing is drawn
        where a value is not finite.
      ylabel: of the values.
      title: over the whole figure.
      log: whether the values, > 0, are drawn on a logarithmic scale, as losses are.

    Raises:
      ValueError: if there are no panels, one has no curves, or a curve is not as long as `rates`.
    """
    if not panels or not all(panels.values()):
        raise ValueError("expected at least one panel, each of at least one curve; leave empty ones out")
    for curves in panels.values():
        for curve in curves:
            if any(len(values) != len(rates) for values in (curve.middle, curve.low, curve.high)):
                raise ValueError(f"{curve.label}: expected {len(rates)} values in curve and band, one for each rate")
    labels = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    figure = Figure(figsize=(3.9 * len(panels) + 1.6, 4.0), dpi=150, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    handles = {}
    for axes, (name, curves) in zip(all_axes, panels.items(), strict=True):
        for curve in curves:
            middle, low, high = (
                np.where(np.isfinite(values), values, np.nan) for values in (curve.middle, curve.low, curve.high)
            )
            k = labels.index(curve.label)
            axes.fill_between(rates, low, high, color=colour(k), alpha=0.12, linewidth=0)
            (handles[curve.label],) = axes.plot(rates, middle, **style(k), marker="o", linewidth=1.3, markersize=3.5)
        axes.set(xlabel="learning rate", xscale="log", title=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
    all_axes[0].set_ylabel(ylabel)
    if log:
        log_axis(all_axes[0], np.array([curve.middle for curves in panels.values() for curve in curves]), room=0.2)
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    titled(figure, title)
    return figure
