"""`python -m experiments mnist`."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.problems.digits import Data
from experiments.problems.mnist.protocol import (
    ACTIVATIONS,
    PROTOCOLS,
    Batches,
    Initial,
    Optimiser,
    Protocol,
    ProtocolName,
)

if TYPE_CHECKING:
    from paramact_jax.datasets import Digits


@dataclasses.dataclass(frozen=True)
class Mnist:
    """Train the networks of [P, section 4.2] on MNIST: 8 activations, 8 hidden layers of 128, 10,000 steps.

    About 9 minutes on 2 cores. Writes runs/mnist-DATE-TIME/: records.nc, run.json, summary.json, report.md, tables as
    CSV and LaTeX, the paper's Figs. 12 to 14. Interrupted, it goes on where it was when the same command is given the
    same --out. Example: python -m experiments mnist --activations relu ppns --seeds 10 --data-dir ~/data/mnist
    """

    protocol: ProtocolName = "recovered"
    """Conditions: `recovered` gives the published slope counts, `literal` is [P, Table 8] as printed."""
    initial: Initial | None = None
    """Scale of the initial weights (recovered: fan-in, 1/sqrt(fan_in) for all; literal: glorot-he)."""
    batches: Batches | None = None
    """Epochs that are shuffled, or independent draws (recovered: shuffled, literal: independent)."""
    steps: int | None = None
    """Steps of gradient descent (in both protocols: 10000)."""
    batch: int | None = None
    """Images a step (in both protocols: 64)."""
    optimiser: Optimiser | None = None
    """Optimiser (in both protocols: sgd, plain gradient descent)."""
    learning_rate: float | None = None
    """Learning rate of weights and biases (in both protocols: 0.01)."""
    learning_rate_a: float | None = None
    """Learning rate of a and the other parameters of activations (default: the learning rate)."""
    learning_rate_b: float | None = None
    """Learning rate of b (default: the learning rate)."""
    initial_a: float | None = None
    """Start value of a (default: 1.5 / steepest slope: 6 for PPNS, 1.5 for Parametric Tanh and Parametric ReLU)."""
    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations to train."""
    seeds: int | None = None
    """Networks of each activation, trained at once (in both protocols: 3)."""
    first_seed: int | None = None
    """Network i has seed first_seed + i (in both protocols: 0)."""
    test_every: int | None = None
    """Steps between two scores of all test images; 1 is the paper's (in both protocols: 50)."""
    train_every: int | None = None
    """Steps between two scores of all training images (in both protocols: 500)."""
    data: Data = "auto"
    """Where MNIST comes from: the original files (idx) or TensorFlow Datasets (tfds);
    auto: the original files if --data-dir or PARAMACT_DATA names their directory, else TensorFlow Datasets;
    synthetic: images that only look like it, which need no files and say nothing about MNIST."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/mnist-DATE-TIME/)."""

    def resolve(self) -> Protocol:
        """The protocol with all overrides applied."""
        overrides = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(Protocol)
            if getattr(self, field.name) is not None
        }
        if self.learning_rate is not None:
            overrides = {"learning_rate_a": self.learning_rate, "learning_rate_b": self.learning_rate} | overrides
        return dataclasses.replace(PROTOCOLS[self.protocol], **overrides)

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.digits import load
        from experiments.study import run_directory

        protocol, out = self.resolve(), run_directory.choose(self.out, "mnist")
        protocol.check()
        digits = load(self.data, self.data_dir)
        protocol.check(images=len(digits.train_labels))
        run_directory.check_unfinished(out, _conditions(protocol, digits))
        return lambda: _run(self, protocol, digits, out)


def _conditions(protocol: Protocol, digits: Digits) -> dict[str, Any]:
    """What an interrupted run must have in common with the one that goes on with it."""
    config = dataclasses.asdict(protocol) | {"synthetic images": digits.synthetic}
    del config["activations"]  # each has a directory of its own
    return config


def _run(command: Mnist, protocol: Protocol, digits: Digits, out: Path) -> None:
    from experiments.mnist import records, report
    from experiments.problems.mnist.train import seconds_per_step, steep_slopes, train
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    trained, slopes, seconds = {}, {}, {}
    with (
        run_directory.unfinished(out, _conditions(protocol, digits)) as kept,
        SweepProgress(protocol.activations, protocol.steps) as progress,
    ):
        for name in protocol.activations:
            started = time.perf_counter()
            trained[name] = train(
                name,
                protocol,
                digits,
                directory=kept / name,
                on_progress=functools.partial(progress.advanced, name),
            )
            progress.through(name)
            slopes[name] = steep_slopes(name, protocol, digits)
            seconds[name] = time.perf_counter() - started
        timing = seconds_per_step(protocol.activations, protocol, digits)
        run = run_directory.write(
            out,
            records.to_dataset(
                protocol, trained, steep_slopes=slopes, seconds=seconds, seconds_per_step=timing, digits=digits
            ),
            experiment="mnist",
            config={"protocol": command.protocol, **dataclasses.asdict(protocol), "data": digits.source},
            seconds={"total": time.perf_counter() - begin, "activations": seconds},
        )
    finish(report, run, begin=begin, made="records, tables and figures")
