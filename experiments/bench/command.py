"""`python -m experiments bench xor10`, `bench activations`, `bench mnist`, and the others together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from experiments.bench.accelerator import BenchAccelerator
from experiments.bench.cnn_command import BenchCnn
from experiments.bench.output import check, say, show
from experiments.bench.sweeps_command import BenchSweeps
from experiments.problems.digits import Data
from experiments.problems.xor10.protocol import ACTIVATIONS


@dataclasses.dataclass(frozen=True)
class BenchXor10:
    """Time one iteration of 1,024 XOR(10) trials: this project beside other ways to train the same trials.

    The usual way in JAX (vmap of a Flax model, optax, scan), a loop in PyTorch if it is installed, and the yardstick,
    an independent C program, if its path is given. About 2 minutes on 2 cores; writes nothing but the JSON asked
    for. Example: python -m experiments bench xor10 --json bench.json
    """

    yardstick: Path | None = None
    """Directory of the yardstick, with xor10.py and xor10.c; needs gcc."""
    json: Path | None = None
    """File to write the result to, which must not exist."""
    rounds: int = 5
    """Measured runs of each contestant."""
    pytorch: bool = True
    """Whether to time PyTorch, if it is installed."""
    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations, some of [P, Table 5]; the totals are of these."""

    def prepare(self) -> Callable[[], None]:
        """Check the arguments; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from paramact_jax.sweeps import use_all_cores

        use_all_cores()
        from experiments.bench.xor10 import check_yardstick, measure, render

        check(self.rounds, self.json)
        if not self.activations or set(self.activations) - set(ACTIVATIONS):
            known = " ".join(ACTIVATIONS)
            raise ValueError(f"--activations: expected some of {known}, got {' '.join(self.activations) or 'none'}")
        if self.yardstick is not None:
            check_yardstick(self.yardstick)

        def work() -> None:
            result = measure(
                yardstick=self.yardstick,
                pytorch=self.pytorch,
                rounds=self.rounds,
                activations=tuple(dict.fromkeys(self.activations)),
                on_progress=say,
            )
            show(render(result), result, self.json)

        return work


@dataclasses.dataclass(frozen=True)
class BenchActivations:
    """Time activation functions per element, relative to ReLU, and parametric ones beside their base functions.

    Forward, and forward with backward, on 64 x 128 and 4096 x 4096; and a gradient step of two models before and after
    `parametrise`. About a minute on 2 cores; writes nothing but the JSON asked for. Example: python -m experiments
    bench activations --rounds 9
    """

    json: Path | None = None
    """File to write the result to, which must not exist."""
    rounds: int = 7
    """Measured runs of each function."""
    functions: tuple[str, ...] = ()
    """Names of functions, each measured beside its parametric form (default: eight of the catalogue)."""
    small: bool = False
    """Whether to take the smaller arrays and one tiny model only, to see that everything runs."""

    def prepare(self) -> Callable[[], None]:
        """Check the arguments; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.bench import retrofitted
        from experiments.bench.activations import BASES, SHAPES, measure, render
        from paramact_jax.activations import catalogue

        check(self.rounds, self.json)
        for name in self.functions:
            catalogue.get(name)

        def work() -> None:
            shapes = SHAPES[:1] if self.small else SHAPES
            result = measure(rounds=self.rounds, shapes=shapes, bases=self.functions or BASES, on_progress=say)
            models = retrofitted.TINY if self.small else retrofitted.MODELS
            result["models"] = retrofitted.measure(rounds=self.rounds, models=models, on_progress=say)
            show(f"{render(result)}\n{retrofitted.table(result['models']).plain()}", result, self.json)

        return work


@dataclasses.dataclass(frozen=True)
class BenchMnist:
    """Measure training steps per second on digits: one seed, 8 seeds at once, and a loop in PyTorch if installed.

    About 2 minutes on 2 cores. Prints tables, and writes nothing but the file that --json names. Example: python -m
    experiments bench mnist --activation relu --data-dir ~/data/mnist
    """

    activation: str = "ppns"
    """Name of the activation."""
    rounds: int = 5
    """Measured runs of each contestant."""
    steps: int = 500
    """Steps of a run, at least: whole epochs."""
    data: Data = "auto"
    """Where MNIST comes from, as in the command mnist; `synthetic` needs no files."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    json: Path | None = None
    """File to write the result to, which must not exist."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from paramact_jax.sweeps import use_all_cores

        use_all_cores()
        from experiments.bench.mnist import measure, render
        from experiments.problems.digits import load
        from experiments.problems.mnist.protocol import layers_of

        check(self.rounds, self.json)
        if self.steps < 1:
            raise ValueError(f"--steps: expected an integer >= 1, got {self.steps}")
        layers_of(self.activation)
        digits = load(self.data, self.data_dir)

        def work() -> None:
            result = measure(digits, activation=self.activation, rounds=self.rounds, steps=self.steps, on_progress=say)
            show(render(result), result, self.json)

        return work


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed, side by side in one run."""

    what: (
        Annotated[BenchXor10, tyro.conf.subcommand("xor10")]
        | Annotated[BenchActivations, tyro.conf.subcommand("activations")]
        | Annotated[BenchSweeps, tyro.conf.subcommand("sweeps")]
        | Annotated[BenchMnist, tyro.conf.subcommand("mnist")]
        | Annotated[BenchCnn, tyro.conf.subcommand("cnn")]
        | Annotated[BenchAccelerator, tyro.conf.subcommand("accelerator")]
    )

    def prepare(self) -> Callable[[], int | None]:
        """As the command it was given."""
        return self.what.prepare()
