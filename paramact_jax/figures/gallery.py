"""Draws all activation functions in one figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramact_jax.activations import Activation

_COLUMNS = 5
_SCALES = (0.5, 1.5)
_SHIFTS = (-2.0, 2.0)


def gallery(records: Sequence[Activation], *, reach: float = 5.0) -> Figure:
    """Draws one panel per record: f solid and f' dashed on [-reach, reach], at the start values of the parameters.

    A parametric record is drawn as a family, as in [P, Fig. 4]. Pale curves have 0.5 and 1.5 times the start value of
    a, or the start value of b minus and plus 2.

    Args:
      records: the records, in this order.
      reach: y goes from -reach to reach.

    Raises:
      ValueError: if there are no records, or the reach is not positive.
    """
    if not records or not reach > 0:
        raise ValueError(f"expected at least one record and a reach > 0, got {len(records)} records, reach={reach}")
    rows = -(-len(records) // _COLUMNS)
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.1 * rows), dpi=130, layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    y = np.linspace(-reach, reach, 801, dtype=np.float32)
    for axes, record in zip(panels, records, strict=False):
        _draw(axes, record, y)
    for axes in panels[len(records) :]:
        axes.set_axis_off()
    panels[0].legend(["f", "f'"], frameon=False, fontsize=7, loc="upper left")
    return figure


def family(record: Activation) -> Iterator[dict[str, float]]:
    """Yields the parameter values with which a record is drawn; its start values come first."""
    yield dict(record.params)
    if "a" in record.params:
        for scale in _SCALES:
            yield {**record.params, "a": scale * record.params["a"]}
    if "b" in record.params:
        for shift in _SHIFTS:
            yield {**record.params, "b": record.params["b"] + shift}


def _draw(axes: Axes, record: Activation, y: np.ndarray) -> None:
    for i, params in enumerate(family(record)):
        values = {name: jnp.float32(value) for name, value in params.items()}
        first = i == 0
        axes.plot(y, record.fn(y, **values), color=f"C{i}", alpha=1.0 if first else 0.35, zorder=3 if first else 2)
        if first:
            axes.plot(y, record.derivative(y, **values), color="0.35", linestyle="--", linewidth=1)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    for kink in (kink for kink in record.kinks if abs(kink.at) <= y[-1]):
        axes.plot(kink.at, record.fn(jnp.float32(kink.at), **record.params), "o", color="C0", markersize=3)
    axes.set_title(record.name, fontsize=8)
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right"]].set_visible(False)
