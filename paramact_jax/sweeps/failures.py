"""Trials that failed: which, why, and what to keep of a sweep when they run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from paramact_jax.sweeps.checks import ERROR, SHOWN_AS
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.settings import ABSENT, ITERATION, POINT, SEED

if TYPE_CHECKING:
    import xarray as xr


def reasons(results: xr.Dataset, of: Iterable[str] | None = None) -> xr.DataArray:
    """Returns why each trial failed; an empty string for one that did not.

    A trial fails if one of its numbers is NaN or infinite. What a static setting lacks does not count. In what a long
    sweep noted on the way, the first such iteration is told. A trial fails too if a `jax.experimental.checkify.check`
    within it does not hold: the dataset has its message as the variable "error".

    Args:
      results: of `sweep` or `long_sweep`.
      of: names of the variables that count, by default all.

    Returns:
      Strings along the dims of trials.

    Raises:
      ValueError: in one line, for a variable that is not there.

    Examples:
      >>> import jax.numpy as jnp
      >>> from paramact_jax.sweeps import sweep
      >>> results = sweep(lambda key, x: {"root": jnp.sqrt(x)}, [0], axes={"x": [4.0, -1.0]})
      >>> reasons(results).values.tolist(), results.failed.values.tolist()
      ([[''], ['root is nan']], [[False], [True]])
    """
    import xarray as xr

    names = list(results.data_vars) if of is None else list(of)
    if unknown := [name for name in names if name not in results]:
        raise ValueError(f"of: expected names among {', '.join(map(str, results.data_vars))}, got {unknown[0]!r}")
    dims = [dim for dim in results.dims if any(_is_of_trials(dim, results[name]) for name in names)]
    shape = [results.sizes[dim] for dim in dims]
    found: xr.DataArray = xr.DataArray(np.full(shape, "", object), {dim: results[dim] for dim in dims}, dims)
    for name in sorted(names, key=lambda name: (name == SHOWN_AS, ITERATION in results[name].dims)):  # the last stands
        values = results[name]
        if name == SHOWN_AS and values.dtype.kind == "U":
            found = xr.where(values != "", values, found)
        if values.dtype.kind not in "fc":
            continue
        wrong: xr.DataArray = xr.apply_ufunc(lambda x: ~np.isfinite(x), values) & ~_absent(values)
        own = [dim for dim in values.dims if dim not in dims]
        at = wrong.any([dim for dim in own if dim != ITERATION])
        is_nan = (values.isnull() & wrong).any(own)
        told = xr.where(is_nan, f"{name} is nan", f"{name} is infinite")
        if ITERATION in own:
            first = at.argmax(ITERATION)
            iteration = results[ITERATION].values[first.values].astype(str).astype(object)
            told = told.astype(object) + first.copy(data=np.char.add(" from iteration ", iteration.astype(str)))
            at = at.any(ITERATION)
        found = xr.where(at, told, found)
    return found.transpose(*dims).astype(str).rename("reason")


def failed(results: xr.Dataset, of: Iterable[str] | None = None) -> xr.DataArray:
    """Returns which trials failed, see `reasons`; `results.failed` is the same for all variables."""
    return (reasons(results, of) != "").rename("failed")


def kept_of(keep: Any, grid: Grid, results: Mapping[str, jax.ShapeDtypeStruct]) -> tuple[dict[str, Any], np.ndarray]:
    """Reads what is kept of an earlier sweep of the same trials.

    Args:
      keep: the dataset that a sweep returned.
      grid: the trials.
      results: shapes of one trial's results, by name.

    Returns:
      The results of all trials by name, and which trials failed, both on the flat axis.

    Raises:
      ValueError: in one line, if it has other trials or results.
    """
    import xarray as xr

    if not isinstance(keep, xr.Dataset):
        raise ValueError(f"keep: expected the dataset that a sweep returned, got {type(keep).__name__}")
    labels = {**grid.labels, **{name: x.labels for name, x in grid.points.items()}, SEED: grid.seeds.astype(np.int64)}
    for name, wanted in labels.items():
        if name not in keep.coords or not _same(keep[name].values, wanted):
            got = f"{keep.sizes[name]} other values" if name in keep.coords and name in keep.sizes else "none"
            raise ValueError(
                f"keep: expected results of the same trials, with the {len(wanted)} values of {name!r}, got {got}; "
                f"pass what the earlier sweep returned"
            )
    names = {SHOWN_AS if name == ERROR else name for name in results}
    if set(keep.data_vars) - {SHOWN_AS} != names - {SHOWN_AS}:
        raise ValueError(
            f"keep: expected the results {', '.join(results)}, got {', '.join(map(str, keep.data_vars))}; pass what "
            f"the earlier sweep returned"
        )
    again = grid.flat(failed(keep).transpose(*grid.dims).values)
    found = {}
    for name, like in results.items():
        if name == ERROR:
            found[name] = np.zeros((grid.total, *like.shape), like.dtype)
            continue
        values = grid.flat(keep[name].transpose(*grid.dims, ...).values)
        with np.errstate(invalid="ignore"):
            found[name] = values.astype(like.dtype)
        if found[name].shape[1:] != like.shape:
            raise ValueError(f"keep: expected {name} of shape {like.shape} for each trial, got {values.shape[1:]}")
    return found, again


def register() -> None:
    """Gives every dataset the attribute `failed`."""
    import xarray as xr

    if not hasattr(xr.Dataset, "failed"):
        xr.register_dataset_accessor("failed")(failed)


def _is_of_trials(dim: Any, values: xr.DataArray) -> bool:
    return dim in values.dims and dim != ITERATION and not str(dim).startswith(f"{values.name}_dim_")


def _absent(values: xr.DataArray) -> xr.DataArray:
    """Where a static setting lacks this result."""
    import xarray as xr

    found: xr.DataArray = xr.DataArray(False)
    for where in json.loads(values.attrs.get(ABSENT, "[]")):
        here: xr.DataArray = xr.DataArray(True)
        for name, label in where.items():
            labels = label if name == POINT else [label]
            here = here & (values[name].isin(labels) if name in values.coords else False)
        found = found | here
    return found


def _same(values: np.ndarray, wanted: np.ndarray) -> bool:
    if values.shape != wanted.shape:
        return False
    return bool(np.all((values == wanted) | ((values != values) & (wanted != wanted))))  # NaN
