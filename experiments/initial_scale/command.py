"""`python -m experiments initial-scale`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.initial_scale.protocol import ACTIVATIONS, BATCH, PRINTED_STEPS, SCALES, Protocol
from experiments.problems.digits import Data

if TYPE_CHECKING:
    from paramact_jax.datasets import Digits


@dataclasses.dataclass(frozen=True)
class InitialScale:
    """How large do the initial weights have to be? A network of five layers on MNIST, started at several scales [R].

    Trains six activations from seven scales, looks at values and gradients of every layer before training, and makes
    the two runs that [R] prints again, with the activations and learning rates that it may have used.
    About 5 minutes on 2 cores. Writes runs/initial-scale-DATE-TIME/: records.nc, run.json, summary.json, report.md,
    tables as CSV and LaTeX, figures. Interrupted, it goes on where it was when the same command is given the same
    --out. Example: python -m experiments initial-scale --activations relu --scales 0.01 0.1 he --seeds 5
    """

    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations."""
    scales: tuple[str, ...] = SCALES
    """Standard deviations of the initial weights: numbers, xavier for 1/sqrt(fan_in), he for sqrt(2/fan_in), he-hidden
    for sqrt(2/width) in all layers as in [R]."""
    width: int = 50
    """Nodes in each of the four hidden layers."""
    learning_rate: float = 0.1
    """Of all parameters."""
    steps: int = 2_400
    """Steps of gradient descent on batches of 100."""
    rates: tuple[float, ...] = (0.1, 0.01)
    """Learning rates at which the runs of [R] are made again."""
    printed_steps: int = PRINTED_STEPS
    """Steps of these."""
    every: int = 600
    """Steps between two scores of all images."""
    seeds: int = 3
    """Networks in each cell, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/initial-scale-DATE-TIME/)."""

    def resolve(self) -> Protocol:
        """The conditions."""
        return Protocol(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Protocol)})

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.digits import load
        from experiments.study import run_directory
        from paramact_jax.activations import catalogue

        protocol = self.resolve()
        protocol.check()
        for name in protocol.activations:
            catalogue.get(name)
        out = run_directory.choose(self.out, "initial-scale")
        digits = load(self.data, self.data_dir)
        if len(digits.train_labels) < BATCH:
            raise ValueError(f"--data: expected {BATCH} training images, a batch, or more, got {digits}")
        config = dataclasses.asdict(protocol) | {"batch": BATCH, "data": digits.source}
        run_directory.check_unfinished(out, config)
        return lambda: _run(protocol, digits, config, out)


def _run(protocol: Protocol, digits: Digits, config: dict[str, object], out: Path) -> None:
    from experiments.initial_scale import report, study
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    with run_directory.unfinished(out, config) as kept:
        records = study.run(protocol, digits, directory=kept)
        run = run_directory.write(
            out,
            records,
            experiment="initial-scale",
            config=config,
            seconds={"total": time.perf_counter() - begin},
        )
    finish(report, run, begin=begin, made="records, tables and figures")
