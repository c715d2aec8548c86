"""Coarse to fine: all cells with few trials, the best ones with many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from experiments.xor10.protocol import ACTIVATIONS
from experiments.xor10_protocol.grid import Batch, Cell, Conditions, Grid
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
class Job:
    """Trials under one set of conditions: seeds first_seed to first_seed + trials - 1."""

    conditions: Conditions
    first_seed: int
    trials: int


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many trials were trained, converged, and ended with a loss that is not finite."""

    trials: int = 0
    converged: int = 0
    non_finite: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.trials + other.trials, self.converged + other.converged, self.non_finite + other.non_finite)


Kind = tuple[str, Batch]
"""What a compiled program is for: the name of a record, and full batch or point by point."""
CountTrials = Callable[[Kind, Sequence[Job]], Sequence[Tally]]
"""Trains jobs of one program and counts the outcomes of each."""

Tallies = dict[tuple[Conditions, str], Tally]
"""By conditions and the name of the record trained."""


def search(
    grid: Grid,
    effort: Effort,
    count: CountTrials,
    on_round: Callable[[int, int, int], None] = lambda cells, trials, programs: None,
) -> Tallies:
    """Give every cell `trials` trials, then raise the best `finalists` cells to `final_trials`, and again.

    A cell that falls behind with more trials makes room for another, which then gets its trials too, until all of the
    best have them or `MOST_ROUNDS` rounds are over. All trials of a cell count, those that made it a finalist too.

    Args:
      grid: the cells.
      effort: see `Effort`.
      count: trains.
      on_round: called before each round with the number of cells it is for, of trials it trains, and of programs.
    """
    tallies: Tallies = {}
    cells = grid.cells()
    wanted, target = cells, effort.trials
    for _ in range(MOST_ROUNDS):
        work = _missing(wanted, tallies, target, effort.first_seed)
        on_round(len(wanted), sum(job.trials for jobs in work.values() for job in jobs), len(work))
        for kind, jobs in work.items():
            for job, outcome in zip(jobs, count(kind, jobs), strict=True):
                place = job.conditions, kind[0]
                tallies[place] = tallies.get(place, Tally()) + outcome
        target = effort.final_trials
        best = sorted(cells, key=lambda cell: -total_log_likelihood(cell, tallies))[: effort.finalists]
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


def _missing(cells: Sequence[Cell], tallies: Tallies, target: int, first_seed: int) -> dict[Kind, list[Job]]:
    """Jobs that bring all of these cells to `target` trials, by program."""
    needed = dict.fromkeys((cell.conditions, cell.trained_as(name)) for name in ACTIVATIONS for cell in cells)
    work: dict[Kind, list[Job]] = {}
    for conditions, name in needed:
        done = tallies.get((conditions, name), Tally()).trials
        if done < target:
            job = Job(conditions, first_seed + done, target - done)
            work.setdefault((name, conditions.batch), []).append(job)
    return work
