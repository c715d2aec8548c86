"""The results of all trials as a labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.arguments import returned
from paramact_jax.sweeps.checks import ERROR, SHOWN_AS, to_strings
from paramact_jax.sweeps.failures import register
from paramact_jax.sweeps.forms import Forms
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.settings import ABSENT, ITERATION, POINT, SEED

if TYPE_CHECKING:
    import xarray as xr

    from paramact_jax.sweeps.storage.contents import Sheet

Shapes = Mapping[str, jax.ShapeDtypeStruct]
RESULT = "result"
"""Name of the variable for a function that returns one bare array."""
_NOWHERE: Mapping[str, Sequence[Mapping[str, Any]]] = {}


def named(results: Any, what: str = "results") -> dict[str, jax.Array]:
    """Returns the arrays of a tree by the names of their variables: the path in the tree, joined by dots.

    Random keys are stored as their data.

    Raises:
      ValueError: in one line, if there are no arrays, if a leaf is not an array, or if two arrays have one name.
    """
    found: dict[str, jax.Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or RESULT
        if name in found:
            raise ValueError(f"{what}: expected different names, got {name!r} for two of them; rename one")
        array = returned(f"{what}: {name}", leaf)
        found[name] = jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array
    if not found:
        raise ValueError(f"{what}: expected at least one array, got none; return what each trial should record")
    return found


def of_all_choices(results: Sequence[Shapes], *, what: str = "results") -> Shapes:
    """Returns the shapes of one trial's results by name, from the shapes at each choice of the static settings.

    A result that some choices lack is NaN there.

    Raises:
      ValueError: in one line, for a name with several shapes or dtypes, and for a result that some choices lack if its
        dtype has no NaN.
    """
    found: dict[str, jax.ShapeDtypeStruct] = {}
    for shapes in results:
        for name, x in shapes.items():
            first = found.setdefault(name, x)
            if (first.shape, first.dtype) != (x.shape, x.dtype):
                raise ValueError(
                    f"{what}: {name}: expected one shape and dtype at all values of static settings, got "
                    f"{first.dtype}{list(first.shape)} and {x.dtype}{list(x.shape)}; return something of one shape, "
                    f"such as a norm, or use different names"
                )
    for name, x in found.items():
        if name != ERROR and any(name not in shapes for shapes in results) and not _has_nan(x.dtype):
            raise ValueError(
                f"{what}: {name}: expected floating-point numbers, as NaN fills the gaps of a result that some static "
                f"settings lack, got {x.dtype}; return it at all values"
            )
    return found


def absences(results: Sequence[Shapes], grid: Grid) -> dict[str, list[Mapping[str, Any]]]:
    """Returns the choices of the static settings that lack a result, by the names of such results."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for name in dict.fromkeys(name for shapes in results for name in shapes):
        if lacking := [grid.choices[i].where for i, shapes in enumerate(results) if name not in shapes]:
            found[name] = lacking
    return found


def _has_nan(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact) and bool(np.isnan(np.full((), np.nan, dtype).astype(np.complex64)))


def joined(pieces: Sequence[Mapping[str, np.ndarray]], shapes: Shapes, counts: Sequence[int]) -> dict[str, np.ndarray]:
    """Returns the results of all trials of a part, from the results of its pieces.

    Args:
      pieces: arrays by name, each with a leading axis of trials.
      shapes: the shapes from `of_all_choices` of the names that are wanted.
      counts: number of trials of each piece.
    """

    def one(name: str, like: jax.ShapeDtypeStruct) -> np.ndarray:
        found = [
            piece[name] if name in piece else np.full((count, *like.shape), 0 if name == ERROR else np.nan, like.dtype)
            for piece, count in zip(pieces, counts, strict=True)
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    return {name: one(name, like) for name, like in shapes.items()}


def check_results(results: Shapes, observed: Shapes, dims: Iterable[str]) -> None:
    """Refuses results that cannot be in one dataset.

    Args:
      results: shapes of one trial's results, by name.
      observed: the same for the values observed during training.
      dims: names of the grid's dims.

    Raises:
      ValueError: in one line, for a name that a dim has too, and for a name of both a result and an observed value.
    """
    if both := sorted(results.keys() & observed.keys()):
        raise ValueError(f"observe: expected names that no result has, got {both[0]!r}; rename it")
    if observed and ITERATION in dims:
        raise ValueError(f"axes: expected a name other than {ITERATION!r}, the dim of observed values; rename it")
    if ERROR in results and SHOWN_AS in (*results, *observed):
        raise ValueError(f"results: expected a name other than {SHOWN_AS!r}, the messages of failed checks; rename it")
    names = {**results, **observed}
    taken = [*dims, *([ITERATION] if observed else [])]
    taken += [dim for name, x in names.items() for dim in _own_dims(name, len(x.shape))]
    for name in names:
        if name in taken:
            raise ValueError(f"results: expected names that are not dims ({', '.join(taken)}), got {name!r}; rename it")


def to_dataset(
    grid: Grid,
    arrays: Mapping[str, np.ndarray],
    form: Forms | str,
    *,
    observed: Collection[str] = (),
    marks: Sequence[int] = (),
    absent: Mapping[str, Sequence[Mapping[str, Any]]] = _NOWHERE,
) -> xr.Dataset:
    """Returns a dataset with the dims: each axis, `point`, `seed`, then `NAME_dim_0`, ... for a result's own axes.

    Some dtypes are not NumPy's own, so that xarray and netCDF hardly support them. Of these dtypes, bfloat16 and float8
    become float32, int2 and int4 become int8, uint2 and uint4 become uint8. No value changes.

    Args:
      grid: the trials.
      arrays: by name, each with a leading axis of all trials of the grid's product.
      form: how the trials were carried out; it becomes the attribute "form".
      observed: names of the arrays with `marks` as the next axis, the dim `iteration`.
      marks: the iterations.
      absent: by name of a result, the choices of the static settings that lack it; they become its attribute
        "absent_at".
    """
    import xarray as xr  # takes half a second with pandas; not needed for a sweep that only prints an error

    def dims(name: str, axes: int) -> tuple[str, ...]:
        return (ITERATION, *_own_dims(name, axes - 1)) if name in observed else _own_dims(name, axes)

    register()
    if ERROR in arrays:
        arrays = {**arrays, SHOWN_AS: to_strings(arrays[ERROR])}
    data: dict[str, Any] = {
        name: (
            (*grid.dims, *dims(name, array.ndim - 1)),
            grid.in_shape(widened(array)),
            {ABSENT: json.dumps(list(absent[name]))} if name in absent else {},
        )
        for name, array in arrays.items()
        if name != ERROR
    }
    coords: dict[str, Any] = {name: widened(values) for name, values in grid.labels.items()}
    if grid.points:
        coords |= {POINT: np.arange(len(grid.order))}
        for name, column in grid.points.items():
            coords[name] = ((POINT, *_own_dims(name, column.labels.ndim - 1)), widened(column.labels))
    coords |= {SEED: grid.seeds.astype(np.int64)} | ({ITERATION: list(marks)} if observed else {})
    return xr.Dataset(data, coords=coords, attrs={"form": str(form)})


def widened(array: np.ndarray) -> np.ndarray:
    """Returns an array in a dtype that NumPy has itself, see `to_dataset`."""
    if array.dtype.isbuiltin != 2:  # 2: registered with NumPy by another package
        return array
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(np.float32)
    return array.astype(np.uint8 if jnp.issubdtype(array.dtype, jnp.unsignedinteger) else np.int8)


def _with_gaps(name: str, array: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    found = array.astype(float) if array.dtype.kind in "biu" and name != ERROR else array.copy()
    found[gaps] = 0 if name == ERROR else np.nan
    return found


def _own_dims(name: str, axes: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{i}" for i in range(axes))


class Results:
    """The results of all trials of a grid's product, filled part by part.

    Attributes:
      arrays: by name, each with a leading axis of trials. They take no memory before the first call of `put`.
    """

    def __init__(self, trials: int, shapes: Mapping[str, jax.ShapeDtypeStruct]) -> None:
        """Begins without results."""
        self._trials, self._shapes = trials, shapes
        self.arrays: dict[str, np.ndarray] = {}
        self._have: np.ndarray | None = None
        self._noted: list[tuple[str, np.ndarray, int, np.ndarray]] = []

    @property
    def have(self) -> np.ndarray:
        """For each trial, whether its results are there."""
        if self._have is None:
            self._have = np.zeros(self._trials, bool)
        return self._have

    @property
    def count(self) -> int:
        """Number of trials with results."""
        return 0 if self._have is None else int(self._have.sum())

    def put(self, positions: slice | np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores the results of some trials."""
        if not self.arrays:
            self.arrays = {name: np.empty((self._trials, *x.shape), x.dtype) for name, x in self._shapes.items()}
        for name, x in arrays.items():
            self.arrays[name][positions] = x
        self.have[positions] = True

    def note(self, positions: np.ndarray, noted: Mapping[str, np.ndarray]) -> None:
        """Stores the values that unfinished trials observed: by "MARK:NAME" the values at the mark of that number."""
        for key, x in noted.items():
            mark, _, name = key.partition(":")
            self._noted.append((name, positions, int(mark), x))

    def dataset(self, grid: Grid, sheet: Sheet) -> xr.Dataset:
        """Returns the results as a dataset.

        Trials without results are NaN, for which integers and booleans become float64. The attribute "unfinished"
        counts such trials.
        """
        self.put(slice(0, 0), {})
        about = {name: sheet.about[name] for name in ("observed", "marks", "absent")}
        if self.have.all():
            return to_dataset(grid, self.arrays, sheet.about["form"], **about)
        arrays = {name: _with_gaps(name, widened(array), ~self.have) for name, array in self.arrays.items()}
        for name, positions, mark, x in self._noted:
            arrays[name][positions, mark] = x
        found = to_dataset(grid, arrays, sheet.about["form"], **about)
        return found.assign_attrs(unfinished=int((~self.have).sum()))
