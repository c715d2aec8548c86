"""Summaries of a sweep: statistics with intervals over its trials, and tables of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paramact_jax.statistics.checks import check_confidence
from paramact_jax.statistics.counts import wilson_interval
from paramact_jax.sweeps.checks import SHOWN_AS
from paramact_jax.sweeps.failures import absent

if TYPE_CHECKING:
    import xarray as xr

STATISTIC = "statistic"
"""Name of the dim of `summary`."""
_ROW = " row"  # no column is called that
STATISTICS = ("mean", "std", "median", "low", "high")


def summary(results: xr.Dataset, over: str | Sequence[str] = "seed", *, confidence: float = 0.95) -> xr.Dataset:
    """Returns mean, standard deviation, median and an interval of the mean over all trials at each setting.

    A trial fails with a value that is NaN or infinite, or with a check that does not hold, see `reasons`. Failed trials
    are left out and counted instead. The statistics then describe only the trials that did not fail.

    The interval from low to high is that of the mean. For booleans it is Wilson's interval of the share of True. For
    numbers it is Student's, mean +- t std / sqrt(n), which needs roughly normal values, or some 20 trials. It is right
    for few trials too, where bootstrap intervals are far too short, and takes no time. For skewed values or another
    statistic there is `paramact_jax.statistics.bootstrap_interval`. Both intervals assume independent trials, such as
    those of different seeds. One trial alone has no interval and no standard deviation; they are NaN.

    Args:
      results: as `sweep` returns them. All variables are real numbers or booleans.
      over: the dim, or several dims, over which trials are taken together. A variable loses those that it has.
      confidence: of the intervals, within (0, 1).

    Returns:
      A dataset in which each variable with one of the dims `over` has the dim `statistic` instead: "mean", "std" (of a
      sample, with n - 1), "median", "low" and "high". It also has the counts NAME_trials, of the n trials that did not
      fail, and NAME_failed. Variables without the dims `over` are kept as they are. The attributes have the confidence.

    Raises:
      ValueError: in one line, for a dim that is not there or that no variable has, for variables that are not real
        numbers, for names that are taken, and for a confidence that is not within (0, 1).

    Examples:
      >>> import xarray as xr
      >>> loss = [[1.0, 2.0, 3.0, np.nan], [4.0, 4.0, 5.0, 7.0]]
      >>> results = xr.Dataset({"loss": (("rate", "seed"), loss)}, {"rate": [0.1, 0.2], "seed": range(4)})
      >>> found = summary(results)
      >>> found["loss"].sel(rate=0.2).round(2).to_series().to_dict()
      {'mean': 5.0, 'std': 1.41, 'median': 4.5, 'low': 2.75, 'high': 7.25}
      >>> found["loss"].sel(statistic="mean").values.tolist(), found["loss_failed"].values.tolist()
      ([2.0, 5.0], [1, 0])

    A curve with its band is then
    `plt.fill_between(found["rate"], found["loss"].sel(statistic="low"), found["loss"].sel(statistic="high"))`, and
    `to_dataframe(found)` the table.
    """
    import xarray as xr

    _check(results, "summary")
    confidence = check_confidence(confidence)
    dims = list(dict.fromkeys([over] if isinstance(over, str) else over))
    known = {str(dim) for variable in results.data_vars.values() for dim in variable.dims if results.sizes[dim]}
    if not dims or not set(dims) <= known:
        raise ValueError(f"summary: expected over to be dims with trials ({', '.join(sorted(known))}), got {over!r}")
    if STATISTIC in known or STATISTIC in results.variables:
        raise ValueError(f"summary: expected results without {STATISTIC!r}, the dim of a summary; rename it")
    data: dict[str, Any] = {}
    raised = results[SHOWN_AS] != "" if SHOWN_AS in results and results[SHOWN_AS].dtype.kind in "UO" else None
    for name, variable in results.data_vars.items():
        if name == SHOWN_AS and raised is not None:
            continue
        along = [dim for dim in dims if dim in variable.dims]
        if not along:
            data[str(name)] = variable.variable
            continue
        if variable.dtype.kind not in "biuf":
            raise ValueError(f"summary: {name}: expected real numbers or booleans, got {variable.dtype}; drop it")
        if taken := [new for new in (f"{name}_trials", f"{name}_failed") if new in results.variables]:
            raise ValueError(f"summary: {taken[0]}: expected a name that the counts do not use; rename it")
        rest = [dim for dim in variable.dims if dim not in along]
        shape = [*(results.sizes[dim] for dim in rest), -1]
        told = variable.astype(float) if raised is None else variable.astype(float).where(~raised)
        trials = told.transpose(*rest, *along).values.reshape(shape)
        without = absent(variable).broadcast_like(variable).transpose(*rest, *along).values.reshape(shape)
        lacking = np.isnan(trials) & without
        statistics, counts = _statistics(trials, confidence, share=variable.dtype == bool)
        data[str(name)] = xr.Variable([*rest, STATISTIC], statistics, variable.attrs)
        data[f"{name}_trials"] = xr.Variable(rest, counts)
        data[f"{name}_failed"] = xr.Variable(rest, (~lacking).sum(axis=-1) - counts)
    coords = {name: x.variable for name, x in results.coords.items() if not set(dims) & set(x.dims)}
    return xr.Dataset(data, {**coords, STATISTIC: list(STATISTICS)}, {**results.attrs, "confidence": confidence})


def _statistics(x: np.ndarray, confidence: float, *, share: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the statistics of the finite trials on the last axis, also on the last axis, and the trials' number."""
    finite = np.isfinite(x)
    n = finite.sum(axis=-1)
    ordered = np.sort(np.where(finite, x, np.inf), axis=-1)

    def at(place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]

    with np.errstate(all="ignore"):  # 0 / 0 without trials
        mean = np.where(finite, x, 0).sum(axis=-1) / n
        mean = np.clip(mean, ordered[..., 0], at(n - 1))  # the mean of equal values is exactly that value
        squares = np.where(finite, x - mean[..., None], 0) ** 2
        std = np.where(n > 1, np.sqrt(squares.sum(axis=-1) / (n - 1)), np.nan)
        median = np.where(n > 0, at((n - 1) // 2) / 2 + at(n // 2) / 2, np.nan)
        low, high = _wilson(x, n, confidence) if share else _student(mean, std, n, confidence)
    return np.stack([mean, std, median, low, high], axis=-1), n


def _wilson(x: np.ndarray, n: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.stack([np.nansum(x, axis=-1), n], axis=-1).astype(int).reshape(-1, 2)
    different, places = np.unique(pairs, axis=0, return_inverse=True)
    bounds = [wilson_interval(hits, all_of, confidence) if all_of else (np.nan, np.nan) for hits, all_of in different]
    found = np.array(bounds).reshape(-1, 2)[places.reshape(n.shape)]
    return found[..., 0], found[..., 1]


def _student(mean: np.ndarray, std: np.ndarray, n: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import stdtrit

    half = stdtrit(n - 1.0, (1 + confidence) / 2) * std / np.sqrt(n)
    return mean - half, mean + half


def to_dataframe(
    results: xr.Dataset,
    *,
    units: Mapping[str, str] | bool = False,
    labels: Mapping[str, str] | bool = False,
) -> Any:
    """Returns a sweep, or its `summary`, as one tidy pandas DataFrame, with a row for each trial.

    Its columns are the axes, the seed, all other coordinates, and the variables. `groupby`, seaborn and `to_csv` work
    with such a table. If a variable was observed during training, there is a row for each trial and iteration. A
    variable without iterations is repeated in these rows, so count trials in a frame of its own:
    `to_dataframe(results[["loss"]])`.

    A variable with axes of its own, such as weights, has a column for each number: "w[0]", "w[1]", or "w[0, 1]". For
    rows instead, name the axis and its values: `results.rename(w_dim_0="layer").assign_coords(layer=range(3))`. Leave
    large variables out: `results.drop_vars("w")`. A summary has a row for each setting, and the columns "loss[mean]",
    "loss[std]" and so on.

    Args:
      results: as `sweep`, `long_sweep` and `summary` return them, or a selection from them.
      units: from names to units: a column's title is then "loss [nats]". True: the units in the attribute "units" of
        each variable. A dict takes precedence over the attributes.
      labels: from names to titles. True: the titles in the attribute "long_name". A dict takes precedence over the
        attributes.

    Raises:
      ValueError: in one line, for something that is not a dataset, for units or labels of names that are not there,
        and for two columns with one title.

    Examples:
      >>> import xarray as xr
      >>> loss = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
      >>> results = xr.Dataset({"loss": (("rate", "seed"), loss)}, {"rate": [0.1, 0.2], "seed": range(3)})
      >>> to_dataframe(results).groupby("rate")["loss"].mean().tolist()
      [2.0, 5.0]
      >>> to_dataframe(results.sel(seed=[0]), units={"loss": "nats"}, labels={"rate": "learning rate"})
         learning rate  seed  loss [nats]
      0            0.1     0          1.0
      1            0.2     0          4.0
      >>> to_dataframe(summary(results)[["loss"]]).columns.tolist()
      ['rate', 'loss[mean]', 'loss[std]', 'loss[median]', 'loss[low]', 'loss[high]']
    """
    import xarray as xr

    _check(results, "to_dataframe")
    dims = list(dict.fromkeys(str(dim) for variable in results.data_vars.values() for dim in variable.dims))
    rows = {dim: results.sizes[dim] for dim in dims if not _is_across(dim, results)}
    coordinates = [str(name) for name, x in results.coords.items() if name not in dims and set(x.dims) <= set(dims)]
    names = [*rows, *coordinates, *map(str, results.data_vars)]
    titles = _asked("labels", labels, "long_name", results, names)
    suffixes = _asked("units", units, "units", results, names)
    columns: dict[str, Any] = {}
    for name in names:
        variable = results[name].variable  # a dim without labels has the numbers from 0
        across = {str(dim): results[dim].values for dim in variable.dims if dim not in rows}
        sizes = rows | {dim: len(values) for dim, values in across.items()}
        values = variable.to_base_variable().set_dims(sizes).values.reshape(math.prod(rows.values()), -1)
        for place, label in enumerate(itertools.product(*across.values())):
            index = f"[{', '.join(map(str, label))}]" if label else ""
            title = titles.get(name, name) + index + (f" [{suffixes[name]}]" if name in suffixes else "")
            if title in columns:
                raise ValueError(f"to_dataframe: expected different titles, got {title!r} twice; give labels")
            columns[title] = values[:, place]
    frame = xr.Dataset({title: (_ROW, values) for title, values in columns.items()}).to_dataframe()
    return frame.reset_index(drop=True)


def _is_across(dim: str, results: xr.Dataset) -> bool:
    """Returns whether a dim becomes columns: the statistics, and axes of results without a name of the user's."""
    return dim == STATISTIC or (dim not in results.coords and re.search(r"_dim_\d+$", dim) is not None)


def _asked(
    what: str, given: Mapping[str, str] | bool, attribute: str, results: xr.Dataset, names: Sequence[str]
) -> dict[str, str]:
    if given is False:
        return {}
    found = {name: str(results[name].attrs[attribute]) for name in names if attribute in results[name].attrs}
    if given is True:
        return found
    for name in given:
        if name not in names:
            raise ValueError(f"{what}: expected names among {', '.join(names)}, got {name!r}")
    return found | dict(given)


def _check(results: Any, what: str) -> None:
    import xarray as xr

    if not isinstance(results, xr.Dataset):
        raise ValueError(
            f'{what}: expected a dataset, got {type(results).__name__}; for one variable pass results[["loss"]]'
        )
