"""Shares of dead units from the records of a run; NaN where a training's values are not finite.

At a look they are where the slopes of all its units are; at the last one the test loss has to be finite too.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.relu_family.design import FAINT

_UNITS = ("layer", "node")


def dead(records: xr.Dataset) -> xr.DataArray:
    """Share of the units of a layer whose slope is 0 for all probe images.

    Returns:
      With the dims of `steepest` but node.
    """
    return _share(records["steepest"] == 0, records)


def faint(records: xr.Dataset) -> xr.DataArray:
    """Share of the units whose |slope| is at most `FAINT` for all probe images, the dead ones included; as `dead`."""
    return _share(records["steepest"] <= FAINT, records)


def stuck_high(records: xr.Dataset) -> xr.DataArray:
    """Share of the units that are dead and have a value above 0, as those of ReLU6 that are stuck at 6; as `dead`."""
    return _share((records["steepest"] == 0) & (records["high"] != 0), records)


def died(records: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Numbers of units that were alive at the first look, and of those of them that were dead at a later one.

    Returns:
      Of the units of all layers together, with the dims of a training; NaN where its values are not all finite.
    """
    is_dead = records["steepest"] == 0
    alive = ~is_dead.isel(look=0)
    finite = _finite(records).all("look")
    return alive.sum(_UNITS).where(finite), (alive & is_dead.any("look")).sum(_UNITS).where(finite)


def came_back(records: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Numbers of units that were dead at a look, and of those of them that were not at a later one.

    Returns:
      Of the units of all layers together, with the dims of a training; NaN where its values are not all finite.
    """
    is_dead = (records["steepest"] == 0).transpose(..., "look", *_UNITS)
    was_dead = is_dead.copy(data=np.maximum.accumulate(is_dead.values, axis=is_dead.get_axis_num("look")))
    revived = (was_dead & ~is_dead).any("look").sum(_UNITS)
    finite = _finite(records).all("look")
    return was_dead.isel(look=-1).sum(_UNITS).where(finite), revived.where(finite)


def _share(which: xr.DataArray, records: xr.Dataset) -> xr.DataArray:
    return which.mean("node").where(_finite(records))


def _finite(records: xr.Dataset) -> xr.DataArray:
    """Whether a training's values are finite: its dims and look."""
    ended = np.isfinite(records["test_loss"].isel(test_step=-1, drop=True))
    last = records["look"] == records["look"][-1]
    return records["steepest"].notnull().all(_UNITS) & (ended | ~last)
