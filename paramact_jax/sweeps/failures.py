"""Trials that failed: which ones, why, and what to keep of a sweep when they run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

    A trial fails if one of its numbers is NaN or infinite. A result that a static setting lacks does not count. For
    values that a long sweep observed during training, the reason names the first such iteration. A trial also fails if
    a `jax.experimental.checkify.check` in it fails; the variable "error" of the dataset then has its message.

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

    found = _of_trials(results, of).astype(str).astype(object)
    for name, wrong in _wrong(results, of):  # a later reason replaces an earlier one
        if name == SHOWN_AS:
            found = xr.where(wrong, results[name], found)
            continue
        own = [dim for dim in wrong.dims if dim not in found.dims]
        told: Any = xr.where((results[name].isnull() & wrong).any(own), f"{name} is nan", f"{name} is infinite")
        if ITERATION in own:
            first = wrong.any([dim for dim in own if dim != ITERATION]).argmax(ITERATION)
            iterations = results[ITERATION].values[first.values].astype(str)
            told = told + first.copy(data=np.char.add(" from iteration ", iterations))
        found = xr.where(wrong.any(own), told, found)
    return found.transpose(*_of_trials(results, of).dims).astype(str).rename("reason")


def failed(results: xr.Dataset, of: Iterable[str] | None = None) -> xr.DataArray:
    """Returns which trials failed, see `reasons`; `results.failed` is the same for all variables.

    Trials that have not run yet are NaN in the results of `read` or of one task, and count as failed. Datasets have
    the attribute `failed` once a sweep has returned one.
    """
    blank = _of_trials(results, of)
    found: xr.DataArray = blank != ""
    for _, wrong in _wrong(results, of):
        found = found | wrong.any([dim for dim in wrong.dims if dim not in blank.dims])
    return found.transpose(*blank.dims).rename("failed")


def _names(results: xr.Dataset, of: Iterable[str] | None) -> list[Any]:
    import xarray as xr

    if not isinstance(results, xr.Dataset):
        raise ValueError(f"results: expected the dataset that a sweep returned, got {type(results).__name__}")
    names = list(results.data_vars) if of is None else [of] if isinstance(of, str) else list(of)
    if unknown := [name for name in names if name not in results]:
        raise ValueError(f"of: expected names among {', '.join(map(str, results.data_vars))}, got {unknown[0]!r}")
    return sorted(names, key=lambda name: (name == SHOWN_AS, ITERATION in results[name].dims))


def _of_trials(results: xr.Dataset, of: Iterable[str] | None) -> xr.DataArray:
    """Returns an empty string for each trial."""
    import xarray as xr

    names = _names(results, of)
    dims = [dim for dim in results.dims if any(_is_of_trials(dim, results[name]) for name in names)]
    coords = {dim: results[dim] for dim in dims}
    return xr.DataArray(np.full([results.sizes[dim] for dim in dims], ""), coords, dims)


def _wrong(results: xr.Dataset, of: Iterable[str] | None) -> Iterator[tuple[Any, xr.DataArray]]:
    """Yields each variable with numbers that are not finite or with messages, and where; the best reason comes last."""
    import xarray as xr

    for name in _names(results, of):
        values = results[name]
        if name == SHOWN_AS and values.dtype.kind in "UO":
            wrong = values != ""
        elif values.dtype.kind in "fc":
            wrong = xr.apply_ufunc(lambda x: ~np.isfinite(x), values) & ~absent(values)
        else:
            continue
        if wrong.any():
            yield name, wrong


def kept_of(
    keep: Any, grid: Grid, results: Mapping[str, jax.ShapeDtypeStruct], marks: Sequence[int] = ()
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the results that are kept from an earlier sweep of the same trials.

    Args:
      keep: the dataset that a sweep returned.
      grid: the trials.
      results: shapes of one trial's results, by name.
      marks: the iterations after which values are observed.

    Returns:
      The results of all trials by name, and which trials failed, both on the flat axis.

    Raises:
      ValueError: in one line, if the earlier sweep has other trials or results.
    """
    import xarray as xr

    if not isinstance(keep, xr.Dataset):
        raise ValueError(f"keep: expected the dataset that a sweep returned, got {type(keep).__name__}")
    labels: dict[str, np.ndarray] = {ITERATION: np.array(marks)} if marks else {}
    labels |= {**grid.labels, **{name: x.labels for name, x in grid.points.items()}, SEED: grid.seeds.astype(np.int64)}
    for name, wanted in labels.items():
        if name not in keep.coords or not _same(keep[name].values, wanted):
            got = f"{keep[name].size} other values" if name in keep.coords else "none"
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
        with np.errstate(all="ignore"):
            found[name] = values.astype(like.dtype)
            same = (found[name].astype(values.dtype) == values) | (
                (values != values) & (found[name] != found[name])
            )  # NaN
        if found[name].shape[1:] != like.shape or not same[~again].all():
            raise ValueError(
                f"keep: expected {name} of {like.dtype}{list(like.shape)} for each trial, got {values.dtype}"
                f"{list(values.shape[1:])}; pass what the earlier sweep returned"
            )
    return found, again


def register() -> None:
    """Gives every dataset the attribute `failed`."""
    import xarray as xr

    if not hasattr(xr.Dataset, "failed"):
        xr.register_dataset_accessor("failed")(failed)


def _is_of_trials(dim: Any, values: xr.DataArray) -> bool:
    return dim in values.dims and dim != ITERATION and not str(dim).startswith(f"{values.name}_dim_")


def absent(values: xr.DataArray) -> xr.DataArray:
    """Returns where a static setting lacks this result."""
    import xarray as xr

    found: xr.DataArray = xr.DataArray(False)
    for where in json.loads(values.attrs.get(ABSENT, "[]")):
        here: xr.DataArray = xr.DataArray(True)
        for name, label in where.items():
            labels = label if name == POINT else [label]
            here = here & (values[name].isin(labels) if name in (*values.coords, *values.dims) else False)
        found = found | here
    return found


def _same(values: np.ndarray, wanted: np.ndarray) -> bool:
    if values.shape != wanted.shape:
        return False
    return bool(np.all((values == wanted) | ((values != values) & (wanted != wanted))))  # NaN
