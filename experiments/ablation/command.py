"""`python -m experiments ablation xor10` and `ablation mnist`."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.ablation.design import BASES, trainings
from experiments.problems.digits import Data
from experiments.problems.mnist import protocol as mnist
from experiments.problems.xor10 import protocol as xor10

if TYPE_CHECKING:
    import xarray as xr

    from experiments.study.progress import SweepProgress


@dataclasses.dataclass(frozen=True)
class AblationXor10:
    """On XOR(10): the share of 1,000 trials that converge under each condition.

    About a minute on 2 cores. Writes runs/ablation-xor10-DATE-TIME/: records.nc, run.json, summary.json, report.md,
    tables as CSV and LaTeX, one figure a function. Example: python -m experiments ablation xor10 --trials 4000
    """

    protocol: xor10.ProtocolName = "recovered"
    """Conditions of training, see `xor10`."""
    functions: tuple[str, ...] = tuple(BASES)
    """Of the three functions, those to compare with themselves under the other conditions."""
    trials: int = 1_000
    """Trials of each function under each condition, on the same seeds."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    iterations: int = 10_000
    """Full-batch updates."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory

        protocol = dataclasses.replace(
            xor10.PROTOCOLS[self.protocol],
            seeds=self.trials,
            first_seed=self.first_seed,
            steps=self.iterations,
            activations=_checked(self.functions),
        )
        protocol.check()
        if self.trials < 2:
            raise ValueError(f"--trials: expected 2 or more, to compare in pairs, got {self.trials}")
        out = run_directory.choose(self.out, "ablation-xor10")

        def train(progress: SweepProgress) -> xr.Dataset:
            from experiments.ablation.xor10 import run

            return run(protocol, progress=progress)

        config = _config(self.protocol, protocol) | {"trials": self.trials, "iterations": self.iterations}
        return lambda: _run(out, "ablation-xor10", config, train, contextlib.nullcontext())


@dataclasses.dataclass(frozen=True)
class AblationMnist:
    """On MNIST with 8 hidden layers: the test loss of 5 networks under each condition, at the end and early.

    About 12 minutes on 2 cores. Writes runs/ablation-mnist-DATE-TIME/, as the other. Interrupted, it goes on where it
    was when the same command is given the same --out. Example: python -m experiments ablation mnist --seeds 10
    """

    protocol: mnist.ProtocolName = "recovered"
    """Conditions of training, see `mnist`."""
    functions: tuple[str, ...] = tuple(BASES)
    """Of the three functions, those to compare with themselves under the other conditions."""
    seeds: int = 5
    """Networks of each function under each condition, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    steps: int = 10_000
    """Steps of gradient descent."""
    test_every: int = 130
    """Steps between two scores of all test images."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/ablation-mnist-DATE-TIME/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.digits import load
        from experiments.study import run_directory

        protocol = dataclasses.replace(
            mnist.PROTOCOLS[self.protocol],
            seeds=self.seeds,
            first_seed=self.first_seed,
            steps=self.steps,
            test_every=self.test_every,
            train_every=max(self.steps, 1),
            activations=_checked(self.functions),
        )
        protocol.check(images=protocol.batch)
        if self.seeds < 2:
            raise ValueError(f"--seeds: expected 2 or more, to compare in pairs, got {self.seeds}")
        out = run_directory.choose(self.out, "ablation-mnist")
        digits = load(self.data, self.data_dir)
        protocol.check(images=len(digits.train_labels))
        config = _config(self.protocol, protocol) | {"data": digits.source}
        run_directory.check_unfinished(out, config)

        def train(progress: SweepProgress) -> xr.Dataset:
            from experiments.ablation.mnist import run

            return run(protocol, digits, directory=run_directory.kept(out), progress=progress)

        unfinished = run_directory.unfinished(out, config)
        return lambda: _run(out, "ablation-mnist", config, train, unfinished)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Is it the learning of a and b, or the initial gain? PPNS, Parametric Tanh and Parametric ReLU, four ways.

    a and b learned as in [P]; kept at their start values; learned from a = 1, b = 0; the plain function.
    """

    what: (
        Annotated[AblationXor10, tyro.conf.subcommand("xor10")]
        | Annotated[AblationMnist, tyro.conf.subcommand("mnist")]
    )

    def prepare(self) -> Callable[[], None]:
        """As the command it was given."""
        return self.what.prepare()


def _checked(functions: tuple[str, ...]) -> tuple[str, ...]:
    if not functions or len(set(functions)) < len(functions) or not set(functions) <= set(BASES):
        given = ", ".join(functions) or "none"
        raise ValueError(f"--functions: expected some of {', '.join(BASES)}, each once, got {given}")
    return functions


def _config(name: str, protocol: mnist.Protocol | xor10.Protocol) -> dict[str, Any]:
    """What is the same under all conditions; the activations are the functions."""
    varied = ("initial_a", "learning_rate_a", "learning_rate_b", "activation_learning_rate")
    return {"protocol": name} | {key: x for key, x in dataclasses.asdict(protocol).items() if key not in varied}


def _run(
    out: Path,
    experiment: str,
    config: dict[str, Any],
    train: Callable[[SweepProgress], xr.Dataset],
    unfinished: AbstractContextManager[Any],
) -> None:
    from experiments.ablation import report
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    with (
        unfinished,
        SweepProgress(
            trainings(tuple(config["activations"])), config["iterations" if "iterations" in config else "steps"]
        ) as progress,
    ):
        records = train(progress)
        run = run_directory.write(
            out, records, experiment=experiment, config=config, seconds={"total": time.perf_counter() - begin}
        )
    finish(report, run, begin=begin, made="records, tables and figures")
