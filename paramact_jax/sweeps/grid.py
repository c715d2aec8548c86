"""Which trials there are: the product of axes and seeds as one flat axis."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.arguments import check_concrete, converted
from paramact_jax.sweeps.memory import bytes_on_host, check_host

MAX_SEED = 2**32 - 1
SEED = "seed"
"""Name of the dim that seeds are on, the last of a grid's."""

_AT_ONCE = 2**16

Seeds = np.ndarray[tuple[int], np.dtype[np.uint32]]


def trial_key(seed: jax.Array | int, root: int = 0) -> jax.Array:
    """The random key of a trial: fold_in(key(root), seed). One seed is one trial, whatever runs beside it."""
    return jax.random.fold_in(jax.random.key(root), seed)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of axes and seeds; as a flat axis of trials the seeds run fastest, then the last axis.

    Axes of names come first: each of their values is a program of its own, whose trials lie together.

    Attributes:
      labels: the values of each axis as they were given.
      values: those of axes of numbers in the dtype that trials compute in.
      seeds: one trial for each, at every point of the axes.
    """

    labels: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    seeds: Seeds

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes, then `seed`."""
        return (*self.labels, SEED)

    @property
    def shape(self) -> tuple[int, ...]:
        """As many as `dims`."""
        return (*(len(values) for values in self.labels.values()), len(self.seeds))

    @property
    def trials(self) -> int:
        """Number of trials."""
        return math.prod(self.shape)

    @property
    def choices(self) -> list[dict[str, str]]:
        """Every combination of the axes of names; one empty one if there are none."""
        names = [name for name in self.labels if name not in self.values]
        combinations = itertools.product(*(self.labels[name].tolist() for name in names))
        return [dict(zip(names, values, strict=True)) for values in combinations]

    def pieces(self, part: range) -> list[tuple[int, range]]:
        """A part of the flat axis by choices: the number of each, and its trials in the part."""
        each = self.trials // len(self.choices)
        found = [
            (i, range(max(part.start, i * each), min(part.stop, (i + 1) * each))) for i in range(len(self.choices))
        ]
        return [(i, piece) for i, piece in found if piece]

    def of_a_call(self, trials: int) -> tuple[list[int], list[int]]:
        """The choices in a call of so many trials, and how many of each: all of all, or as many of one."""
        if trials < self.trials:
            return [0], [trials]
        return list(range(len(self.choices))), [self.trials // len(self.choices)] * len(self.choices)

    def part(self, begin: int, end: int) -> dict[str, Any]:
        """The trials begin..end - 1 of the flat axis: {"seed": (n,), "axes": {name: (n,)}}."""
        found = {name: np.empty(end - begin, x.dtype) for name, x in self.values.items()}
        seeds = np.empty(end - begin, np.uint32)
        for first in range(begin, end, _AT_ONCE):  # the indices of all trials would be larger than what they choose
            *along, seed = np.unravel_index(np.arange(first, min(first + _AT_ONCE, end)), self.shape)
            here = slice(first - begin, first - begin + len(seed))
            seeds[here] = self.seeds[seed]
            for name, index in zip(self.labels, along, strict=True):
                if name in self.values:
                    found[name][here] = self.values[name][index]
        return {"seed": seeds, "axes": found}

    def one(self) -> dict[str, Any]:
        """Shapes and dtypes of one trial of `part`."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), self.part(0, 1))


def make_grid(axes: Mapping[str, Iterable[Any]], seeds: Iterable[int]) -> Grid:
    """The grid of these axes and seeds.

    Args:
      axes: for each name the values, each once: numbers or booleans, or names (strings). Floating-point ones become
        JAX's default float (float32, or float64 in its 64-bit mode), integers its default integer.
      seeds: integers within 0..2**32 - 1, each once.

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
    if not isinstance(axes, Mapping):
        raise ValueError(f"axes: expected a dict from a parameter's name to its values, got {axes!r}")
    labels = {name: _labels(name, values) for name, values in axes.items()}
    numbers = {name: found for name, found in labels.items() if found.dtype.kind != "U"}
    names = {name: found for name, found in labels.items() if name not in numbers}
    for name, found in names.items():
        _check_once(name, found)
    return Grid(names | numbers, {name: _values(name, found) for name, found in numbers.items()}, check_seeds(seeds))


def check_seeds(seeds: Iterable[int]) -> Seeds:
    """The seeds as a uint32 array; raises ValueError as `make_grid` does."""
    if isinstance(seeds, range) and len(seeds):  # may be long: its two ends say it all
        _check_seed(seeds[0]), _check_seed(seeds[-1])
        needed = bytes_on_host(seeds=len(seeds), results=0, per_call=0)
        check_host(needed, f"{len(seeds)} seeds", "sweep fewer at a time")
        found = np.arange(len(seeds), dtype=np.uint32)
        found *= np.uint32(seeds.step % 2**32)
        found += np.uint32(seeds.start)
        return found
    try:
        if isinstance(seeds, np.ndarray) and seeds.dtype.kind in "iu" and seeds.ndim == 1 and seeds.size:
            _check_seed(seeds.min()), _check_seed(seeds.max())
            found = seeds.astype(np.uint32)
        else:
            found = np.fromiter((_check_seed(seed) for seed in seeds), np.uint32)
    except TypeError as error:
        check_concrete("seeds", seeds)
        raise ValueError(f"expected seeds as a range or a list of integers, got {seeds!r}") from error
    if not len(found):
        raise ValueError("expected at least one seed, got none")
    if (twice := _first_repeated(found)) is not None:
        raise ValueError(f"expected each seed once, got {twice} again: one seed is one trial")
    return found


def _check_seed(seed: Any) -> int:
    try:
        value = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)
    except TypeError:
        check_concrete("seeds", seed)
        value = -1
    if not 0 <= value <= MAX_SEED:
        raise ValueError(f"expected seeds that are integers within 0..{MAX_SEED}, got {seed!r}")
    return value


def _labels(name: str, values: Iterable[Any]) -> np.ndarray:
    if name == SEED:
        raise ValueError(f"axes: {SEED!r} is the dim of the seeds; give the trials' seeds as seeds=")
    if isinstance(values, str):
        raise ValueError(f"axes: {name}: expected a list of strings, got {values!r}; put it in a list")
    if (names := _names(name, values)) is not None:
        return names
    try:
        found = np.asarray(values if hasattr(values, "__array__") else list(values))
    except (TypeError, ValueError) as error:
        check_concrete(f"axes: {name}", values)
        raise ValueError(f"axes: {name}: expected a list of numbers, got {values!r}") from error
    if found.ndim == 1 and not len(found):
        raise ValueError(f"axes: {name}: expected at least one value, got none")
    number = jnp.issubdtype(found.dtype, jnp.bool_) or jnp.issubdtype(found.dtype, jnp.number)
    if found.ndim != 1 or not number or jnp.issubdtype(found.dtype, jnp.complexfloating):
        raise ValueError(
            f"axes: {name}: expected a list of real numbers, or one of strings, got {values!r}; call once for each of "
            f"other things"
        )
    if np.isnan(found).any():
        raise ValueError(f"axes: {name}: expected numbers, got nan among {found.tolist()}")
    return found


def _names(name: str, values: Iterable[Any]) -> np.ndarray | None:
    """The values of an axis of names, which are strings; None for another axis."""
    if not isinstance(values, Collection) or not len(values) or not all(isinstance(value, str) for value in values):
        return None
    given = [str.__str__(value) for value in values]  # of an enumeration too the string, not its name there
    found = np.array(given)
    if found.tolist() != given:
        raise ValueError(f"axes: {name}: expected strings without a zero at the end, got {given!r}; rename them")
    return found


def _values(name: str, labels: np.ndarray) -> np.ndarray:
    """In the dtype of computation, in which they have to differ still."""
    values = labels
    if labels.dtype != np.bool_:
        kind = float if jnp.issubdtype(labels.dtype, jnp.floating) else int
        values = converted(f"axes: {name}", labels, jnp.result_type(kind))
    _check_once(name, values)
    return values


def _check_once(name: str, values: np.ndarray) -> None:
    if (twice := _first_repeated(values)) is not None:
        raise ValueError(f"axes: {name}: expected each value once, got {twice} (as {values.dtype}) again")


def _first_repeated(values: np.ndarray) -> Any:
    ordered = np.sort(values)
    again = ordered[1:] == ordered[:-1]
    return ordered[1:][again][0] if again.any() else None
