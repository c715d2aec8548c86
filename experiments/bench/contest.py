"""Contestants that train the same trials, timed in turns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

CHECKED = 10
"""Iterations after which the contestants' losses are compared."""

TOLERANCE = 1e-3
"""Relative difference up to which two losses are the same."""

FORKED = 0.1
"""Share of trials that may differ by more. Rounding, which deep networks with steep activations amplify, makes up to
5 % differ; another learning rate, loss or number of iterations makes at least a third differ."""

PAUSE = 0.02  # seconds; idle threads of the one before spin for some milliseconds on the cores the next one needs


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to train the trials of one activation, ready to run.

    Attributes:
      name: how results are labelled.
      train: trains from the initial params and returns the seconds of the training alone.
      losses: mean squared errors of its trials after `CHECKED` iterations from the initial params.
      trials: how many of the trials it trains, the first ones.
      iterations: how many iterations `train` makes.
      compile_seconds: spent before the first training, None where nothing is compiled for the activation.
    """

    name: str
    train: Callable[[], float]
    losses: Callable[[], np.ndarray]
    trials: int
    iterations: int
    compile_seconds: float | None = None


def race(contestants: Sequence[Contestant], *, rounds: int, trials: int) -> dict[str, list[float]]:
    """Microseconds of one iteration of all trials, by contestant, one number a round.

    Every contestant runs once unmeasured and then once a round, so that a machine that slows down or is shared slows
    all of them; who begins changes from round to round. What a contestant measures on fewer trials or iterations is
    scaled linearly.

    Args:
      contestants: of one activation.
      rounds: measured runs of each.
      trials: the number of trials to scale to.
    """
    for contestant in contestants:
        contestant.train()
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for i in range(rounds):
        first = i % len(contestants)
        for contestant in [*contestants[first:], *contestants[:first]]:
            time.sleep(PAUSE)
            seconds = contestant.train()
            times[contestant.name].append(1e6 * seconds / contestant.iterations * trials / contestant.trials)
    return times


def check_same_problem(activation: str, contestants: Sequence[Contestant]) -> None:
    """Raise RuntimeError if a contestant's losses, few iterations from the start, are not those of the first one."""
    reference = contestants[0].losses()
    for contestant in contestants[1:]:
        losses = contestant.losses()
        differ = ~np.isclose(losses, reference[: len(losses)], rtol=TOLERANCE, atol=0, equal_nan=True)
        if differ.sum() > max(1, FORKED * len(losses)):
            raise RuntimeError(
                f"{activation}: expected {contestant.name} and {contestants[0].name} to train the same networks, got "
                f"losses that differ by more than {TOLERANCE:g} in {differ.sum()} of {len(losses)} trials after "
                f"{CHECKED} iterations; their times cannot be compared"
            )
