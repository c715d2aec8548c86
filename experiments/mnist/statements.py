"""What [P, section 4.2] says about Figs. 12 to 14, each statement with a criterion, checked on our records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from experiments.study.cells import number_cell
from experiments.study.samples import Sample, sample
from paramact_jax.papers import ko2021

CLOSEUP = 650
"""Last step of the close-up in [P, Fig. 12]."""
START = 200
"""Fig. 13 is said to show small gradients in steps 0 to 200 ..."""
PLOTTED = 4_000
"""... and ends here."""

_ALIKE = 0.1
"""What the paper calls "slightly", "almost the same" or "similar" is taken as a difference of at most this share."""
_NEAR_ZERO = 0.1
"""A gradient near 0 has at most this share of the range that the paper prints for Parametric ReLU."""
_FEWEST_SCORES = 3
"""With fewer scores in the close-up, what the curve does between them decides its mean."""
_FACTOR = 2.0
"""A length that the paper prints is met within this factor."""

_LABELS = {row.activation: row.label for row in ko2021.TABLE_7}
_FAST = ("parametric_tanh", "hexpo", "parametric_hexpo", "ppns")
_SLOW = ("relu", "parametric_relu", "tanh", "reltanh")
_PARAMETRIC_OF = {"parametric_relu": "relu", "parametric_tanh": "tanh", "parametric_hexpo": "hexpo"}


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of the paper, judged by the means over the seeds, as its figures would be.

    Attributes:
      figure: where it is made.
      text: what it says, with the criterion.
      holds: whether it is true of the means over the seeds; None if no seed has finite values throughout.
      seeds_true: number of seeds of which alone it is true.
      seeds: number of all seeds.
      difference: of the two that come closest to deciding otherwise, or from the number in the text, seed by seed.
      compared: what the difference is of.
      measured: the means behind it.
    """

    figure: str
    text: str
    holds: bool | None
    seeds_true: int
    seeds: int
    difference: Sample
    compared: str
    measured: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that can be put to any run.

    Attributes:
      figure: where it is made.
      text: what it says, with the criterion.
      quantity: which of the quantities of a run it is about.
      activations: whose.
      holds: of one value per activation, in that order, whether it is true.
      pair: of the same, which two decide: (i, j) for value i - value j, or (i, number) for value i - number.
    """

    figure: str
    text: str
    quantity: str
    activations: tuple[str, ...]
    holds: Callable[[np.ndarray], bool]
    pair: Callable[[np.ndarray], tuple[int, int | float]]


def check(records: xr.Dataset) -> list[Statement]:
    """All statements that the run can decide, in the order of the figures; see `left_out`."""
    found = quantities(records)
    return [_judge(claim, found[claim.quantity]) for claim in claims() if _askable(claim, records, found)]


def left_out(records: xr.Dataset) -> int:
    """Number of statements about activations that the run has not, or steps at which it has not looked."""
    found = quantities(records)
    return sum(not _askable(claim, records, found) for claim in claims())


def quantities(records: xr.Dataset) -> dict[str, xr.DataArray]:
    """What the statements are about, each (activation, seed); without those for which too little was recorded.

    - speed, early speed: mean test loss over all steps, over those of the close-up, linear between the steps scored:
      the area below the curve of Fig. 12. The lower, the faster. The fewer the scores, the more the first, steep part
      is overestimated, so that only runs scored equally often can be compared.
    - final loss: at the last step scored.
    - start range, plotted range: largest - smallest entry of dL/dy^(1), mean over the steps up to 200, up to 4,000.
    - widest range: the same, the largest over the steps up to 4,000.
    - steep slopes: number of slopes >= 1 before training, of all layers.
    """
    loss = records["test_loss"].astype(np.float64)
    # infinities of both signs would make a NaN with a warning
    with np.errstate(invalid="ignore"):
        spread = records["gradient_largest"].astype(np.float64) - records["gradient_smallest"].astype(np.float64)
    start, plotted = (
        spread.sel(step=slice(0, START)),
        spread.sel(step=slice(0, PLOTTED)),
    )
    result = {
        "final loss": loss.isel(test_step=-1),
        "start range": start.mean("step", skipna=False),
        "plotted range": plotted.mean("step", skipna=False),
        "widest range": plotted.max("step", skipna=False),
        "steep slopes": records["steep_slopes"].sum("layer").astype(np.float64),
    }
    if loss.sizes["test_step"] > 1:
        result["speed"] = mean_loss(loss, int(loss["test_step"][-1]))
    if (early := early_loss(loss)) is not None:
        result["early speed"] = early
    return {name: values.transpose("activation", "seed") for name, values in result.items()}


def early_loss(loss: xr.DataArray) -> xr.DataArray | None:
    """Mean loss over the steps of the close-up; None if it was scored too seldom, or not so far, to say.

    Args:
      loss: by test_step.
    """
    steps = loss["test_step"].values
    last = min(CLOSEUP, int(steps[-1]))
    return mean_loss(loss, last) if (steps <= last).sum() >= _FEWEST_SCORES else None


def mean_loss(loss: xr.DataArray, last: int) -> xr.DataArray:
    """Mean over the steps from 0 to `last`, linear between the steps scored: the trapezoidal rule.

    Args:
      loss: by test_step, from 0 to `last` at least.
      last: step, scored or not.
    """
    steps = loss["test_step"].values
    inside = loss.sel(test_step=steps[steps <= last])
    if last not in steps:
        after = int(np.searchsorted(steps, last))
        share = (last - steps[after - 1]) / (steps[after] - steps[after - 1])
        there = (1 - share) * loss.isel(test_step=after - 1) + share * loss.isel(test_step=after)
        inside = xr.concat([inside, there.assign_coords(test_step=last)], "test_step")
    return inside.integrate("test_step") / last


def claims() -> Iterator[Claim]:
    """All statements of [P, section 4.2] about Figs. 12, 13 and 14."""
    yield from _curves()
    yield from _gradients()
    yield from _slopes()


def _curves() -> Iterator[Claim]:
    slower = "mean test loss over all steps"
    early = f"mean test loss over steps 0 to {CLOSEUP}"
    others = tuple(name for name in _LABELS if name != "relu")
    yield _order("12", f"ReLU's loss falls slowest (highest {slower})", "speed", others, ("relu",))
    yield _order("12", f"ReLTanh is ahead of Tanh (lower {slower})", "speed", ("reltanh",), ("tanh",))
    yield Claim(
        "12",
        f"... but slightly ({slower} lower by at most {_ALIKE:.0%})",
        "speed",
        ("reltanh", "tanh"),
        lambda x: bool(x[0] >= (1 - _ALIKE) * x[1]),
        lambda x: (1, 0),
    )
    behind = ("relu", "tanh", "reltanh")
    yield _order(
        "12", f"Parametric ReLU is ahead of {_listed(behind)} (lower {slower})", "speed", ("parametric_relu",), behind
    )
    yield _order(
        "12, close-up",
        f"{_listed(_FAST)} fall faster than each of the rest ({early} lower)",
        "early speed",
        _FAST,
        _SLOW,
    )
    yield _alike(
        "12, close-up",
        f"Hexpo, Parametric Hexpo and PPNS fall at almost the same speed ({early} within {_ALIKE:.0%})",
        "early speed",
        ("hexpo", "parametric_hexpo", "ppns"),
    )
    lowest = ("parametric_tanh", "ppns")
    yield _order(
        "12",
        "Parametric Tanh and PPNS end lowest (test loss after the last step below that of each of the rest)",
        "final loss",
        lowest,
        tuple(name for name in _LABELS if name not in lowest),
    )


def _gradients() -> Iterator[Claim]:
    printed = ko2021.FIG_13_PARAMETRIC_RELU_RANGE
    limit = _NEAR_ZERO * printed
    early, whole = f"mean range over steps 0 to {START}", f"mean range over steps 0 to {PLOTTED}"
    for name in ("relu", "tanh", "reltanh"):
        yield Claim(
            "13",
            f"{_LABELS[name]}'s gradient is near 0 at first ({early} at most {limit:g})",
            "start range",
            (name,),
            lambda x: bool(x[0] <= limit),
            lambda x: (0, limit),
        )
    yield Claim(
        "13",
        f"Parametric ReLU's range reaches about {printed} by step {PLOTTED} (within a factor of {_FACTOR:g})",
        "widest range",
        ("parametric_relu",),
        lambda x: bool(printed / _FACTOR <= x[0] <= printed * _FACTOR),
        lambda x: (0, printed),
    )
    yield _order(
        "13",
        f"Tanh's gradient is small against Parametric Tanh's ({early})",
        "start range",
        ("tanh",),
        ("parametric_tanh",),
    )
    yield _alike(
        "13",
        f"Hexpo and Parametric Hexpo are alike ({whole} within {_ALIKE:.0%})",
        "plotted range",
        ("hexpo", "parametric_hexpo"),
    )
    small = ("relu", "tanh", "reltanh")
    yield _order(
        "13", f"PPNS's gradient is larger than those of {_listed(small)} ({early})", "start range", small, ("ppns",)
    )
    for parametric, base in _PARAMETRIC_OF.items():
        yield Claim(
            "13",
            f"{_LABELS[parametric]}'s gradient is similar to {_LABELS[base]}'s or larger ({whole} at least "
            f"{1 - _ALIKE:.0%} of it)",
            "plotted range",
            (parametric, base),
            lambda x: bool(x[0] >= (1 - _ALIKE) * x[1]),
            lambda x: (0, 1),
        )


def _slopes() -> Iterator[Claim]:
    what = "slopes >= 1 before training"
    yield _order("14", f"{_listed(_FAST)} have more {what} than each of the rest", "steep slopes", _SLOW, _FAST)
    rest = tuple(name for name in _LABELS if name != "ppns")
    yield _order("14", f"PPNS has the most {what}", "steep slopes", rest, ("ppns",))


def _order(figure: str, text: str, quantity: str, lower: Sequence[str], higher: Sequence[str]) -> Claim:
    """Each of `lower` lies below each of `higher`."""
    n = len(lower)
    return Claim(
        figure,
        text,
        quantity,
        (*lower, *higher),
        lambda x: bool(x[:n].max() < x[n:].min()),
        lambda x: (n + int(x[n:].argmin()), int(x[:n].argmax())),
    )


def _alike(figure: str, text: str, quantity: str, activations: tuple[str, ...]) -> Claim:
    """The largest exceeds the smallest by at most a share of it."""
    return Claim(
        figure,
        text,
        quantity,
        activations,
        lambda x: bool(x.max() <= (1 + _ALIKE) * x.min()),
        lambda x: (int(x.argmax()), int(x.argmin())),
    )


def _askable(claim: Claim, records: xr.Dataset, found: Mapping[str, xr.DataArray]) -> bool:
    return claim.quantity in found and set(claim.activations) <= set(records["activation"].values.tolist())


def _judge(claim: Claim, quantity: xr.DataArray) -> Statement:
    values = quantity.sel(activation=list(claim.activations)).values
    finite = np.isfinite(values).all(axis=0)
    values = np.where(finite, values, np.nan)
    seeds_true = sum(claim.holds(column) for column in values[:, finite].T)
    if not finite.any():
        nothing = sample(np.full(values.shape[1], np.nan))
        return Statement(claim.figure, claim.text, None, 0, len(finite), nothing, "", "not finite for any seed")
    means = values[:, finite].mean(axis=1)
    first, second = claim.pair(means)
    labels = [_LABELS[name] for name in claim.activations]
    if isinstance(second, int):
        differences, compared = values[first] - values[second], f"{labels[first]} - {labels[second]}"
    else:
        differences, compared = values[first] - second, f"{labels[first]} - {second:g}"
    return Statement(
        figure=claim.figure,
        text=claim.text,
        holds=claim.holds(means),
        seeds_true=seeds_true,
        seeds=len(finite),
        difference=sample(differences),
        compared=compared,
        measured=", ".join(f"{label} {number_cell(mean)}" for label, mean in zip(labels, means, strict=True)),
    )


def _listed(activations: Sequence[str]) -> str:
    labels = [_LABELS[name] for name in activations]
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
