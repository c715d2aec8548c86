"""Coarse to fine: all cells with few trials, the best ones with many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from experiments.problems.xor10.protocol import ACTIVATIONS
from experiments.xor10_protocol.grid import Cell, Conditions, Grid
from experiments.xor10_protocol.scores import log_likelihoods

MOST_ROUNDS = 5
"""Where all cells are alike, each falls behind as soon as it has more trials, and the search would try them all."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How many trials go where.

    Attributes:
      trials: of each activation in every cell, at first.
      final_trials: of each activation in the best cells.
      finalists: number of best cells.
      first_seed: trial i of every activation in every cell has seed first_seed + i.
    """

    trials: int
    final_trials: int
    finalists: int
    first_seed: int = 0


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many trials were trained, converged, and ended with a loss that is not finite."""

    trials: int = 0
    converged: int = 0
    non_finite: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.trials + other.trials, self.converged + other.converged, self.non_finite + other.non_finite)


Trained = tuple[Conditions, str]
"""What trials are of: conditions, and the name of the record trained."""
CountTrials = Callable[[Sequence[Trained], range], Sequence[Tally]]
"""Trains each of these on the same seeds and counts its outcomes."""
Tallies = dict[Trained, Tally]


def search(grid: Grid, effort: Effort, count: CountTrials) -> Tallies:
    """Give every cell `trials` trials, then raise the best `finalists` cells to `final_trials`, and again.

    A cell that falls behind with more trials makes room for another, which then gets its trials too, until all of the
    best have them or `MOST_ROUNDS` rounds are over. All trials of a cell count, those that made it a finalist too.

    Args:
      grid: the cells.
      effort: see `Effort`.
      count: trains.
    """
    tallies: Tallies = {}
    wanted, done, target = grid.cells(), 0, effort.trials
    for _ in range(MOST_ROUNDS):
        needed = dict.fromkeys((cell.conditions, cell.trained_as(name)) for name in ACTIVATIONS for cell in wanted)
        work = [trained for trained in needed if tallies.get(trained, Tally()).trials < target]
        outcomes = count(work, range(effort.first_seed + done, effort.first_seed + target))
        for trained, outcome in zip(work, outcomes, strict=True):
            tallies[trained] = tallies.get(trained, Tally()) + outcome
        done, target = effort.trials, effort.final_trials
        best = sorted(grid.cells(), key=lambda cell: -total_log_likelihood(cell, tallies))[: effort.finalists]
        wanted = [cell for cell in best if any(tally.trials < target for tally in tallies_of(cell, tallies).values())]
        if not wanted:
            break
    return tallies


def tallies_of(cell: Cell, tallies: Tallies) -> dict[str, Tally]:
    """A cell's outcomes, by activation of [P, Table 5]."""
    return {name: tallies[cell.conditions, cell.trained_as(name)] for name in ACTIVATIONS}


def total_log_likelihood(cell: Cell, tallies: Tallies) -> float:
    """Log probability of all counts of [P, Table 5], predicted from the cell's."""
    own = {name: (tally.converged, tally.trials) for name, tally in tallies_of(cell, tallies).items()}
    return float(np.sum(list(log_likelihoods(own).values())))
