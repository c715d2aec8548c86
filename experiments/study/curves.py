"""Curves of a mean over the seeds with its interval, for the figures of `paramact_jax.figures`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from experiments.study.samples import mean_and_interval
from paramact_jax.figures import BandCurve
from paramact_jax.statistics import wilson_interval


def band(label: str, values: xr.DataArray, dim: str, printed: float | None = None) -> BandCurve:
    """Returns a mean over the seeds with its 95 % interval: of bools Wilson's, of numbers the t interval.

    Args:
      label: of the curve.
      values: with the dims "seed" and `dim`.
      dim: along which the curve runs.
      printed: a published value, drawn with the curve.
    """
    by_seed = values.transpose("seed", dim).values
    if by_seed.dtype == bool:
        low, high = np.array([wilson_interval(int(count), len(by_seed)) for count in by_seed.sum(axis=0)]).T
        return BandCurve(label, by_seed.mean(axis=0), low, high, printed)
    return BandCurve(label, *mean_and_interval(by_seed.astype(np.float64)), printed)


def panels(
    values: xr.DataArray,
    dim: str,
    panel: str,
    curve: str,
    *,
    panel_label: Callable[[Any], str] = str,
    curve_label: Callable[[Any], str] = str,
) -> dict[str, list[BandCurve]]:
    """Returns a panel for each label of one dim, with a curve for each label of another.

    Args:
      values: with the dims "seed", `dim`, `panel` and `curve`.
      dim: along which the curves run.
      panel: the dim of the panels.
      curve: the dim of the curves.
      panel_label: the name of a panel, from its label in the records.
      curve_label: the name of a curve, likewise.
    """
    return {
        panel_label(place): [
            band(curve_label(which), values.sel({panel: place, curve: which}), dim)
            for which in values[curve].values.tolist()
        ]
        for place in values[panel].values.tolist()
    }
