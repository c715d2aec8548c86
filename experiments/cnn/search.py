"""One choice, for all combinations, of what [A] leaves open: successive halving over a declared grid."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.problems.cnn.images import Images
from experiments.problems.cnn.protocol import Combination, Protocol
from experiments.problems.cnn.records import name_of
from experiments.problems.cnn.train import classifier, conditions, training
from experiments.study.progress import SweepProgress
from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.sweeps.arguments import accepted

SCORES = 5
"""Scores of the held-out images in a round, beside the one before training."""

STEPS_PER_CALL = 50
"""Of every network; a call allocates anew the memory that its steps share."""

STATIC = ("kernel_size", "padding", "pooling")
"""What cells may differ in that makes programs of their own."""

Score = Callable[[Sequence[int], int], np.ndarray]
"""Smallest held-out losses (cells, combinations, seeds) of the cells with these indices after so many iterations."""


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a search.

    Attributes:
      iterations: of every network.
      cells: indices of the cells that took part, best first.
      losses: smallest held-out loss, (cells, combinations, seeds) in that order; NaN where there is no finite one.
    """

    iterations: int
    cells: tuple[int, ...]
    losses: np.ndarray

    def scores(self) -> np.ndarray:
        """Mean over combinations and seeds, (cells,); infinite where a network has no finite loss."""
        return mean_scores(self.losses)


def mean_scores(losses: np.ndarray) -> np.ndarray:
    """Mean over all axes but the first; infinite where one of the losses is not finite."""
    means = losses.reshape(len(losses), -1).mean(axis=1)
    return np.where(np.isfinite(means), means, np.inf)


def halving(cells: int, iterations: Sequence[int], keep_one_in: int, score: Score) -> list[Round]:
    """All cells with few iterations, then the best of them with more, each round from the start.

    Args:
      cells: how many there are.
      iterations: of each round, rising.
      keep_one_in: so many cells make room for one that goes on, rounded up.
      score: trains.

    Examples:
      >>> loss = {0: 0.3, 1: 0.1, 2: 0.2}
      >>> rounds = halving(3, [10, 20], 2, lambda cells, n: np.array([[[loss[i]]] for i in cells]))
      >>> [r.cells for r in rounds]
      [(1, 2, 0), (1, 2)]
    """
    rounds: list[Round] = []
    left: Sequence[int] = range(cells)
    for number in iterations:
        losses = score(left, number)
        order = np.argsort(mean_scores(losses), kind="stable")
        rounds.append(Round(number, tuple(int(left[i]) for i in order), losses[order]))
        left = sorted(rounds[-1].cells[: math.ceil(len(left) / keep_one_in)])
    return rounds


def ranking(rounds: Sequence[Round]) -> list[int]:
    """All cells, best first: those that went further, then by the score of the last round that they were in."""
    found: list[int] = []
    for one in reversed(rounds):
        found += [cell for cell in one.cells if cell not in found]
    return found


def train_cells(grid: Sequence[Protocol], images: Images, directory: Path) -> Score:
    """Returns the training of cells: each is a point of one sweep, beside all combinations.

    Args:
      grid: all cells; they differ in nothing but what the search grid has.
      images: to train with, and to score on.
      directory: where to go on from after an interruption.
    """
    trials, pairs = range(grid[0].first_seed, grid[0].first_seed + grid[0].trials), grid[0].combinations

    def score(cells: Sequence[int], iterations: int) -> np.ndarray:
        protocol = dataclasses.replace(grid[0], iterations=iterations, test_every=math.ceil(iterations / SCORES))
        with SweepProgress([f"{len(cells)} cells"], iterations) as progress:
            found = long_sweep(
                _networks(protocol),
                trials,
                static_axes={"combination": {name_of(pair): pair for pair in pairs}},
                points=[
                    conditions(grid[cell]) | {name: getattr(grid[cell], name) for name in STATIC} for cell in cells
                ],
                static_argnames=STATIC,
                iterations=iterations,
                iterations_per_call=STEPS_PER_CALL,
                chunk=len(cells) * len(trials),  # all of a program at most
                block=1,
                directory=directory / f"{iterations}",
                on_progress=functools.partial(progress.advanced, f"{len(cells)} cells"),
                data=images.settings(),
            )
        losses = found["test.loss"]
        smallest = losses.where(np.isfinite(losses)).min(str(losses.dims[-1]))
        return smallest.transpose("point", "combination", "seed").values.astype(float)

    return score


def _networks(protocol: Protocol) -> Training:
    """The training of any network of the grid: its combination and what is in STATIC are settings."""

    @functools.cache
    def of(combination: Combination, *network: Any) -> Training:
        own = dict(zip(STATIC, network, strict=True))
        return training(classifier(combination, dataclasses.replace(protocol, **own)))

    def called(name: str) -> Callable[..., Any]:
        def function(first: Any, combination: Combination, iteration: Any = None, **settings: Any) -> Any:
            own = getattr(of(combination, *(settings[name] for name in STATIC)), name)
            return own(first, **accepted(own, settings | {"iteration": iteration}))

        return function

    return Training(*map(called, ("init", "step", "summarise")))
