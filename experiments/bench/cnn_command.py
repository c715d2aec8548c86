"""`python -m experiments bench cnn`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from experiments.bench.output import check, say, show
from experiments.problems.cnn.protocol import COMBINATION, Protocol
from experiments.problems.digits import Data
from experiments.study.options import expect


@dataclasses.dataclass(frozen=True)
class BenchCnn:
    """Measure training images per second of the agile CNN: one seed, 5 seeds at once, a loop in PyTorch if installed.

    About 2 minutes on 2 cores. Prints a table, and writes nothing but the file that --json names. Example: python -m
    experiments bench cnn --combination relu/relu --data synthetic
    """

    combination: str = "parametric_relu/parametric_sigmoid"
    """Activation of the convolutional layers / of the dense hidden layer."""
    rounds: int = 5
    """Measured runs of each contestant."""
    steps: int = 100
    """Training steps of a run."""
    data: Data = "auto"
    """Where MNIST comes from, as in the command cnn; `synthetic` needs no files."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    json: Path | None = None
    """File to write the result to, which must not exist."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.bench.contest import CHECKED

        check(self.rounds, self.json)
        if self.steps < CHECKED:
            raise ValueError(f"--steps: expected {CHECKED} or more, after which all are compared, got {self.steps}")
        expect("combination", self.combination, COMBINATION)
        protocol = Protocol()

        from paramact_jax.sweeps import use_all_cores

        use_all_cores()
        from experiments.bench.cnn import measure, render
        from experiments.problems.cnn.networks import for_training, load

        digits = load(self.data, self.data_dir, protocol.training_images)
        chosen = for_training(digits, protocol.training_images, protocol.subset_seed)

        def work() -> None:
            result = measure(
                chosen, combination=self.combination, rounds=self.rounds, steps=self.steps, on_progress=say
            )
            show(render(result), result, self.json)

        return work
