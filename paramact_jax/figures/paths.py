"""Draws the paths of two weights to a goal in their plane: the zig-zag of [B2]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paramact_jax.figures.colours import style
from paramact_jax.figures.layout import titled


@dataclasses.dataclass(frozen=True)
class PathPanel:
    """The paths of one panel, all from the same start to the same goal.

    Attributes:
      title: of the panel.
      paths: label -> path of shape (updates + 1, 2). The same label has the same colour in all panels.
    """

    title: str
    paths: Mapping[str, np.ndarray]


def paths_in_the_plane(
    panels: Sequence[PathPanel], goal: np.ndarray, *, names: tuple[str, str] = ("$w_1$", "$w_2$"), title: str = ""
) -> Figure:
    """Draws all panels with the same axes: every update is a dot, the goal a star.

    Args:
      panels: (a), (b), ... in this order.
      goal: the goal, of shape (2,).
      names: names of the two coordinates.
      title: of the whole figure.

    Raises:
      ValueError: if there is nothing to draw, or a path does not have two coordinates.
    """
    if not panels or not all(panel.paths for panel in panels):
        raise ValueError("expected at least one panel, each with at least one path, got none; leave empty panels out")
    for panel in panels:
        for label, path in panel.paths.items():
            if path.ndim != 2 or path.shape[1] != 2:
                raise ValueError(f"{label}: expected a path of shape (updates + 1, 2), got {path.shape}")
    labels = list(dict.fromkeys(label for panel in panels for label in panel.paths))
    figure = Figure(figsize=(4.2 * len(panels) + 1.6, 4.2), dpi=150, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    handles = {}
    for i, (axes, panel) in enumerate(zip(all_axes, panels, strict=True)):
        for label, path in panel.paths.items():
            (handles[label],) = axes.plot(
                *path.T, **style(labels.index(label)), marker=".", linewidth=0.9, markersize=3
            )
        (handles["goal"],) = axes.plot(*goal, "*", color="black", markersize=11, zorder=5, linestyle="")
        axes.set(xlabel=names[0], aspect="equal")
        axes.set_title(f"({chr(ord('a') + i)}) {panel.title}", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.93")
    all_axes[0].set_ylabel(names[1])
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    titled(figure, title)
    return figure
