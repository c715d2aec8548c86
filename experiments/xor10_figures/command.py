"""`python -m experiments xor10-figures`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from experiments.problems.xor10.protocol import PROTOCOLS, Protocol, ProtocolName

ACTIVATIONS = ("sigmoid", "ppns")


@dataclasses.dataclass(frozen=True)
class Xor10Figures:
    """Draw [P, Figs. 7 to 10]: one PPNS trial that converges, beside Sigmoid from the same start.

    Trains all trials to choose one: the converged seed whose first iteration below the threshold is nearest the median.
    Then trains it again, noting its loss and every factor of the chain rule, and checks the paper's statements one by
    one. About 20 s on 2 cores. Writes runs/xor10-figures-DATE-TIME/: figure_7.png to figure_10.png, report.md,
    statements as CSV and LaTeX, summary.json, records.nc, run.json.
    Example: python -m experiments xor10-figures --seed 3 --every 10
    """

    protocol: ProtocolName = "recovered"
    """Conditions; see `xor10`."""
    seed: int | None = None
    """The trial to look into (default: chosen by the rule above)."""
    every: int = 1
    """Iterations between two records of the history; divides the iterations."""
    plot_until: int = 1_500
    """Right end of Figs. 7 and 8."""
    iterations: int = 10_000
    """Full-batch updates."""
    threshold: float = 1e-3
    """A trial has converged if its final mean squared error is below this."""
    trials: int = 1_000
    """Trials to choose from."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def resolve(self) -> Protocol:
        """The conditions of all trials."""
        return dataclasses.replace(
            PROTOCOLS[self.protocol],
            iterations=self.iterations,
            threshold=self.threshold,
            trials=self.trials,
            first_seed=self.first_seed,
            activations=ACTIVATIONS,
        )

    def prepare(self) -> Callable[[], int]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory

        protocol = self.resolve()
        protocol.check()
        if self.every < 1 or self.iterations % self.every:
            raise ValueError(f"--every: expected a divisor of {self.iterations} iterations, got {self.every}")
        if self.plot_until < 1:
            raise ValueError(f"--plot-until: expected an iteration >= 1, got {self.plot_until}")
        last = self.first_seed + self.trials - 1
        if self.seed is not None and not self.first_seed <= self.seed <= last:
            raise ValueError(
                f"--seed: expected one of the trials {self.first_seed} to {last}, got {self.seed}; "
                f"see --trials and --first-seed"
            )
        out = run_directory.choose(self.out, "xor10-figures")
        return lambda: _run(self, protocol, out)


def _run(command: Xor10Figures, protocol: Protocol, out: Path) -> int:
    import sys

    import xarray as xr

    from experiments.problems.xor10 import records
    from experiments.problems.xor10.train import train
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import start
    from experiments.xor10_figures import history, report

    start()
    begin = time.perf_counter()
    print(history.memory(protocol, command.every), file=sys.stderr)
    with SweepProgress(protocol.activations, protocol.iterations) as progress:
        trained = train(
            protocol,
            on_compiled=progress.compiled,
            on_progress=progress.advanced,
        )
    sweep = records.to_dataset(protocol, trained)
    try:
        seed = history.choose_seed(sweep) if command.seed is None else command.seed
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    swept = time.perf_counter()
    histories = history.retrain(protocol, trained, seed, command.every)
    combined = xr.merge(
        [sweep, history.to_dataset(histories, seed=seed, every=command.every)], combine_attrs="no_conflicts"
    )
    combined.attrs["history_retraced"] = int(history.same_as_in_the_sweep(combined))
    combined.attrs["history_choice"] = (
        "the converged one whose first iteration below the threshold is nearest the median"
        if command.seed is None
        else "chosen by --seed"
    )
    run = run_directory.write(
        out,
        combined,
        experiment="xor10-figures",
        config={
            "protocol": command.protocol,
            **dataclasses.asdict(protocol),
            "seed": seed,
            "every": command.every,
            "plot_until": command.plot_until,
        },
        seconds={
            "total": time.perf_counter() - begin,
            "sweep": swept - begin,
            "history": time.perf_counter() - swept,
        },
    )
    finish(report, run, begin=begin, made="records, figures and statements")
    return 0
