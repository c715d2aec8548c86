"""What [A] says of its results, and what its Table 1 shows, each with a criterion, checked on our records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from experiments.cnn.run_facts import label
from experiments.problems.cnn.protocol import COMBINATIONS, DENSE_ONLY
from experiments.problems.cnn.records import name_of
from experiments.study.samples import paired
from paramact_jax.papers import kong2020
from paramact_jax.statistics import PairedComparison

_ALL = tuple(map(name_of, COMBINATIONS))
_BEST = "parametric_relu/parametric_sigmoid"
_LOWEST = "sigmoid/parametric_sigmoid"
_CONV = tuple(dict.fromkeys(conv for conv, _ in COMBINATIONS))


@dataclasses.dataclass(frozen=True)
class Order:
    """Each of `lower` lies below each of `higher`."""

    lower: tuple[str, ...]
    higher: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that can be put to any table of the combinations.

    Attributes:
      source: "text" or "Table 1" of the paper.
      text: what it says.
      criterion: what that is taken to mean.
      quantity: one of `quantities`.
      orders: it is true if all of them hold.
    """

    source: str
    text: str
    criterion: str
    quantity: str
    orders: tuple[Order, ...]

    def names(self) -> list[str]:
        """All combinations it is about."""
        return list(dict.fromkeys(name for order in self.orders for name in (*order.lower, *order.higher)))


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement, judged by the means over the seeds.

    Attributes:
      source: "text" or "Table 1" of the paper.
      text: what it says.
      criterion: what that is taken to mean.
      published: whether it is true of the published numbers; None if they do not say.
      holds: whether it is true of our means over the seeds; None if no seed has finite values throughout, or where it
        depends on when a loss would have been smallest that is so after the last iteration, which may not be the end.
      seeds_true: number of seeds of which alone it is true.
      seeds: number of all seeds.
      compared: the two that come closest to deciding otherwise: which - which.
      difference: of these, seed by seed; None for fewer than 2 seeds with finite values.
    """

    source: str
    text: str
    criterion: str
    published: bool | None
    holds: bool | None
    seeds_true: int
    seeds: int
    compared: str
    difference: PairedComparison | None


def check(records: xr.Dataset) -> list[Statement]:
    """All statements that the run can decide; see `left_out`."""
    found = quantities(records)
    caps = {"best_iteration": float(records["test_step"][-1])}
    asked = [
        _judge(claim, found[claim.quantity], caps.get(claim.quantity, np.inf))
        for claim in claims()
        if _askable(claim, records)
    ]
    return [*_dense_only(records), *asked]


def left_out(records: xr.Dataset) -> int:
    """Number of statements about combinations, or networks without convolutions, that the run has not got."""
    of_dense = 0 if _has_dense_only(records) else 1
    return of_dense + sum(not _askable(claim, records) for claim in claims())


def quantities(records: xr.Dataset) -> dict[str, xr.DataArray]:
    """What the statements are about, each (combination, seed): smallest loss, its iteration, mean loss over time."""
    loss, steps = records["test_loss"].astype(np.float64), records["test_step"].values
    return {
        "best_loss": records["best_loss"].astype(np.float64),
        "best_iteration": records["best_iteration"],
        "mean_loss": loss.integrate("test_step") / float(steps[-1] - steps[0]),
    }


def claims() -> Iterator[Claim]:
    """The statements of [A, section 4] about its combinations, and two that Table 1 shows."""
    others = tuple(name for name in _ALL if name != _BEST)
    best = kong2020.CLAIM_BEST
    smallest = "smallest test loss of the twelve, within the iterations of the run"
    yield Claim("text", best, smallest, "best_loss", (Order((_BEST,), others),))
    yield Claim("text", best, "smallest mean test loss over all iterations", "mean_loss", (Order((_BEST,), others),))
    others = tuple(name for name in _ALL if name != _LOWEST)
    lowest = kong2020.CLAIM_LOWEST
    yield Claim("text", lowest, smallest, "best_loss", (Order((_LOWEST,), others),))
    yield Claim("text", lowest, "at the latest iteration of the twelve", "best_iteration", (Order(others, (_LOWEST,)),))
    quick, slow = (
        tuple(name_of(pair) for pair in COMBINATIONS if pair[0] in conv)
        for conv in (("relu", "parametric_relu"), ("sigmoid", "parametric_sigmoid"))
    )
    yield Claim(
        "Table 1",
        kong2020.READING_FEWER_ITERATIONS,
        "iteration of the smallest test loss below, in every pair of rows",
        "best_iteration",
        (Order(quick, slow),),
    )
    yield Claim(
        "Table 1",
        kong2020.READING_DENSE_AGILE_SIGMOID,
        "smallest test loss within the iterations of the run below, for each of the four",
        "best_loss",
        tuple(Order((f"{conv}/parametric_sigmoid",), (f"{conv}/relu", f"{conv}/parametric_relu")) for conv in _CONV),
    )


def _askable(claim: Claim, records: xr.Dataset) -> bool:
    return set(claim.names()) <= set(records["combination"].values.tolist())


def _published(claim: Claim) -> bool | None:
    attribute = {"best_loss": "loss", "best_iteration": "iterations"}.get(claim.quantity)
    if attribute is None:
        return None
    values = {name_of((row.conv, row.dense)): getattr(row, attribute) for row in kong2020.TABLE_1}
    return _holds(claim, values.__getitem__, values.__getitem__)


def _holds(claim: Claim, least: Callable[[str], float], most: Callable[[str], float]) -> bool | None:
    """Whether all orders hold of values that lie between two; None if that depends on where."""
    if all(max(map(most, order.lower)) < min(map(least, order.higher)) for order in claim.orders):
        return True
    if any(max(map(least, order.lower)) >= min(map(most, order.higher)) for order in claim.orders):
        return False
    return None


def _between(claim: Claim, least: np.ndarray, most: np.ndarray) -> bool | None:
    """As `_holds`, of bounds in the order of the claim's names."""
    return _holds(claim, *(dict(zip(claim.names(), bound, strict=True)).__getitem__ for bound in (least, most)))


def _judge(claim: Claim, quantity: xr.DataArray, cap: float) -> Statement:
    """By values of which those at the cap may be larger."""
    names = claim.names()
    values = quantity.sel(combination=names).transpose("combination", "seed").values
    finite = np.isfinite(values).all(axis=0)
    least = values[:, finite]
    most = np.where(least < cap, least, np.inf)
    kept = dict(zip(names, least, strict=True))
    means = dict(zip(names, least.mean(axis=1) if finite.any() else [np.nan] * len(names), strict=True))
    pairs = [
        (max(order.lower, key=means.__getitem__), min(order.higher, key=means.__getitem__)) for order in claim.orders
    ]
    first, second = max(pairs, key=lambda pair: means[pair[0]] - means[pair[1]])
    return Statement(
        source=claim.source,
        text=claim.text,
        criterion=claim.criterion,
        published=_published(claim),
        holds=_between(claim, least.mean(axis=1), most.mean(axis=1)) if finite.any() else None,
        seeds_true=sum(_between(claim, *bounds) is True for bounds in zip(least.T, most.T, strict=True)),
        seeds=len(finite),
        compared=f"{label(first)} - {label(second)}",
        difference=paired(kept[first], kept[second], np.arange(least.shape[1])),
    )


def _has_dense_only(records: xr.Dataset) -> bool:
    return "dense_only" in records.coords and set(DENSE_ONLY) <= set(records["dense_only"].values.tolist())


def _dense_only(records: xr.Dataset) -> Iterator[Statement]:
    """Fig. 11: at every iteration scored after the start."""
    if not _has_dense_only(records):
        return
    losses = records["dense_only_test_loss"].isel(test_step=slice(1, None)).astype(np.float64)
    plain, agile = (losses.sel(dense_only=name).transpose("seed", "test_step").values for name in DENSE_ONLY)
    finite = (np.isfinite(plain) & np.isfinite(agile)).all(axis=1)
    plain, agile = plain[finite], agile[finite]
    ahead = agile.mean(axis=0) < plain.mean(axis=0) if finite.any() else np.array([], bool)
    yield Statement(
        source="text",
        text=kong2020.CLAIM_DENSE_ONLY,
        criterion=f"smaller test loss at every iteration scored after the start: {ahead.sum()} of {len(ahead)}",
        published=None,
        holds=bool(ahead.all()) if finite.any() else None,
        seeds_true=int((agile < plain).all(axis=1).sum()),
        seeds=len(finite),
        compared=f"mean over these, {' - '.join(kong2020.LABELS[name] for name in reversed(DENSE_ONLY))}",
        difference=paired(agile.mean(axis=1), plain.mean(axis=1), np.arange(len(plain))),
    )
