"""Draws the norm of the gradient between the inputs and the outputs of a network, and the operations that change it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paramact_jax.figures.colours import style
from paramact_jax.figures.layout import titled
from paramact_jax.gradients import Attribution, Kind
from paramact_jax.gradients.flow import Point

KIND_COLOURS: Mapping[Kind, str] = {
    Kind.LINEAR: "#0072b2",
    Kind.ACTIVATION: "#d55e00",
    Kind.NORMALISATION: "#009e73",
    Kind.RESIDUAL: "#56b4e9",
    Kind.SCALE: "#f0e442",
    Kind.GATE: "#332288",
    Kind.SOFTMAX: "#cc79a7",
    Kind.PRODUCT: "#e69f00",
    Kind.POOLING: "#999933",
    Kind.MASKING: "#bbbbbb",
    Kind.RESHAPING: "#777777",
    Kind.ELEMENTWISE: "#882255",
    Kind.OTHER: "#222222",
}
"""One colour for each kind, the same in all figures; colour-blind readers can also tell the first ones apart."""

_LABELS = 30
_LONGEST = 22
_DECADE = float(np.log(10))
_LABEL_OF_POINTS = "points from the inputs to the outputs; the gradient goes from right to left"


def gradient_profile(
    found: Attribution | Mapping[str, Attribution], *, bars: bool = True, title: str = "", ylabel: str = ""
) -> Figure:
    """Draws the norm of the gradient at every point of a network, and below it the changes between the points.

    The curve goes through the points that lie on all paths of the gradient. A state of a scan does not lie on all paths
    and has a thin line of its own. The bars add up to the change from one point of the curve to the next. Above 0 the
    gradient grows on its way back, below 0 it shrinks; a black dash is the sum. An operation that is not on all paths
    gets only a share of its change. So bars between two states do not add up to the change of the thin line.

    The value 0 has no logarithm. A cross at the lower edge marks points where the norm is exactly 0, and the kind of
    operation that makes it 0. A triangle at the upper edge marks values that are not finite.

    For many networks (from `jax.vmap`) the curve is the median, and the band goes from the lower to the upper quartile.
    The bars are means over the networks in which the gradient is not 0 there.

    Args:
      found: the attribution of a network; or label -> attribution, all with the same points. Then one panel has one
        curve for each label, and each label has its own panel of bars.
      bars: whether to draw the bars.
      title: of the whole figure.
      ylabel: name of the curves; by default the logarithm of the norm.

    Raises:
      TypeError: if anything else than attributions is given, or JAX is tracing their numbers.
      ValueError: if there is nothing to draw, or the attributions have different points.
    """
    by_label = _checked(found)
    first = next(iter(by_label.values()))
    several = isinstance(found, Mapping)
    rows = len(by_label) if bars else 0
    heights = [3.0, *rows * [1.5 if several else 2.4]]
    figure = Figure(figsize=(9.0, sum(heights) + 1.0), dpi=150, layout="constrained")
    panels = figure.subplots(1 + rows, 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    curves, *below = panels
    lines = [
        line
        for i, (label, own) in enumerate(by_label.items())
        for line in _curve(curves, own, style(i) if several else {"color": "black"}, label if several else "")
    ]
    _legend(curves, [*lines, *_marks(by_label.values())])
    curves.set_ylabel(ylabel or r"$\log_{10}$ of the gradient's norm")
    changes = [_changes(own) for own in by_label.values()] if bars else []
    ends = np.array([_bars(axes, own) for axes, own in zip(below, changes, strict=True)])
    for axes, (label, own) in zip(below, by_label.items(), strict=False):
        axes.set_title(f"{label}: {_total(own)}" if several else _total(own), loc="left", fontsize=9)
        axes.set_ylabel("decades" if several else "change, decades")
        reach = np.ptp(ends) or 1.0
        axes.set_ylim(ends.min() - 0.15 * reach, ends.max() + 0.08 * reach)
    if below:
        _legend(below[0], _kinds(changes))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.93")
        axes.set_axisbelow(True)
    _name_points(panels[-1], first.points)
    figure.align_ylabels(panels)
    titled(figure, title)
    return figure


def _checked(found: Attribution | Mapping[str, Attribution]) -> Mapping[str, Attribution]:
    by_label = found if isinstance(found, Mapping) else {"": found}
    if not by_label:
        raise ValueError("gradient_profile: expected at least one attribution, got none")
    for label, own in by_label.items():
        of = f" for {label!r}" if isinstance(found, Mapping) else ""
        if not isinstance(own, Attribution):
            raise TypeError(
                f"gradient_profile: expected a result of paramact_jax.gradients.attribute{of}, got "
                f"{type(own).__name__}; give an Attribution, or several by label"
            )
        if isinstance(own.log_norm, jax.core.Tracer):
            raise TypeError(
                f"gradient_profile: expected numbers{of}, got values that JAX is tracing; return the attribution "
                "from jit or vmap and draw it outside"
            )
        if 0 in own.log_norm.shape or len(own.points) < 2:
            raise ValueError(
                f"gradient_profile: expected at least one network and two points{of}, got numbers of shape "
                f"{own.log_norm.shape}; measure another network"
            )
    on_all = {label: [point.on_all_paths for point in own.points] for label, own in by_label.items()}
    if any(own != next(iter(on_all.values())) for own in on_all.values()):
        counts = ", ".join(f"{len(own)} for {label!r}" for label, own in on_all.items())
        raise ValueError(
            f"gradient_profile: expected attributions of networks with the same points, got {counts}; draw each in a "
            "figure of its own"
        )
    return by_label


# the curves


def _log_norms(found: Attribution) -> np.ndarray:
    """Returns decimal log norms (networks, points): -inf where the norm is exactly 0, NaN where it is not finite."""
    values = np.asarray(found.log_norm, float).reshape(-1, len(found.points)) / _DECADE
    return np.where(np.isposinf(values), np.nan, values)


def _quartiles(values: np.ndarray) -> np.ndarray:
    """Returns the lower quartile, the median and the upper quartile over the networks."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        found = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    # numpy gives NaN for a quantile between -inf and a number
    return np.where(np.isnan(found) & ~np.isnan(values).any(axis=0), -np.inf, found)


def _legend(axes: Axes, handles: Iterable[Artist]) -> None:
    """Puts a legend to the right of a panel, if there are handles."""
    if shown := list(handles):
        axes.legend(
            handles=shown, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, frameon=False, fontsize=8
        )


def _curve(axes: Axes, found: Attribution, look: Mapping[str, Any], label: str) -> Iterator[Artist]:
    """Draws one curve and yields its handle for the legend."""
    colour = look["color"]
    values = _log_norms(found)
    on_all = np.array([point.on_all_paths for point in found.points])
    at = np.arange(len(found.points))
    low, middle, high = np.where(np.isfinite(quartiles := _quartiles(values)), quartiles, np.nan)
    many = len(values) > 1
    if many:
        axes.fill_between(at[on_all], low[on_all], high[on_all], color=colour, alpha=0.2, linewidth=0)
    size = 3.0 if len(at) <= 2 * _LABELS else 1.5
    (drawn,) = axes.plot(at[on_all], middle[on_all], **look, linewidth=1.4, marker="o", markersize=size)
    if label:
        drawn.set_label(label)
        yield drawn
    for numbers in _states(found.points).values():
        axes.plot(at[numbers], middle[numbers], color=colour, linewidth=0.7, alpha=0.8)
    for marked, marker in ((np.isneginf(values), "X"), (np.isnan(values), "^")):
        where = at[marked.any(axis=0)]
        if len(where):
            edge = 0.03 if marker == "X" else 0.97
            axes.plot(
                where,
                np.full(len(where), edge),
                marker,
                color=colour,
                markersize=5,
                markeredgewidth=0,
                transform=axes.get_xaxis_transform(),
            )


def _states(points: Sequence[Point]) -> dict[tuple[str, int], list[int]]:
    """Returns the numbers of the points that are states of scans, by the name of the scan and its segment."""
    found: dict[tuple[str, int], list[int]] = {}
    segment = -1
    for number, point in enumerate(points):
        segment += point.on_all_paths
        if not point.on_all_paths:
            found.setdefault((point.name, segment), []).append(number)
    return found


def _marks(attributions: Iterable[Attribution]) -> Iterator[Artist]:
    """Yields the legend handles of bands, lines and marks that only some attributions have."""
    owns = list(attributions)
    values = [_log_norms(own) for own in owns]
    many = any(len(own) > 1 for own in values)
    some = " in some networks" if many else ""
    if many:
        yield Line2D([], [], color="black", linewidth=1.4, marker="o", markersize=3, label="median")
        yield Patch(color="black", alpha=0.2, linewidth=0, label="quartiles")
    if any(not point.on_all_paths for own in owns for point in own.points):
        yield Line2D([], [], color="black", linewidth=1.4, marker="o", markersize=3, label="points on all paths")
        yield Line2D([], [], color="black", linewidth=0.7, label="states of a scan")
    if any(np.isneginf(own).any() for own in values):
        yield Line2D([], [], color="black", marker="X", linestyle="", markeredgewidth=0, label=f"exactly 0{some}")
    if any(np.isnan(own).any() for own in values):
        yield Line2D([], [], color="black", marker="^", linestyle="", markeredgewidth=0, label=f"not finite{some}")


# the bars


def _gaps(found: Attribution) -> list[int]:
    """Returns for each operation the number of the last point before it, on the way from the inputs."""
    ends = [number for number, point in enumerate(found.points) if point.on_all_paths]
    gaps = []
    segment, behind = -1, 0
    for operation in found.operations:
        if operation.segment != segment:
            segment, behind = operation.segment, ends[max(operation.segment, 0)]
        states = range(max(behind, ends[max(segment, 0)] + 1), [*ends, len(found.points)][max(segment, 0) + 1])
        steps = (found.points[number].step for number in states)
        own = (n for n, step in zip(states, steps, strict=True) if operation.step[: len(step)] == step)
        behind = next(own, behind)
        gaps.append(min(behind, len(found.points) - 2))
    return gaps


def _changes(found: Attribution) -> dict[Kind, np.ndarray]:
    """Returns the change of the norm between neighbouring points by kind, in decades, as means over the networks."""
    share = np.asarray(found.share, float).reshape(-1, len(found.operations)) / _DECADE
    gaps = np.array(_gaps(found), int)
    kinds = np.array([str(operation.kind) for operation in found.operations])
    inside = gaps == np.arange(len(found.points) - 1)[:, None]
    chosen = {kind: inside & (kinds == kind) for kind in Kind if kind in kinds}
    return {kind: _means(np.stack([_sums(share[:, own]) for own in rows], axis=-1)) for kind, rows in chosen.items()}


def _sums(shares: np.ndarray) -> np.ndarray:
    """Returns sums over the operations without NaN, which means that the gradient was 0 before; NaN if all are NaN."""
    all_nan = np.isnan(shares).all(axis=1) & bool(shares.shape[1])
    return np.where(all_nan, np.nan, np.where(np.isnan(shares), 0, shares).sum(axis=1))


def _means(values: np.ndarray) -> np.ndarray:
    """Returns means of the finite values over the networks; -inf if one value is -inf, else NaN if none is finite."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means = np.where(finite, values, 0).sum(axis=0) / finite.sum(axis=0)
    return np.where(np.isneginf(values).any(axis=0), -np.inf, means)


def _kinds(changes: Sequence[Mapping[Kind, np.ndarray]]) -> Iterator[Artist]:
    """Yields the legend handles of the bars."""
    for kind in Kind:
        if any(kind in own for own in changes):
            yield Patch(color=KIND_COLOURS[kind], label=str(kind))
    yield Line2D([], [], color="black", marker="_", linestyle="", markersize=8, label="all together")
    if any(np.isneginf(values).any() for own in changes for values in own.values()):
        yield Line2D([], [], color="0.4", marker="X", linestyle="", markeredgewidth=0, label="makes it exactly 0")


def _bars(axes: Axes, changes: Mapping[Kind, np.ndarray]) -> tuple[float, float]:
    """Draws the bars of each gap on top of each other, and returns their lowest and highest end."""
    if not changes:
        return 0.0, 0.0
    at = np.arange(len(next(iter(changes.values())))) + 0.5
    above, below = np.zeros(len(at)), np.zeros(len(at))
    for kind, values in changes.items():
        finite = np.where(np.isfinite(values), values, 0)
        base = np.where(finite > 0, above, below)
        axes.bar(at, finite, 0.86, base, color=KIND_COLOURS[kind], linewidth=0, label=str(kind))
        above, below = above + np.maximum(finite, 0), below + np.minimum(finite, 0)
        zero = at[np.isneginf(values)]
        if len(zero):
            axes.plot(
                zero,
                np.full(len(zero), 0.06),
                "X",
                color=KIND_COLOURS[kind],
                markersize=6,
                markeredgewidth=0,
                transform=axes.get_xaxis_transform(),
            )
    known = np.all([np.isfinite(values) for values in changes.values()], axis=0)
    axes.hlines((above + below)[known], at[known] - 0.43, at[known] + 0.43, color="black", linewidth=1.2)
    axes.axhline(0, color="0.5", linewidth=0.8)
    return float(below.min()), float(above.max())


def _total(found: Attribution) -> str:
    """Returns the change from the outputs to the inputs as text."""
    values = _log_norms(found)
    with np.errstate(invalid="ignore"):
        total = np.where(np.isneginf(values[:, 0]), -np.inf, values[:, 0] - values[:, -1])
    middle = _quartiles(total[:, None])[1, 0]
    if np.isneginf(middle):
        text = "exactly 0 at the inputs"
    elif np.isnan(middle):
        text = "not finite"
    else:
        text = f"{middle:+.1f} decades from the outputs to the inputs".replace("-", "\N{MINUS SIGN}")
    return text if len(values) == 1 else f"{text}, median of {len(values)} networks"


# the names of the points


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    names = _names(points)
    axes.set_xticks(list(names), list(names.values()), rotation=90, fontsize=7)
    axes.set_xlim(-0.6, len(points) - 0.4)
    axes.set_xlabel(_LABEL_OF_POINTS)


def _names(points: Sequence[Point]) -> dict[int, str]:
    """Returns short names of the points by their numbers: all of them, or as many as there is room for."""
    parts = [_parts(point) for point in points]
    groups = [group for group, _ in parts]
    first = [not group or number == 0 or group != groups[number - 1] for number, group in enumerate(groups)]
    if len(points) <= _LABELS:
        return {i: _shortened(group if first[i] and group else own) for i, (group, own) in enumerate(parts)}
    room = -(-len(points) // _LABELS)
    chosen = [0]
    for number in range(1, len(points)):
        if first[number] and number - chosen[-1] >= room:
            chosen.append(number)
    last = len(points) - 1
    if chosen[-1] != last:
        chosen = [number for number in chosen if last - number >= room or number == 0] + [last]
    return {number: _shortened(groups[number] or parts[number][1]) for number in chosen}


def _parts(point: Point) -> tuple[str, str]:
    """Returns the module or step of a point, empty if there is none, and its name inside it."""
    steps = "".join(f"[{t}]" for t in point.step)
    name = point.name
    if name.startswith("state of "):
        place = name.removeprefix("state of ")
        return "", f"{'state' if ' ' in place else place}{steps}"
    function, at, _ = name.partition(" at ")
    if at:
        return f"step {', '.join(map(str, point.step))}" if point.step else "", function
    module, _, function = name.partition(" ")
    return module + steps, function or module


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"\N{HORIZONTAL ELLIPSIS}{name[-_LONGEST + 1 :]}"
