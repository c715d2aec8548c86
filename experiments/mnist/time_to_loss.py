"""How long each activation takes to a given train loss, and what that saves against another [P, section 4.2]."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import xarray as xr

from experiments.study.samples import Sample, sample


@dataclasses.dataclass(frozen=True)
class Saving:
    """The share of steps, or of time, that one activation needs less than another: 1 - steps / steps of the other.

    Attributes:
      pairs: seeds in which both reached the loss; only they count.
      mean: over those seeds; NaN if there is none.
      interval: 95 % t interval of that mean; None with fewer than 2.
      alone: seeds in which the other never reached the loss and this one did.
      at_least: what is saved in each of those at least, as the other needs more than the whole run; NaN if there are
        none.
    """

    pairs: int
    mean: float
    interval: tuple[float, float] | None
    alone: int
    at_least: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One activation.

    Attributes:
      activation: name in the catalogue.
      steps: over the seeds that reached the loss; `steps.non_finite` counts those that did not.
      seconds_per_step: median over the rounds of timing; NaN if there is no finite one.
      seconds: mean steps x seconds_per_step.
      saved_steps, saved_seconds: against the reference; None for itself, or if the run has not got it.
    """

    activation: str
    steps: Sample
    seconds_per_step: float
    seconds: float
    saved_steps: Saving | None
    saved_seconds: Saving | None


def rows(records: xr.Dataset, train_loss: float, reference: str) -> list[Row]:
    """All activations of a run.

    Args:
      records: of a run of `mnist`.
      train_loss: the loss to be reached.
      reference: the activation that the others are compared with.
    """
    names = [str(name) for name in records["activation"].values]
    at = records["train_step"].values
    losses = records["train_loss"].transpose("activation", "seed", "train_step").values
    steps = {
        name: np.array([first_below(at, curve, train_loss) for curve in of_seeds])
        for name, of_seeds in zip(names, losses, strict=True)
    }
    timings = records["seconds_per_step"].transpose("activation", "timing").values
    seconds = {name: _median(rounds) for name, rounds in zip(names, timings, strict=True)}
    result = []
    for name in names:
        compared = name != reference and reference in names
        found = sample(steps[name])
        result.append(
            Row(
                activation=name,
                steps=found,
                seconds_per_step=seconds[name],
                seconds=found.mean * seconds[name],
                saved_steps=_saving(steps[name], steps[reference], at[-1]) if compared else None,
                saved_seconds=(
                    _saving(
                        steps[name] * seconds[name],
                        steps[reference] * seconds[reference],
                        at[-1] * seconds[reference],
                    )
                    if compared
                    else None
                ),
            )
        )
    return result


def first_below(steps: np.ndarray, losses: np.ndarray, threshold: float) -> float:
    """The step at which a loss first comes down to a threshold; NaN if it never does.

    Between two steps at which it was scored the logarithm of the loss is taken as linear in the step. Where the score
    before is not finite, it is the step after.

    Args:
      steps: at which the loss was scored, in rising order.
      losses: as many.
      threshold: > 0.

    Examples:
      >>> first_below(np.array([0, 100, 200]), np.array([10.0, 1.0, 0.1]), 0.1 * 10**0.5)
      150.0
    """
    below = np.flatnonzero(losses <= threshold)
    if not len(below):
        return math.nan
    i = int(below[0])
    if i == 0 or not np.isfinite(losses[i - 1]) or losses[i] <= 0:
        return float(steps[i])
    before, after = math.log(losses[i - 1]), math.log(losses[i])
    return float(steps[i - 1] + (before - math.log(threshold)) / (before - after) * (steps[i] - steps[i - 1]))


def _saving(values: np.ndarray, reference: np.ndarray, whole_run: float) -> Saving:
    both = np.isfinite(values) & np.isfinite(reference) & (reference > 0)
    saved = 1 - values[both] / reference[both]
    alone = values[np.isfinite(values) & np.isnan(reference)] if math.isfinite(whole_run) else values[:0]
    return Saving(
        pairs=len(saved),
        mean=float(saved.mean()) if len(saved) else math.nan,
        interval=sample(saved).interval(),
        alone=len(alone),
        at_least=float(1 - alone.max() / whole_run) if len(alone) else math.nan,
    )


def _median(rounds: np.ndarray) -> float:
    good = rounds[np.isfinite(rounds)]
    return float(np.median(good)) if len(good) else math.nan
