"""`python -m experiments xor10-protocol`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.xor10_protocol.grid import BATCHES, BIAS_STDS, GRADIENT_SCALES, KINKS, SCALES, Batch, Grid

if TYPE_CHECKING:
    from experiments.xor10_protocol.search import Tally, Trained


@dataclasses.dataclass(frozen=True)
class Xor10Protocol:
    """Search the training conditions that give the counts of [P, Table 5]: a declared grid, nothing tuned per row.

    Every cell of the grid trains all seven activations; the best cells get more trials until the best of them are all
    known well. Cells are ranked by the likelihood of the published counts. About 5 minutes on 2 cores. Writes
    runs/xor10-protocol-DATE-TIME/: records.nc, run.json, summary.json, report.md, tables as CSV and LaTeX,
    ranking.png. Interrupted, it goes on where it was when the same command is given the same --out.
    Example: python -m experiments xor10-protocol --scales fan-in 0.6 0.8 --batches full
    """

    trials: int = 200
    """Trials of each activation in every cell."""
    finalists: int = 8
    """Number of best cells that get more trials."""
    final_trials: int = 4_000
    """Trials of each activation in those."""
    scales: tuple[str, ...] = SCALES
    """Initial weights: fan-in (1/sqrt(fan_in)), normal (1), glorot, he, or a number. Equal ones are one."""
    bias_stds: tuple[float, ...] = BIAS_STDS
    """Standard deviations of the initial biases."""
    gradient_scales: tuple[float, ...] = GRADIENT_SCALES
    """c in dL/dy_out = c (y_out - t): for all 4 points 1/4 is half their mean squared error, 1/2 the mean."""
    batches: tuple[Batch, ...] = BATCHES
    """One update an iteration on all points, or a pass over the points with an update after each."""
    kinks: tuple[int, ...] = KINKS
    """Slopes of plain ReLU at 0."""
    iterations: int = 10_000
    """Updates on all points, or passes over the points."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    smoke: bool = False
    """Only show that it runs: 8 trials of 20 iterations a cell, 16 in 2 finalists; the ranking means nothing."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/xor10-protocol-DATE-TIME/)."""

    def grid(self) -> Grid:
        """The grid of conditions."""
        return Grid(self.scales, self.bias_stds, self.gradient_scales, self.batches, self.kinks)

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory

        tiny = dataclasses.replace(self, trials=8, finalists=2, final_trials=16, iterations=20)
        command = tiny if self.smoke else self
        command.grid().check()
        command.check_numbers()
        out = run_directory.choose(self.out, "xor10-protocol")
        run_directory.check_unfinished(out, command.config())
        return lambda: _run(command, out)

    def config(self) -> dict[str, Any]:
        """All options that decide the results."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in ("out", "smoke")}

    def check_numbers(self) -> None:
        """Raise ValueError, in one line, for a number that cannot be used."""
        for option in ("trials", "finalists", "iterations"):
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"--{option}: expected an integer >= 1, got {value}")
        if self.final_trials < self.trials:
            raise ValueError(f"--final-trials: expected at least --trials ({self.trials}), got {self.final_trials}")
        if self.iterations >= 2**31:
            raise ValueError(f"--iterations: expected at most 2**31 - 1, got {self.iterations}")
        if not 0 <= self.first_seed <= 2**32 - self.final_trials:
            raise ValueError(
                f"--first-seed: expected an integer within 0..{2**32 - self.final_trials}, got {self.first_seed}"
            )


def _run(command: Xor10Protocol, out: Path) -> None:
    import sys

    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import start
    from experiments.xor10_protocol import records, report
    from experiments.xor10_protocol.search import Effort, search
    from experiments.xor10_protocol.train import LEARNING_RATE, THRESHOLD, counts_of, losses

    start()
    begin = time.perf_counter()
    grid, rounds = command.grid(), itertools.count(1)
    with run_directory.unfinished(out, command.config()) as directory:

        def count(work: Sequence[Trained], seeds: range) -> list[Tally]:
            name, trials = f"round {next(rounds)}", len(work) * len(seeds)
            print(f"{name}: {trials:,} trials of {command.iterations:,} iterations", file=sys.stderr)
            with SweepProgress([name], command.iterations) as progress:
                found = losses(
                    work,
                    seeds,
                    iterations=command.iterations,
                    directory=directory / name.replace(" ", "-"),
                    on_progress=functools.partial(progress.advanced, name),
                )
            return counts_of(found)

        effort = Effort(command.trials, command.final_trials, command.finalists, command.first_seed)
        tallies = search(grid, effort, count)
        run = run_directory.write(
            out,
            records.to_dataset(grid, tallies),
            experiment="xor10-protocol",
            config=command.config() | {"learning_rate": LEARNING_RATE, "threshold": THRESHOLD},
            seconds={"total": time.perf_counter() - begin},
        )
    finish(report, run, begin=begin, made="records, tables and figure")
