"""Draws quantities of a few networks by iteration, one panel for each quantity: [P, Fig. 7]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from paramact_jax.figures.colours import style
from paramact_jax.figures.layout import count_axis


def trajectories(
    iterations: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]], *, until: int | None = None
) -> Figure:
    """Draws one panel per quantity, (a), (b), ... in this order, and one curve per network.

    Args:
      iterations: the iteration of every value.
      panels: quantity -> network -> values, one for each iteration. All panels need the same networks in the same
        order, which sets their lines.
      until: right end of the axes; by default the last iteration.

    Raises:
      ValueError: if there are no panels, or a curve is not as long as `iterations`.
    """
    if not panels:
        raise ValueError("expected at least one panel, got none")
    figure = Figure(figsize=(5.2 * len(panels), 3.8), dpi=150, layout="constrained")
    shown = iterations <= (iterations[-1] if until is None else until)
    for i, (axes, (quantity, curves)) in enumerate(
        zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True)
    ):
        for k, (label, values) in enumerate(curves.items()):
            if len(values) != len(iterations):
                raise ValueError(f"{label}: expected {len(iterations)} values of {quantity}, got {len(values)}")
            axes.plot(iterations[shown], values[shown], **style(k), label=label, linewidth=1.2)
        axes.set(xlabel="iteration", ylabel=quantity, xlim=(0, iterations[shown][-1]))
        count_axis(axes)
        axes.set_title(f"({chr(ord('a') + i)})", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure
