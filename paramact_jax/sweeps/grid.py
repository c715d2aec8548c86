"""The trials of a sweep: axes, points and seeds as one flat axis."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from paramact_jax.sweeps.seeds import Seeds, check_seeds
from paramact_jax.sweeps.settings import POINT, SEED, Column, columns_of_axes, columns_of_points

_AT_ONCE = 2**16


def trial_key(seed: jax.Array | int, root: int = 0) -> jax.Array:
    """Returns the random key of a trial: fold_in(key(root), seed). It does not depend on other trials."""
    return jax.random.fold_in(jax.random.key(root), seed)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice of the static settings, which gets a program of its own.

    Attributes:
      settings: the static settings, which the function gets as they are.
      traced: names of the axes and points' settings that are traced.
      name: for messages, as "activation=relu, width=8"; empty if there is but one choice.
      where: labels of the choice by axis, and the numbers of its points under "point".
    """

    settings: Mapping[str, Any]
    traced: tuple[str, ...]
    name: str
    where: Mapping[str, Any]


@contextlib.contextmanager
def at_choice(choice: Choice) -> Iterator[None]:
    """Adds to an error that is raised here a note that names the choice."""
    try:
        yield
    except Exception as error:
        if choice.name:
            error.add_note(f"The trial was traced at {choice.name}.")
        raise


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The product of axes, points and seeds. On the flat axis of trials the seeds run fastest, then the last axis.

    The static axes come first, then the points, grouped by choice. So the trials of one program are next to each other.

    Attributes:
      axes: by name, the static ones first.
      points: settings that have one value for each point.
      seeds: one trial for each, at every point and value.
      bound: static settings, the same for all trials.
      selected: positions on the flat axis of the trials that are to run, in the order in which they run; None: all.
    """

    axes: Mapping[str, Column]
    points: Mapping[str, Column]
    seeds: Seeds
    bound: Mapping[str, Any]
    selected: np.ndarray | None = None

    @functools.cached_property
    def dims(self) -> tuple[str, ...]:
        """Names of the static axes, then `point` if there are points, the other axes and `seed`."""
        return tuple(self._sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each of the `dims`."""
        return tuple(self._sizes.values())

    @property
    def total(self) -> int:
        """Number of trials of the whole product."""
        return math.prod(self.shape)

    @property
    def trials(self) -> int:
        """Number of trials that are to run."""
        return self.total if self.selected is None else len(self.selected)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels of the axes' values, by axis."""
        return {name: column.labels for name, column in self.axes.items()}

    @functools.cached_property
    def choices(self) -> list[Choice]:
        """Every choice of the static settings."""
        static = {name: column for name, column in self.axes.items() if column.static}
        numbers = tuple(name for name, column in self.axes.items() if not column.static)
        found = []
        for along in itertools.product(*(range(len(column.labels)) for column in static.values())):
            for members in self._groups or [[]]:
                parts = [(name, column, i) for (name, column), i in zip(static.items(), along, strict=True)]
                parts += [(name, x, members[0]) for name, x in self.points.items() if x.static and x.has(members[0])]
                own = tuple(name for name, x in self.points.items() if not x.static and x.has(members[0]))
                labels = {name: column.labels[i].item() for name, column, i in parts}
                told = [f"{name}={label}" for name, label in labels.items()]
                conditional = [name for name, x in self.points.items() if x.present is not None and not x.static]
                told += [name if name in own else f"no {name}" for name in conditional]
                where = {name: label for name, label in labels.items() if name in static}
                where |= {POINT: members} if members else {}
                given = {name: column.values[i] for name, column, i in parts}
                found.append(Choice({**self.bound, **given}, (*own, *numbers), ", ".join(told), where))
        return found

    def pieces(self, part: range) -> list[tuple[int, range]]:
        """Returns a part of the trials by choices: the number of each choice, and its trials in the part."""
        if self.selected is None:
            found = [
                (i, range(max(part.start, begin), min(part.stop, end)))
                for i, (begin, end) in enumerate(itertools.pairwise(self._bounds.tolist()))
            ]
            return [(i, piece) for i, piece in found if piece]
        choices = self.choice_of(self.selected[part.start : part.stop])
        begins = [0, *(np.flatnonzero(choices[1:] != choices[:-1]) + 1).tolist(), len(choices)]
        return [
            (int(choices[begin]), range(part.start + begin, part.start + end))
            for begin, end in itertools.pairwise(begins)
        ]

    @property
    def names(self) -> list[list[str]]:
        """For each choice, the names of the function's arguments other than the traced settings."""
        return [[*choice.traced, *(choice.settings.keys() - self.bound.keys())] for choice in self.choices]

    @property
    def borders(self) -> list[int]:
        """The positions where the trials of another choice begin."""
        return [piece.start for _, piece in self.pieces(range(self.trials))][1:]

    def of_calls(self, parts: Sequence[range], trials: int) -> list[tuple[list[int], list[int]]]:
        """Returns the kinds of calls that run some parts: the choices in each, and the number of trials of each choice.

        A part of more than `trials` trials is run in calls of one choice each.
        """
        found: dict[tuple[int, ...], list[int]] = {}
        for part in parts:
            pieces = [(i, len(piece)) for i, piece in self.pieces(part)]
            several = [pieces] if len(part) <= trials else [[(i, min(trials, count))] for i, count in pieces]
            for kind in several:
                choices, counts = tuple(i for i, _ in kind), [count for _, count in kind]
                found[choices] = list(map(max, counts, found.get(choices, counts)))
        return [(list(choices), counts) for choices, counts in found.items()]

    def positions(self, part: range) -> slice | np.ndarray:
        """Returns the positions of a part's trials in the whole product."""
        return slice(part.start, part.stop) if self.selected is None else self.selected[part.start : part.stop]

    def part(self, begin: int, end: int) -> dict[str, Any]:
        """Returns the trials begin..end - 1, all of one choice: {"seed": (n,), "axes": {name: (n,)}}."""
        traced = self.choices[self.pieces(range(begin, begin + 1))[0][0]].traced
        columns = {name: self._column(name) for name in traced}
        of_all = {name: np.asarray(column.values) for name, column in columns.items()}
        found = {name: np.empty((end - begin, *x.shape[1:]), x.dtype) for name, x in of_all.items()}
        seeds = np.empty(end - begin, np.uint32)
        for first in range(begin, end, _AT_ONCE):  # all indices would take more memory than the values
            last = min(first + _AT_ONCE, end)
            along = self._along(range(first, last))
            here = slice(first - begin, last - begin)
            seeds[here] = self.seeds[along[SEED]]
            for name, values in of_all.items():
                found[name][here] = values[along[name] if name in along else self.order[along[POINT]]]
        return {"seed": seeds, "axes": found}

    def labels_of(self, part: range) -> dict[str, np.ndarray]:
        """Returns the labels of a part's trials: the values of axes and of points' settings, and the seed."""
        along = self._along(part)
        point = {POINT: self.order[along[POINT]]} if self.points else {}
        flat = {name: column.labels for name, column in self.points.items() if column.labels.ndim == 1}
        of_points = {name: labels[point[POINT]] for name, labels in flat.items()}
        of_axes = {name: labels[along[name]] for name, labels in self.labels.items()}
        return {**of_axes, **point, **of_points, SEED: self.seeds[along[SEED]].astype(np.int64)}

    def _along(self, part: range) -> dict[str, np.ndarray]:
        """Returns the index of each trial of a part along each dim."""
        at = np.arange(part.start, part.stop) if self.selected is None else self.selected[part.start : part.stop]
        return dict(zip(self.dims, np.unravel_index(at, self.shape), strict=True))

    def one(self, choice: int = 0) -> dict[str, Any]:
        """Returns the shapes and dtypes of one trial of `part`."""
        values = {name: np.asarray(self._column(name).values) for name in self.choices[choice].traced}
        axes = {name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for name, x in values.items()}
        return {"seed": jax.ShapeDtypeStruct((), np.uint32), "axes": axes}

    def in_shape(self, flat: np.ndarray) -> np.ndarray:
        """Returns an array of all trials of the product along `dims`, with the points in their given order."""
        found = flat.reshape(*self.shape, *flat.shape[1:])
        if self.points and len(self._groups) > 1:
            found = np.take(found, np.argsort(self.order), axis=self.dims.index(POINT))
        return found

    def flat(self, shaped: np.ndarray) -> np.ndarray:
        """Undoes `in_shape`."""
        if self.points and len(self._groups) > 1:
            shaped = np.take(shaped, self.order, axis=self.dims.index(POINT))
        return shaped.reshape(self.total, *shaped.shape[len(self.dims) :])

    def share(self, task: int, tasks: int) -> Grid:
        """Returns the grid of one of several tasks. The tasks run equally many trials, in consecutive pieces."""
        begin, end = self.trials * task // tasks, self.trials * (task + 1) // tasks
        return self.select(np.arange(begin, end) if self.selected is None else self.selected[begin:end])

    def matching(self, other: Grid) -> np.ndarray:
        """Returns for each trial of another grid's product its position in this grid's product; -1: it is not there.

        Raises:
          ValueError: in one line, if the two have other axes or settings.
        """
        if set(self.dims) != set(other.dims) or self.points.keys() != other.points.keys():
            mine, others = ([*x.dims[:-1], *x.points] for x in (self, other))
            raise ValueError(f"expected the axes and settings {', '.join(others) or '(none)'}, got {', '.join(mine)}")
        at = np.unravel_index(np.arange(other.total), other.shape)
        found = np.zeros(other.total, np.int64)
        absent = np.zeros(other.total, bool)
        for dim, size in self._sizes.items():
            place = {key: i for i, key in reversed(list(enumerate(self._keys(dim))))}
            along = np.array([place.get(key, -1) for key in other._keys(dim)])[at[other.dims.index(dim)]]
            found = found * size + along
            absent |= along < 0
        return np.where(absent, -1, found)

    def _keys(self, dim: str) -> list[Any]:
        """Returns a key for each value along a dim, in the order of the flat axis. Different values differ in it."""
        if dim == SEED:
            return self.seeds.tolist()
        if dim != POINT:
            labels = self.axes[dim].labels
            return [(labels.dtype.kind, repr(label)) for label in labels.tolist()]  # True is not 1, and -0.0 not 0.0
        times: Counter[Any] = Counter()
        found = []
        for i in self.order:
            of = [
                (x.labels.dtype.kind, repr(x.labels[i].tolist())) if x.has(i) else None
                for _, x in sorted(self.points.items())
            ]
            found.append((*of, times[tuple(of)]))  # equal points differ by their order
            times[tuple(of)] += 1
        return found

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        """Returns the labels of all trials as arrays, and the names of the static axes and settings."""
        found = {"seeds": self.seeds} | ({} if self.selected is None else {"selected": self.selected})
        found |= {f"axis:{name}": column.labels for name, column in self.axes.items()}
        found |= {f"point:{name}": column.labels for name, column in self.points.items()}
        found |= {f"there:{name}": x.present for name, x in self.points.items() if x.present is not None}
        columns = {"axis": self.axes, "point": self.points}
        return found, {kind: [name for name, x in of.items() if x.static] for kind, of in columns.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], static: Mapping[str, Collection[str]]) -> Grid:
        """Returns the grid that `to_arrays` described. It can label results, but cannot run trials."""
        columns: dict[str, dict[str, Column]] = {"axis": {}, "point": {}}
        for key, x in arrays.items():
            kind, _, name = key.partition(":")
            if kind in columns:
                values = tuple(x.tolist()) if name in static[kind] else x
                columns[kind][name] = Column(x, values, arrays.get(f"there:{name}"))
        return cls(columns["axis"], columns["point"], arrays["seeds"], {}, arrays.get("selected"))

    def select(self, positions: np.ndarray) -> Grid:
        """Returns the same grid with other trials that are to run."""
        return dataclasses.replace(self, selected=positions)

    @functools.cached_property
    def order(self) -> np.ndarray:
        """The numbers of the points in the order of the flat axis."""
        return np.array([i for members in self._groups for i in members], np.int64)

    @functools.cached_property
    def _groups(self) -> list[list[int]]:
        """The points of each choice."""
        found: dict[Any, list[int]] = {}
        count = len(next(iter(self.points.values())).labels) if self.points else 0
        for i in range(count):
            key = [(x.labels[i].item() if x.static else None) if x.has(i) else () for x in self.points.values()]
            found.setdefault(tuple(key), []).append(i)
        return list(found.values())

    @functools.cached_property
    def _sizes(self) -> dict[str, int]:
        static = {name: len(column.labels) for name, column in self.axes.items() if column.static}
        numbers = {name: len(column.labels) for name, column in self.axes.items() if not column.static}
        points = {POINT: len(self.order)} if self.points else {}
        return {**static, **points, **numbers, SEED: len(self.seeds)}

    @functools.cached_property
    def _bounds(self) -> np.ndarray:
        """Where the trials of each choice begin in the whole product, and its end."""
        groups = [len(members) for members in self._groups] or [1]
        each = self.total // (len(self.choices) // len(groups)) // sum(groups)
        return np.cumsum([0, *([size * each for size in groups] * (len(self.choices) // len(groups)))])

    def choice_of(self, positions: np.ndarray) -> np.ndarray:
        """Returns the choice of each trial of the product, by position."""
        return np.searchsorted(self._bounds, positions, side="right") - 1

    def _column(self, name: str) -> Column:
        return self.axes[name] if name in self.axes else self.points[name]


def make_grid(
    axes: Mapping[str, Iterable[Any]],
    seeds: Iterable[int],
    *,
    static_axes: Mapping[str, Any] | None = None,
    points: Any = None,
    static: str | Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> Grid:
    """Returns the grid of these axes, points and seeds.

    Args:
      axes: for each name the values, each once: numbers or booleans, or names (strings). Floating-point ones become
        JAX's default float (float32, or float64 in its 64-bit mode), integers its default integer.
      seeds: integers within 0..2**32 - 1, each once.
      static_axes: as in `sweep`.
      points: as in `sweep`.
      static: names of axes, points' settings and settings that are not traced.
      settings: the same for all trials; those that are not traced become part of the grid.

    Raises:
      ValueError: in one line, for values or seeds that are not of this kind, more seeds than there is memory for, and
        values that do not fit into the dtype that trials compute in.

    Examples:
      >>> grid = make_grid({"learning_rate": [0.1, 0.2]}, range(3))
      >>> grid.dims, grid.shape, grid.trials
      (('learning_rate', 'seed'), (2, 3), 6)
      >>> grid.part(2, 4)["seed"].tolist(), grid.part(2, 4)["axes"]["learning_rate"].tolist()
      ([2, 0], [0.10000000149011612, 0.20000000298023224])
    """
    static = [static] if isinstance(static, str) else static
    if not isinstance(static, Collection) or not all(isinstance(name, str) for name in static):
        raise ValueError(f"static_argnames: expected a name or a list of names, got {static!r}")
    columns = columns_of_axes(axes, static_axes or {}, static)
    found = {} if points is None else columns_of_points(points, static)
    if both := [name for name in found if name in columns]:
        raise ValueError(f"{both[0]}: expected an axis or a setting of points, got both; leave one of the two out")
    bound = {name: value for name, value in (settings or {}).items() if name in static}
    if unknown := [name for name in static if name not in {**columns, **found, **bound}]:
        raise ValueError(
            f"static_argnames: expected names of axes, points' settings or settings, got {unknown[0]!r}; leave it out"
        )
    return Grid(columns, found, check_seeds(seeds), bound)
