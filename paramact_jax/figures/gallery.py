"""Every activation function at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramact_jax.activations import Activation

_COLUMNS = 5
_SCALES = (0.5, 1.0, 1.5)
_SHIFTS = (-2.0, 0.0, 2.0)


def gallery(records: Sequence[Activation], *, reach: float = 5.0) -> Figure:
    """One panel per record: f solid and f' dashed on [-reach, reach], at the start values of the parameters.

    A parametric record, one with parameters a and b, is drawn as a family: a at half, once and one and a half times
    its start value with b = 0, then b = -2 and 2 with a at its start value, as in [P, Fig. 4].

    Args:
      records: what to draw, in this order.
      reach: half the width of the drawn interval of y.

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
    """The parameter values that a record is drawn with; its start values come first."""
    yield dict(record.params)
    if {"a", "b"} <= set(record.params):
        a, b = record.params["a"], record.params["b"]
        for scale in _SCALES:
            if scale != 1.0:
                yield {**record.params, "a": scale * a}
        for shift in _SHIFTS:
            if shift != b:
                yield {**record.params, "b": shift}


def _draw(axes: Axes, record: Activation, y: np.ndarray) -> None:
    for i, params in enumerate(family(record)):
        values = {name: jnp.float32(value) for name, value in params.items()}
        weight = {"alpha": 1.0, "zorder": 3} if i == 0 else {"alpha": 0.35, "zorder": 2}
        axes.plot(y, record.fn(y, **values), color=f"C{i}", **weight)
        if i == 0:
            axes.plot(y, record.derivative(y, **values), color="0.35", linestyle="--", linewidth=1)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    for kink in record.kinks:
        axes.plot(kink.at, record.fn(jnp.float32(kink.at), **record.params), "o", color="C0", markersize=3)
    axes.set_title(record.name, fontsize=8)
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right"]].set_visible(False)
