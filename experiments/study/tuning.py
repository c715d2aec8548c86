"""Chooses learning rates on the first seeds, so that the results of the other seeds are not chosen by luck."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr


def chosen(values: xr.DataArray, choosing: int, dim: str = "learning_rate") -> xr.Dataset:
    """Chooses the rate with the highest mean over the first `choosing` seeds, for each place along all other dims.

    A value that is not finite is the worst. A rate at which one of the choosing seeds has such a value is chosen only
    where every rate has one. Of equally good rates the smallest is chosen.

    Args:
      values: with dims `dim`, "seed", and any others. Higher is better; for losses, pass their negative.
      choosing: the number of seeds that choose.
      dim: the dim to choose along.

    Returns:
      rate: the chosen rate. score: its mean; -inf where every rate has a value that is not finite. at_end: whether it
      is the smallest or the largest of several rates, so that a better one may lie beyond.

    Examples:
      >>> losses = xr.DataArray(
      ...     [[3.0, 3.0, 9.0], [np.nan, 1.0, 1.0], [2.0, 2.5, 0.0]],
      ...     {"learning_rate": [0.01, 0.1, 1.0]}, ("learning_rate", "seed"),
      ... )
      >>> {str(name): value.item() for name, value in chosen(-losses, 2).items()}
      {'rate': 1.0, 'score': -2.25, 'at_end': True}
    """
    by = values.isel(seed=slice(0, choosing)).astype(np.float64).sortby(dim)
    means = by.where(np.isfinite(by), -np.inf).mean("seed")
    best, rates = means.argmax(dim), by[dim]
    at_end = (len(rates) > 1) & ((best == 0) | (best == len(rates) - 1))
    return xr.Dataset({"rate": rates[best], "score": means.max(dim), "at_end": at_end}).drop_vars(dim, errors="ignore")


def places(values: xr.DataArray | xr.Dataset, dims: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields every combination of the labels of some dims, as `sel` takes them.

    Examples:
      >>> list(places(xr.DataArray([[0, 1]], {"depth": [8], "kind": ["a", "b"]}, ("depth", "kind")), ("depth", "kind")))
      [{'depth': 8, 'kind': 'a'}, {'depth': 8, 'kind': 'b'}]
    """
    for labels in itertools.product(*(values[dim].values.tolist() for dim in dims)):
        yield dict(zip(dims, labels, strict=True))


def reported(values: xr.DataArray, rate: Any, choosing: int, dim: str = "learning_rate") -> xr.DataArray:
    """Selects the values of the seeds that did not choose, each place at its chosen rate.

    Args:
      values: as in `chosen`.
      rate: the rate of each place, as `chosen` returns it, or one for all.
      choosing: the number of seeds that chose.
      dim: the dim that was chosen along.
    """
    return values.isel(seed=slice(choosing, None)).sel({dim: rate}).drop_vars(dim, errors="ignore")


def outcome(records: xr.Dataset) -> xr.DataArray:
    """Returns one value of each network: whether a trial converges, as bool, or else the test loss."""
    return records["converged"].astype(bool) if "converged" in records else records["test_loss"].astype(np.float64)


def best_rates(records: xr.Dataset) -> xr.Dataset:
    """Chooses the rate of each place, see `chosen`, by the trials that converge, or else by the loss held out."""
    values = records["converged"] if "converged" in records else -records["held_out_loss"]
    return chosen(values, records.attrs["choosing"])


def at_best_rates(records: xr.Dataset, dims: Sequence[str]) -> Iterator[tuple[dict[str, Any], xr.Dataset, np.ndarray]]:
    """Yields every place along some dims, what `chosen` says of it, and the `outcome` of the seeds that did not choose.

    Args:
      records: with an attribute `choosing`.
      dims: all but those of the rate and the seed.
    """
    best = best_rates(records)
    values = reported(outcome(records), best["rate"], records.attrs["choosing"])
    for place in places(values, dims):
        yield place, best.sel(place), values.sel(place).values
