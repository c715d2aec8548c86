"""Draws every entry of every factor of the chain rule by iteration: [P, Fig. 8]."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramact_jax.figures.colours import colour

_COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class FactorHistory:
    """The factors between the first affine map and the output of one network, by iteration.

    Attributes:
      label: of the network.
      slopes: the diagonals of dz^(m)/dy^(m-1), one array (records, samples, nodes) for each m = 2 .. K+1.
      linear: dy^(m)/dz^(m), one array (records, nodes, nodes before) for each m = 2 .. K+1; the last is the output's.
    """

    label: str
    slopes: Sequence[np.ndarray]
    linear: Sequence[np.ndarray]


def factor_panels(iterations: np.ndarray, networks: Sequence[FactorHistory], *, until: int | None = None) -> Figure:
    """Draws two panels for every m = 2 .. K, out: all entries of dz^(m)/dy^(m-1), then of dy^(m)/dz^(m) [P, eq. 14-16].

    The panels (a), (b), ... follow the order of the chain rule; the last one is dy^(out)/dz^(out). The entries off the
    diagonal of dz/dy are 0 and are drawn as one line.

    Args:
      iterations: the iteration of every record.
      networks: the networks, all of one shape, in one colour each.
      until: right end of the axes; by default the last iteration.

    Raises:
      ValueError: if there are no networks, or they have different numbers of layers.
    """
    layers = {len(history) for network in networks for history in (network.slopes, network.linear)}
    if len(layers) != 1 or not min(layers):
        raise ValueError(f"expected networks with one number of hidden layers, got {sorted(layers) or 'no networks'}")
    (hidden,) = layers
    shown = iterations <= (iterations[-1] if until is None else until)
    at = iterations[shown]
    rows = -(-2 * hidden // _COLUMNS)
    figure = Figure(figsize=(3.1 * _COLUMNS, 2.1 * rows), dpi=130, layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
    for i in range(hidden):
        m = "out" if i == hidden - 1 else str(i + 2)
        before = str(i + 1)
        slope_axes, linear_axes = panels[2 * i], panels[2 * i + 1]
        for k, network in enumerate(networks):
            _lines(slope_axes, at, network.slopes[i][shown], colour(k))
            if network.slopes[i].shape[-1] > 1:
                slope_axes.plot(at, np.zeros(len(at)), color=colour(k), linewidth=0.8)
            _lines(linear_axes, at, network.linear[i][shown], colour(k))
        _title(slope_axes, 2 * i, rf"$\partial z^{{({m})}}/\partial y^{{({before})}}$")
        _title(linear_axes, 2 * i + 1, rf"$\partial y^{{({m})}}/\partial z^{{({m})}}$")
    for axes in panels[2 * hidden :]:
        axes.set_axis_off()
    for axes in panels[2 * hidden - _COLUMNS : 2 * hidden]:
        axes.set_xlabel("iteration", fontsize=8)
    for k, network in enumerate(networks):
        panels[0].plot([], [], color=colour(k), label=network.label)
    figure.legend(loc="outside upper right", ncols=len(networks), frameon=False)
    return figure


def _lines(axes: Axes, at: np.ndarray, values: np.ndarray, own: tuple[float, float, float]) -> None:
    axes.plot(at, values.reshape(len(values), -1), color=own, linewidth=0.8, alpha=0.8)


def _title(axes: Axes, panel: int, text: str) -> None:
    letter = chr(ord("a") + panel) if panel < 26 else str(panel + 1)
    axes.set_title(f"({letter}) {text}", fontsize=9, loc="left")
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.93")
