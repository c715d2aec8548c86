"""Results of all trials as a labelled dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.forms import Form
from paramact_jax.sweeps.grid import SEED, Grid

if TYPE_CHECKING:
    import xarray as xr

ITERATION = "iteration"
"""Name of the dim that what is observed on the way has, and of the parameter that tells a step its number."""
Shapes = Mapping[str, jax.ShapeDtypeStruct]
RESULT = "result"
"""Variable that holds what a function returns that returns one bare array."""


def named(results: Any, what: str = "results") -> dict[str, jax.Array]:
    """The arrays of a tree by the names of their variables: the path within the tree, joined by dots.

    Random keys are stored as their data.

    Raises:
      ValueError: in one line, if there are no arrays, something that is not an array, or one name twice.
    """
    found: dict[str, jax.Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or RESULT
        if name in found:
            raise ValueError(f"{what}: expected names that differ, got {name!r} for two of them; rename one")
        try:
            array = jnp.asarray(leaf)
        except TypeError as error:
            raise ValueError(f"{what}: {name}: expected an array, got {leaf!r}; return arrays only") from error
        found[name] = jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array
    if not found:
        raise ValueError(f"{what}: expected at least one array, got none; return what each trial should record")
    return found


def of_all_choices(results: Sequence[Shapes], *, what: str = "results") -> Shapes:
    """The shapes of one trial's results by name, from those of each choice of the axes of names.

    What some choices lack is NaN there.

    Raises:
      ValueError: in one line, for a name of several shapes or dtypes, or one without NaN that some choices lack.
    """
    found: dict[str, jax.ShapeDtypeStruct] = {}
    for shapes in results:
        for name, x in shapes.items():
            first = found.setdefault(name, x)
            if (first.shape, first.dtype) != (x.shape, x.dtype):
                raise ValueError(
                    f"{what}: {name}: expected one shape and dtype at all values of an axis of names, got "
                    f"{first.dtype}{list(first.shape)} and {x.dtype}{list(x.shape)}; name them apart"
                )
    for name, x in found.items():
        if any(name not in shapes for shapes in results) and not _has_nan(x.dtype):
            raise ValueError(
                f"{what}: {name}: expected floating-point numbers where some values of an axis of names lack it, since "
                f"NaN stands there, got {x.dtype}; return it at all values"
            )
    return found


def _has_nan(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact) and bool(np.isnan(np.full((), np.nan, dtype).astype(np.complex64)))


def joined(pieces: Sequence[Mapping[str, np.ndarray]], shapes: Shapes, counts: Sequence[int]) -> dict[str, np.ndarray]:
    """The results of all trials of a part, from those of its pieces.

    Args:
      pieces: arrays by name, each with a leading axis of trials.
      shapes: as `of_all_choices` found them, of the names in question.
      counts: trials of each piece.
    """

    def one(name: str, like: jax.ShapeDtypeStruct) -> np.ndarray:
        found = [
            piece[name] if name in piece else np.full((count, *like.shape), np.nan, like.dtype)
            for piece, count in zip(pieces, counts, strict=True)
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    return {name: one(name, like) for name, like in shapes.items()}


def check_results(results: Shapes, observed: Shapes, dims: Iterable[str]) -> None:
    """Refuse results that could not stand in one dataset.

    Args:
      results: shapes of one trial's, by name.
      observed: the same of what is noted on the way.
      dims: names of the grid's dims.

    Raises:
      ValueError: in one line, for a name that is a dim's too, or both a result and observed.
    """
    if both := sorted(results.keys() & observed.keys()):
        raise ValueError(f"observe: expected names that the results have not, got {both[0]!r}; rename it")
    if observed and ITERATION in dims:
        raise ValueError(f"axes: expected another name than {ITERATION!r}, the dim of what is observed; rename it")
    names = {**results, **observed}
    taken = [*dims, *([ITERATION] if observed else [])]
    taken += [dim for name, x in names.items() for dim in _own_dims(name, len(x.shape))]
    for name in names:
        if name in taken:
            raise ValueError(f"results: expected names that are not dims ({', '.join(taken)}), got {name!r}; rename it")


def to_dataset(
    grid: Grid,
    arrays: Mapping[str, np.ndarray],
    form: Form,
    *,
    observed: Collection[str] = (),
    marks: Sequence[int] = (),
) -> xr.Dataset:
    """Dims: each axis, `seed`, then `NAME_dim_0`, ... for the axes that a result has of its own.

    Of dtypes that NumPy does not have itself, neither xarray nor netCDF can do much: bfloat16 and the float8 become
    float32, int2 and int4 int8, uint2 and uint4 uint8. No value changes.

    Args:
      grid: the trials.
      arrays: by name, each with a leading axis of all trials.
      form: how the trials were carried out; it becomes the attribute "form".
      observed: names of the arrays that have an axis of `marks` next, the dim `iteration`.
      marks: the iterations.
    """
    import xarray as xr  # with pandas half a second, which a sweep that only prints a message need not wait for

    def dims(name: str, axes: int) -> tuple[str, ...]:
        return (ITERATION, *_own_dims(name, axes - 1)) if name in observed else _own_dims(name, axes)

    data: dict[str, Any] = {
        name: ((*grid.dims, *dims(name, array.ndim - 1)), widened(array).reshape(*grid.shape, *array.shape[1:]))
        for name, array in arrays.items()
    }
    coords: dict[str, Any] = {name: widened(values) for name, values in grid.labels.items()}
    coords |= {SEED: grid.seeds.astype(np.int64)} | ({ITERATION: list(marks)} if observed else {})
    return xr.Dataset(data, coords=coords, attrs={"form": str(form)})


def widened(array: np.ndarray) -> np.ndarray:
    """Returns an array in a dtype of NumPy's own, see `to_dataset`."""
    if array.dtype.isbuiltin != 2:  # 2: registered with NumPy by another package
        return array
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(np.float32)
    return array.astype(np.uint8 if jnp.issubdtype(array.dtype, jnp.unsignedinteger) else np.int8)


def _own_dims(name: str, axes: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{i}" for i in range(axes))
