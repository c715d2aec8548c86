"""Draws how parameters moved in the plane, from start to end: [P, Fig. 9 and 10]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class Moves:
    """The points of one layer, before and after training.

    Attributes:
      layer: name of the layer.
      before, after: (points, 2).
    """

    layer: str
    before: np.ndarray
    after: np.ndarray

    @property
    def longest(self) -> float:
        """The largest distance of a point from its start."""
        return float(np.linalg.norm(self.after - self.before, axis=1).max())


def moves_per_layer(networks: Mapping[str, Sequence[Moves]], *, names: tuple[str, str]) -> Figure:
    """Draws one block of panels per network and one panel per layer, with a line from each point before to after.

    Args:
      networks: network -> its layers. All panels have the same axes, so that moves can be compared.
      names: names of the two coordinates.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not networks or not all(networks.values()):
        raise ValueError("expected at least one network with a layer, got none")
    points = np.concatenate([p for layers in networks.values() for m in layers for p in (m.before, m.after)])
    reach = 1.05 * np.nanmax(np.abs(points))
    rows = {label: -(-len(layers) // _COLUMNS) for label, layers in networks.items()}
    figure = Figure(figsize=(2.0 * _COLUMNS, 2.15 * sum(rows.values())), dpi=130, layout="constrained")
    blocks = figure.subfigures(len(networks), 1, squeeze=False, height_ratios=list(rows.values()))[:, 0]
    for i, (block, (label, layers)) in enumerate(zip(blocks, networks.items(), strict=True)):
        block.suptitle(f"({chr(ord('a') + i)}) {label}", x=0.01, ha="left", fontsize=11)
        panels = block.subplots(rows[label], _COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, moves in zip(panels, layers, strict=False):
            _draw(axes, moves, "C0")
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.set_title(f"{moves.layer}: {moves.longest:.2g}", fontsize=8)
            axes.tick_params(labelsize=6)
            axes.grid(color="0.93")
        for axes in panels[len(layers) :]:
            axes.set_axis_off()
    figure.supxlabel(f"{names[0]}   (open: before, filled: after; the number is the longest move)", fontsize=8)
    figure.supylabel(names[1], fontsize=8)
    return figure


def moves_together(
    layers: Sequence[Moves], *, names: tuple[str, str], published: tuple[float, float] | None = None
) -> Figure:
    """Draws all layers in one panel, in one colour each, and labels the point that moved farthest.

    Args:
      layers: the layers to draw.
      names: names of the two coordinates.
      published: the farthest point of the paper, which is marked; None: no mark.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    figure = Figure(figsize=(6.4, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(layers)))
    for colour, moves in zip(colours, layers, strict=True):
        _draw(axes, moves, colour)
        axes.plot([], [], "o", color=colour, label=moves.layer)
    farthest = max(layers, key=lambda moves: moves.longest)
    node = int(np.linalg.norm(farthest.after - farthest.before, axis=1).argmax())
    x, y = farthest.after[node]
    to_the_right = x < np.mean(axes.get_xlim())
    axes.annotate(
        f"{farthest.layer}, node {node + 1}: ({x:.3f}, {y:.3f})",
        (x, y),
        textcoords="offset points",
        xytext=(6 if to_the_right else -6, 0),
        ha="left" if to_the_right else "right",
        va="center",
        fontsize=8,
    )
    if published:
        axes.plot(*published, "x", color="C3", markersize=9, label=f"[P]: ({published[0]}, {published[1]})", zorder=5)
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.93")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, moves: Moves, colour: object) -> None:
    axes.plot(*np.stack([moves.before, moves.after]).transpose(2, 0, 1), color=colour, linewidth=0.9)
    axes.plot(*moves.before.T, "o", markerfacecolor="white", markeredgecolor=colour, markersize=4)
    axes.plot(*moves.after.T, "o", color=colour, markersize=4)
