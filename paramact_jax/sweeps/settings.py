"""The values that settings take: along axes and at points, traced by JAX or static."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.arguments import check_concrete, converted, in_one_line
from paramact_jax.sweeps.seeds import first_repeated

SEED, POINT = "seed", "point"
"""Names of the dim of the seeds, which is a grid's last dim, and of the dim of the points."""
ITERATION = "iteration"
"""Name of the dim of observed values, and of the parameter through which a step gets its number."""
ABSENT = "absent_at"
"""Attribute of a variable that some static settings lack: their labels, as JSON."""
_LONGEST_NAME = 60
_OTHER_NAMES = "give functions a __name__ of their own, or pass strings and look the value up"
"""Advice for points, which have no labels but the values' own names."""


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """The values of one setting along a dim.

    Attributes:
      labels: the values as a dataset shows them; the values of points may be arrays of one shape.
      values: the values that trials get: an array in the dtype of computation, which is traced, or a tuple of any
        objects. Each object gets programs of its own.
      present: which points have this setting; None: all.
    """

    labels: np.ndarray
    values: np.ndarray | tuple[Any, ...]
    present: np.ndarray | None = None

    @property
    def static(self) -> bool:
        """Returns whether each value gets programs of its own."""
        return isinstance(self.values, tuple)

    def has(self, i: int) -> bool:
        """Returns whether a point has the setting."""
        return self.present is None or bool(self.present[i])


def columns_of_axes(axes: Any, static_axes: Any, static: Collection[str]) -> dict[str, Column]:
    """Reads the axes, static ones first.

    Raises:
      ValueError: in one line, for axes that `sweep` does not take.
    """
    for what, given in (("axes", axes), ("static_axes", static_axes)):
        if not isinstance(given, Mapping):
            raise ValueError(f"{what}: expected a dict from a parameter's name to its values, got {given!r}")
        for name in given:
            if not isinstance(name, str):
                raise ValueError(f"{what}: expected names of parameters, got {name!r}; write the name as a string")
            if name in (SEED, POINT):
                things = {SEED: "seeds; pass them as seeds=", POINT: "points; pass them as points="}[name]
                raise ValueError(f"{what}: expected other names, got {name!r}, the dim of the {things}")
    if both := sorted(axes.keys() & static_axes.keys()):
        raise ValueError(f"{both[0]}: expected an axis in axes or in static_axes, got it in both; leave one out")
    found = {name: _axis(f"axes: {name}", values, name in static) for name, values in axes.items()}
    found |= {name: _static(f"static_axes: {name}", values) for name, values in static_axes.items()}
    for name, column in found.items():
        where = f"{'static_axes' if name in static_axes else 'axes'}: {name}"
        _check_once(where, np.asarray(column.labels if column.static else column.values), static=column.static)
    return dict(sorted(found.items(), key=lambda item: not item[1].static))


def columns_of_points(points: Any, static: Collection[str]) -> dict[str, Column]:
    """Reads the points: lists of equal length by name, or a list with a dict for each point.

    Raises:
      ValueError: in one line, for points that `sweep` does not take.
    """
    if hasattr(points, "keys"):
        lists = {name: _listed(f"points: {name}", points[name]) for name in points.keys()}  # noqa: SIM118  # a DataFrame
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
            raise ValueError(f"points: expected lists of equal length, got {told}; use axes for a product")
        rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
        if hasattr(points, "iloc"):  # a DataFrame has None, NaN or NA for a missing value
            gaps = {name: points[name].isna().tolist() for name in lists}
            rows = [{name: x for name, x in row.items() if not gaps[name][i]} for i, row in enumerate(rows)]
        points = rows
    check_concrete("points", points)
    if isinstance(points, str) or not isinstance(points, Iterable):
        raise ValueError(f"points: expected lists by name, or a list with a dict for each point, got {points!r}")
    points = list(points)
    for point in points:
        if not isinstance(point, Mapping) or not point or not all(isinstance(name, str) for name in point):
            raise ValueError(f"points: expected a dict of settings for each point, got {in_one_line(point)}")
    if not points:
        raise ValueError("points: expected at least one point with a setting, got none; leave points out")
    names = dict.fromkeys(name for point in points for name in point)
    if taken := [name for name in names if name in (SEED, POINT)]:
        raise ValueError(f"points: expected settings of other names than {taken[0]!r}, which is a dim; rename it")
    return {name: _point_column(name, points, name in static) for name in names}


def _point_column(name: str, points: Sequence[Mapping[str, Any]], static: bool) -> Column:
    where = f"points: {name}"
    present = np.array([name in point for point in points])
    given = [point[name] for point in points if name in point]
    numbers = None if static else _numbers(given)
    if numbers is None:
        labels = _array_of([_label(where, value) for value in given], where)
        _check_told_apart(where, labels, given)
        filler: Any = "" if labels.dtype.kind == "U" else np.nan
        values: Any = given
    else:
        labels, filler, values = numbers, np.nan, _in_dtype(where, numbers)
    if present.all():
        return Column(labels, tuple(values) if numbers is None else values)
    at = np.maximum(np.cumsum(present) - 1, 0)
    spread = labels[at]
    if labels.dtype.kind in "biu":
        spread = spread.astype(float)
    spread[~present] = filler
    return Column(spread, tuple(values[i] for i in at) if numbers is None else values[at], present)


def _check_told_apart(where: str, labels: np.ndarray, values: Sequence[Any]) -> None:
    """Refuses two values with one label."""
    first: dict[Any, Any] = {}
    for label, value in zip(labels.tolist(), values, strict=True):
        other = first.setdefault(label, value)
        plain = isinstance(value, str | bool | int | float | np.generic | None)
        if other is not value and not (plain and type(other) is type(value) and other == value):
            raise ValueError(
                f"{where}: expected values with different names, got two with the name {label!r}; {_OTHER_NAMES}"
            )


def _axis(where: str, values: Any, static: bool) -> Column:
    if isinstance(values, str):
        raise ValueError(f"{where}: expected a list of strings, got {values!r}; put it in a list")
    if static:
        return _static(where, values)
    strings = isinstance(values, Collection) and len(values) and all(isinstance(value, str) for value in values)
    if strings and not isinstance(values, Mapping):
        names = _array_of([str.__str__(value) for value in values], where)
        return Column(names, tuple(names.tolist()))  # also for an enumeration: its string, not its name
    given = values if hasattr(values, "__array__") else _listed(where, values)
    found = _numbers(given)
    if not (len(given) if found is None else found.size):
        raise ValueError(f"{where}: expected at least one value, got none")
    if found is None or found.ndim != 1:
        raise ValueError(
            f"{where}: expected a list of real numbers, or one of strings, got {in_one_line(values)}; pass other "
            f"things as static_axes"
        )
    if np.isnan(found).any():
        raise ValueError(f"{where}: expected numbers, got nan among {found.tolist()}")
    return Column(found, _in_dtype(where, found))


def _static(where: str, values: Any) -> Column:
    if isinstance(values, Mapping):
        names, given = list(values), list(values.values())
    else:
        given = _listed(where, values)
        names = [_label(where, value) for value in given]
    if not given:
        raise ValueError(f"{where}: expected at least one value, got none")
    return Column(_array_of(names, where), tuple(given))


def _listed(where: str, values: Any) -> list[Any]:
    check_concrete(where, values)
    if isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a list of values, got a dict; pass it in static_axes, or pass a list")
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{where}: expected a list of values, got {in_one_line(values)}; put it in a list")
    try:
        return list(values.tolist() if hasattr(values, "tolist") else values)
    except TypeError as error:
        raise ValueError(f"{where}: expected a list of values, got {in_one_line(values)}; put it in a list") from error


def _numbers(values: Any) -> np.ndarray | None:
    """Returns the values as an array of real numbers; None for other things."""
    check_concrete("axes", values)
    try:
        found = np.asarray(values)
    except (TypeError, ValueError):
        return None
    is_number = jnp.issubdtype(found.dtype, jnp.bool_) or jnp.issubdtype(found.dtype, jnp.number)
    return found if is_number and not jnp.issubdtype(found.dtype, jnp.complexfloating) else None


def _in_dtype(where: str, numbers: np.ndarray) -> np.ndarray:
    """Returns numbers in the dtype of computation."""
    if numbers.dtype == np.bool_:
        return numbers
    return converted(where, numbers, jnp.result_type(float if jnp.issubdtype(numbers.dtype, jnp.floating) else int))


def _label(where: str, value: Any) -> Any:
    """Returns the label of a static value: the number or string itself, or the name of a function or class."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, functools.partial):
        given = [*map(repr, value.args), *(f"{name}={x!r}" for name, x in value.keywords.items())]
        found = f"{getattr(value.func, '__name__', value.func)}({', '.join(given)})"
    else:
        found = str(getattr(value, "__name__", value))
    if found == "<lambda>" or " at 0x" in found or "\n" in found or len(found) > _LONGEST_NAME:
        advice = _OTHER_NAMES if where.startswith("points") else "give a dict from a name to each value"
        raise ValueError(
            f"{where}: expected values that have a short name, got {in_one_line(value)[:_LONGEST_NAME]}; {advice}"
        )
    return found


def _array_of(labels: Sequence[Any], where: str) -> np.ndarray:
    """Returns the labels as an array: numbers as numbers, everything else as strings."""
    if any(isinstance(label, float) and np.isnan(label) for label in labels):
        raise ValueError(f"{where}: expected numbers, got nan among {labels!r}")
    if all(isinstance(label, bool) for label in labels) or all(
        isinstance(label, int | float) and not isinstance(label, bool) for label in labels
    ):
        numbers = np.array(labels)
        if numbers.dtype != object:  # integers beyond 64 bits
            return numbers
    found = np.array([str(label) for label in labels])
    if found.tolist() != [str(label) for label in labels]:
        raise ValueError(f"{where}: expected strings without a zero at the end, got {list(labels)!r}; rename them")
    return found


def _check_once(where: str, values: np.ndarray, *, static: bool) -> None:
    if (twice := first_repeated(values)) is not None:
        advice = "; give a dict from a name to each value" if static and where.startswith("static_axes") else ""
        raise ValueError(f"{where}: expected each value once, got {twice} (as {values.dtype}) again{advice}")
