"""What [B1] says about dying units and the family of ReLU, each statement with a criterion, checked on our records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.mnist.cells import number_cell, range_cell
from experiments.mnist.samples import Sample, sample
from experiments.relu_family import units
from experiments.relu_family.design import FAINT

_REMEDIES = {"leaky_relu": "Leaky ReLU", "prelu": "PReLU", "elu": "ELU"}
_LABELS = {"relu": "ReLU", **_REMEDIES, "relu6": "ReLU6", "parametric_relu": "Parametric ReLU"}


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes:
      text: what it says, with the criterion.
      holds: whether it is true of our records; None if no training has finite values.
      measured: the numbers behind `holds`; intervals are 95 % t intervals over the seeds.
    """

    text: str
    holds: bool | None
    measured: str


def check(records: xr.Dataset) -> list[Statement]:
    """All statements that the run can decide: those about activations that it has."""
    return [*_dying(records), *_remedies(records), *_relatives(records), *_losses(records)]


def label(activation: str) -> str:
    """As the documents call it."""
    return _LABELS.get(activation, activation)


def _dying(records: xr.Dataset) -> Iterator[Statement]:
    if "relu" not in _names(records):
        return
    share = units.dead(records).sel(activation="relu").mean("layer")
    rates = np.sort(records["learning_rate"].values)
    died = {float(r): sample((share.isel(look=-1) - share.isel(look=0)).sel(learning_rate=r).values) for r in rates}
    yield Statement(
        "units of ReLU die in training (more are dead after it than before, interval above 0, at every learning rate)",
        _all(_above(found) for found in died.values()),
        "; ".join(f"rate {rate:g}: {_percent(found)}" for rate, found in died.items()),
    )
    at_end = [sample(share.isel(look=-1).sel(learning_rate=r).values) for r in rates]
    if len(rates) > 1:
        yield Statement(
            "the larger the learning rate, the more units of ReLU are dead at the end",
            _all(b.mean > a.mean if a.seeds and b.seeds else None for a, b in itertools.pairwise(at_end)),
            "; ".join(f"rate {rate:g}: {found.mean:.1%}" for rate, found in zip(rates, at_end, strict=True)),
        )
    ever, back = (found.sel(activation="relu").sum("seed") for found in units.came_back(records))
    yield Statement(
        "nothing changes in a dead unit any more (no unit of ReLU that is dead at a look is alive at a later one)",
        None if not ever.sum() else not back.sum(),
        "; ".join(
            f"rate {rate:g}: {float(back.sel(learning_rate=rate)):,.0f} of {float(ever.sel(learning_rate=rate)):,.0f}"
            for rate in rates
        )
        + " came back",
    )


def _remedies(records: xr.Dataset) -> Iterator[Statement]:
    of_all, weak = units.dead(records), units.faint(records).isel(look=-1).mean("layer")
    highest = float(records["learning_rate"].max())
    for name, called in _REMEDIES.items():
        if name not in _names(records):
            continue
        most = of_all.sel(activation=name).max(skipna=True)
        yield Statement(
            f"no unit of {called} dies (none has slope 0 for all images, at any look at any learning rate)",
            None if np.isnan(most) else bool(most == 0),
            f"at most {float(most):.1%} of a layer",
        )
        if "relu" not in _names(records):
            continue
        fewer = weak.sel(activation="relu") - weak.sel(activation=name)
        found = sample(fewer.sel(learning_rate=highest).values)
        shares = [sample(weak.sel(activation=n, learning_rate=highest).values).mean for n in (name, "relu")]
        yield Statement(
            f"fewer units of {called} than of ReLU are as good as dead at the end (|slope| <= {FAINT:g} for all "
            f"images; rate {highest:g}, interval of the difference above 0)",
            _above(found),
            f"{shares[0]:.1%}, ReLU {shares[1]:.1%}; difference {range_cell(found.interval(), '.1%')}",
        )


def _relatives(records: xr.Dataset) -> Iterator[Statement]:
    share = units.dead(records).isel(look=-1).mean("layer")
    high = units.stuck_high(records).isel(look=-1).mean("layer")
    highest = float(records["learning_rate"].max())
    for name, sign, what in (
        ("relu6", 1, "ReLU6, flat at both ends, has more dead units than ReLU at the end"),
        ("parametric_relu", -1, "Parametric ReLU, a(y - b), has fewer dead units than ReLU at the end"),
    ):
        if not {name, "relu"} <= _names(records):
            continue
        at = share.sel(learning_rate=highest)
        found = sample(sign * (at.sel(activation=name) - at.sel(activation="relu")).values)
        ours, theirs = (sample(at.sel(activation=n).values).mean for n in (name, "relu"))
        stuck = sample(high.sel(activation=name, learning_rate=highest).values).mean
        yield Statement(
            f"{what} (rate {highest:g}, interval of the difference above 0)",
            _above(found),
            f"{ours:.1%}, ReLU {theirs:.1%}; difference {range_cell(found.interval(), '.1%')}"
            + (f"; {stuck:.1%} dead with a value above 0" if name == "relu6" else ""),
        )


def _losses(records: xr.Dataset) -> Iterator[Statement]:
    if "relu" not in _names(records):
        return
    loss = records["test_loss"].isel(test_step=-1).astype(np.float64)
    base_rate = best_rate(loss.sel(activation="relu"))
    for name, called in _REMEDIES.items():
        if name not in _names(records):
            continue
        rate = best_rate(loss.sel(activation=name))
        if rate is None or base_rate is None:
            yield Statement(f"{called} ends at a lower test loss than ReLU", None, "not finite")
            continue
        ours, theirs = (
            loss.sel(activation=name, learning_rate=rate),
            loss.sel(activation="relu", learning_rate=base_rate),
        )
        found = sample(theirs.values - ours.values)
        yield Statement(
            f"{called} ends at a lower test loss than ReLU (each at its best learning rate, interval of the difference "
            "above 0)",
            _above(found),
            f"{number_cell(sample(ours.values).mean)} at {rate:g}, ReLU {number_cell(sample(theirs.values).mean)} at "
            f"{base_rate:g}; difference {range_cell(found.interval(), '.4f')}",
        )


def best_rate(loss: xr.DataArray) -> float | None:
    """The learning rate with the lowest mean loss of those at which no seed's loss is not finite; None without one.

    Args:
      loss: dims learning_rate, seed.
    """
    means = loss.where(np.isfinite(loss)).mean("seed", skipna=False)
    return None if means.isnull().all() else float(means["learning_rate"][int(np.nanargmin(means.values))])


def _names(records: xr.Dataset) -> set[str]:
    return set(records["activation"].values.tolist())


def _above(found: Sample) -> bool | None:
    interval = found.interval()
    return None if interval is None else interval[0] > 0


def _all(verdicts: Iterator[bool | None]) -> bool | None:
    found = list(verdicts)
    return None if None in found else all(found)


def _percent(found: Sample) -> str:
    return f"{found.mean:+.1%} ({range_cell(found.interval(), '.1%')})"
