"""`python -m experiments relu-family`."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.digits import Data
from experiments.relu_family.design import ACTIVATIONS, LEARNING_RATES, Conditions

if TYPE_CHECKING:
    from paramact_jax.datasets import Digits


@dataclasses.dataclass(frozen=True)
class ReluFamily:
    """Count the units that die in training on MNIST [B1]: ReLU, Leaky ReLU, PReLU, ELU, ReLU6, Parametric ReLU.

    A unit is dead while its slope is 0 for all of a fixed set of training images: no gradient reaches its weights.
    About 4 minutes on 2 cores. Writes runs/relu-family-DATE-TIME/: records.nc, run.json, summary.json, report.md,
    tables as CSV and LaTeX, dead.png, faint.png, test_loss.png. Interrupted, it goes on where it was when the same
    command is given the same --out. Example: python -m experiments relu-family --learning-rates 0.1 0.5 --seeds 10
    """

    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations; see `activations`."""
    learning_rates: tuple[float, ...] = LEARNING_RATES
    """Learning rates of all params; one training each."""
    seeds: int = 7
    """Networks of each activation and learning rate, on the same seeds."""
    choosing: int = 2
    """The first so many networks choose each activation's learning rate where losses are compared, on a sixth of the
    training images, which is held out; the test losses of the others are compared."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    layers: int = 5
    """Hidden layers."""
    width: int = 100
    """Nodes in every hidden layer."""
    gain: float = 1.0
    """Standard deviation of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    steps: int = 2_000
    """Steps of gradient descent."""
    batch: int = 64
    """Images a step."""
    look_every: int = 50
    """Steps between two looks at the units."""
    test_every: int = 200
    """Steps between two scores of all test images."""
    probes: int = 500
    """Training images, the first ones, that a unit is looked at with."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/relu-family-DATE-TIME/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments import run_directory
        from experiments.digits import hold_out, load

        conditions = Conditions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Conditions)})
        conditions.check()
        out = run_directory.choose(self.out, "relu-family")
        digits, held_out = hold_out(load(self.data, self.data_dir))
        conditions.check(len(digits.train_labels))
        run_directory.check_unfinished(out, _decisive(conditions, digits))
        return lambda: _run(conditions, digits, held_out, out)


def _decisive(conditions: Conditions, digits: Digits) -> dict[str, Any]:
    """What an interrupted run must have in common with the one that goes on with it."""
    config = dataclasses.asdict(conditions) | {"data": digits.source}
    del config["activations"]  # each has a directory of its own
    return config


def _run(conditions: Conditions, digits: Digits, held_out: dict[str, Any], out: Path) -> None:
    from experiments import run_directory
    from experiments.progress import SweepProgress
    from experiments.relu_family import report
    from experiments.relu_family.train import to_dataset, train
    from experiments.reporting.files import finish
    from experiments.startup import start

    start()
    begin = time.perf_counter()
    trained = {}
    iterations = conditions.steps * conditions.seeds * len(conditions.learning_rates)
    with (
        run_directory.unfinished(out, _decisive(conditions, digits)) as kept,
        SweepProgress(len(conditions.activations), iterations) as progress,
    ):
        for name in conditions.activations:
            on_progress = functools.partial(progress.advanced, name)
            trained[name] = train(name, conditions, digits, held_out, directory=kept / name, on_progress=on_progress)
            progress.through(name)
        run = run_directory.write(
            out,
            to_dataset(conditions, trained, digits),
            experiment="relu-family",
            config=dataclasses.asdict(conditions) | {"data": digits.source},
            seconds={"total": time.perf_counter() - begin},
        )
    finish(report, run, begin=begin, made="records, tables and figures")
