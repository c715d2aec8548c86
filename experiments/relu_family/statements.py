"""What [B1] says about dying units and the family of ReLU, and what we add, each with a criterion, on our records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from experiments.relu_family import units
from experiments.relu_family.design import FAINT
from experiments.reporting.cells import number_cell, range_cell
from experiments.reporting.samples import Sample, paired, sample
from paramact_jax.statistics import holm

_REMEDIES = {"leaky_relu_tenth": "Leaky ReLU", "prelu": "PReLU", "elu": "ELU"}
_LEVEL = 0.05
_LABELS = {"relu": "ReLU", **_REMEDIES, "relu6": "ReLU6", "parametric_relu": "Parametric ReLU"}


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes:
      source: "B1", or "ours" for what [B1] does not say.
      text: what it says, with the criterion.
      holds: whether it is true of our records; None if the trainings it is about have no finite values.
      measured: the numbers behind `holds`; intervals are 95 % t intervals over the seeds.
    """

    source: str
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
    rates = [float(rate) for rate in np.sort(records["learning_rate"].values)]
    share = units.dead(records).sel(activation="relu").mean("layer")
    alive, died = (found.sel(activation="relu") for found in units.died(records))
    killed = {rate: sample((died / alive).sel(learning_rate=rate).values) for rate in rates}
    yield Statement(
        "B1",
        "units of ReLU die in training (some with a slope before training have none at a later look, at every rate)",
        _all(found.mean > 0 if found.seeds else None for found in killed.values()),
        _by_rate({rate: _share_and_seeds(found) for rate, found in killed.items()}),
    )
    at_end = {rate: sample(share.isel(look=-1).sel(learning_rate=rate).values) for rate in rates}
    yield Statement(
        "ours",
        "the larger the learning rate, the more units of ReLU are dead at the end",
        _all(
            second.mean > first.mean if first.seeds and second.seeds else None
            for first, second in itertools.pairwise(at_end.values())
        ),
        _by_rate({rate: _share_and_seeds(found) for rate, found in at_end.items()}),
    )
    ever, back = (found.sel(activation="relu").sum("seed") for found in units.came_back(records))
    came = {rate: (float(back.sel(learning_rate=rate)), float(ever.sel(learning_rate=rate))) for rate in rates}
    yield Statement(
        "B1",
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
            "B1",
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
        return Statement("ours", f"{text}no rate)", None, "no rate at which all of both are finite")
    more, less = (share.sel(activation=name, learning_rate=rate).values for name in pair)
    found = sample(more - less)
    shares = ", ".join(f"{label(name)} {x.mean():.1%}" for name, x in zip(pair, (more, less), strict=True))
    return Statement(
        "ours",
        f"{text}rate {rate:g}, the highest at which all of both stay finite; interval of the difference above 0)",
        _above(found),
        f"{shares}; difference {range_cell(found.interval(), '.1%')}",
    )


def _losses(records: xr.Dataset) -> Iterator[Statement]:
    if "relu" not in _names(records):
        return
    remedies = {name: called for name, called in _REMEDIES.items() if name in _names(records)}
    choosing = records.attrs["choosing"]
    held_out = records["held_out_loss"].astype(np.float64).isel(seed=slice(0, choosing))
    test = records["test_loss"].isel(test_step=-1, seed=slice(choosing, None)).astype(np.float64)
    rates = {name: best_rate(held_out.sel(activation=name)) for name in ("relu", *remedies)}
    at_best = {
        name: test.sel(activation=name, learning_rate=rate).values for name, rate in rates.items() if rate is not None
    }
    compared = {
        name: paired(at_best[name], at_best["relu"], test["seed"].values) if {name, "relu"} <= set(at_best) else None
        for name in remedies
    }
    corrected = iter(holm([found.p_value for found in compared.values() if found is not None]))
    for name, found in compared.items():
        text = (
            f"{remedies[name]} ends at a lower test loss than ReLU (each at the learning rate that other seeds and "
            f"images held out choose; difference with p < {_LEVEL:g} by Holm's correction)"
        )
        if found is None:
            yield Statement("ours", text, None, "fewer than 2 seeds are finite in both")
            continue
        p = next(corrected)
        ours, theirs = sample(at_best[name]), sample(at_best["relu"])
        yield Statement(
            "ours",
            text,
            found.difference < 0 and p < _LEVEL,
            f"{number_cell(ours.mean)} at {rates[name]:g}{_of_seeds(ours)}, ReLU {number_cell(theirs.mean)} at "
            f"{rates['relu']:g}{_of_seeds(theirs)}; difference {range_cell(found.interval, '.4f')}, p (Holm) {p:.2g}",
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
    """Whether all hold: false if one is, else None if one cannot be told."""
    found = list(verdicts)
    return False if False in found else None if None in found or not found else True


def _share_and_seeds(found: Sample) -> str:
    return f"{found.mean:.1%}{_of_seeds(found)}" if found.seeds else "no finite seed"


def _of_seeds(found: Sample) -> str:
    """A remark where seeds are left out."""
    seeds = found.seeds + found.non_finite
    return f" ({found.seeds} of {seeds} seeds finite)" if found.non_finite else ""


def _by_rate(cells: Mapping[float, str]) -> str:
    return "; ".join(f"rate {rate:g}: {cell}" for rate, cell in cells.items())
