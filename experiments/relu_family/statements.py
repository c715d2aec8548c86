"""What [B1] says about dying units and the family of ReLU, each statement with a criterion, checked on our records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from experiments.relu_family import units
from experiments.relu_family.design import FAINT
from experiments.reporting.cells import number_cell, range_cell
from experiments.reporting.samples import Sample, sample

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
        _by_rate({rate: f"{found.mean:+.1%}{_in_brackets(found)}" for rate, found in died.items() if found.seeds}),
    )
    at_end = {float(r): sample(share.isel(look=-1).sel(learning_rate=r).values) for r in rates}
    shares = {rate: found.mean for rate, found in at_end.items() if found.seeds}
    yield Statement(
        "the larger the learning rate, the more units of ReLU are dead at the end",
        _all(after > before for before, after in itertools.pairwise(shares.values())),
        _by_rate({rate: f"{mean:.1%}" for rate, mean in shares.items()}),
    )
    ever, back = (found.sel(activation="relu").sum("seed") for found in units.came_back(records))
    came = {float(r): (float(back.sel(learning_rate=r)), float(ever.sel(learning_rate=r))) for r in rates}
    yield Statement(
        "nothing changes in a dead unit any more (no unit of ReLU that is dead at a look is alive at a later one)",
        None if not ever.sum() else not back.sum(),
        _by_rate({rate: f"{b:,.0f} of {e:,.0f} came back" for rate, (b, e) in came.items()}),
    )


def _remedies(records: xr.Dataset) -> Iterator[Statement]:
    of_all, weak = units.dead(records), units.faint(records).isel(look=-1).mean("layer")
    for name, called in _REMEDIES.items():
        if name not in _names(records):
            continue
        most = of_all.sel(activation=name).max(skipna=True)
        yield Statement(
            f"no unit of {called} dies (none has slope 0 for all images, at any look at any learning rate)",
            None if np.isnan(most) else bool(most == 0),
            f"at most {float(most):.1%} of a layer",
        )
        if "relu" in _names(records):
            yield _compared(
                records,
                weak,
                ("relu", name),
                f"fewer units of {called} than of ReLU are as good as dead at the end (|slope| <= {FAINT:g} for all "
                f"images; ",
            )


def _relatives(records: xr.Dataset) -> Iterator[Statement]:
    share = units.dead(records).isel(look=-1).mean("layer")
    for (more, less), what in {
        ("relu6", "relu"): "ReLU6, flat at both ends, has more dead units than ReLU at the end (",
        ("relu", "parametric_relu"): "Parametric ReLU, a(y - b), has fewer dead units than ReLU at the end (",
    }.items():
        if {more, less} <= _names(records):
            yield _compared(records, share, (more, less), what)


def _compared(records: xr.Dataset, share: xr.DataArray, pair: tuple[str, str], text: str) -> Statement:
    """Whether the first of two activations has the larger share, at the highest rate at which both can be trained."""
    rate = highest_rate(records, pair)
    if rate is None:
        return Statement(f"{text}no rate)", None, "no rate at which all of both are finite")
    more, less = (share.sel(activation=name, learning_rate=rate).values for name in pair)
    found = sample(more - less)
    shares = ", ".join(f"{label(name)} {x.mean():.1%}" for name, x in zip(pair, (more, less), strict=True))
    return Statement(
        f"{text}rate {rate:g}, the highest at which all of both stay finite; interval of the difference above 0)",
        _above(found),
        f"{shares}; difference {range_cell(found.interval(), '.1%')}",
    )


def _losses(records: xr.Dataset) -> Iterator[Statement]:
    if "relu" not in _names(records):
        return
    loss = records["test_loss"].isel(test_step=-1).astype(np.float64)
    base_rate = best_rate(loss.sel(activation="relu"))
    for name, called in _REMEDIES.items():
        if name not in _names(records):
            continue
        text = (
            f"{called} ends at a lower test loss than ReLU (each at its best learning rate, interval of the difference "
            f"above 0)"
        )
        rate = best_rate(loss.sel(activation=name))
        if rate is None or base_rate is None:
            yield Statement(text, None, "no rate at which all seeds of both are finite")
            continue
        ours = loss.sel(activation=name, learning_rate=rate).values
        theirs = loss.sel(activation="relu", learning_rate=base_rate).values
        found = sample(theirs - ours)
        yield Statement(
            text,
            _above(found),
            f"{number_cell(ours.mean())} at {rate:g}, ReLU {number_cell(theirs.mean())} at {base_rate:g}; difference "
            f"{range_cell(found.interval(), '.4f')}",
        )


def highest_rate(records: xr.Dataset, activations: Sequence[str]) -> float | None:
    """The highest learning rate at which no training of these activations ends with values that are not finite."""
    of_these = records.sel(activation=list(activations))
    finite = of_these["steepest"].isel(look=-1).notnull().all(("activation", "seed", "layer", "node"))
    scored = (abs(of_these["test_loss"].isel(test_step=-1)) < np.inf).all(("activation", "seed"))
    rates = records["learning_rate"].values[(finite & scored).values]
    return float(rates.max()) if len(rates) else None


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


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all hold that can be told; None if none can."""
    found = [verdict for verdict in verdicts if verdict is not None]
    return all(found) if found else None


def _in_brackets(found: Sample) -> str:
    interval = found.interval()
    return "" if interval is None else f" ({range_cell(interval, '.1%')})"


def _by_rate(cells: Mapping[float, str]) -> str:
    return "; ".join(f"rate {rate:g}: {cell}" for rate, cell in cells.items()) or "not finite"
