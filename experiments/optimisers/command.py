"""`python -m experiments optimisers xor10` and `optimisers mnist`."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.optimisers.design import ACTIVATIONS, MNIST_RATES, OPTIMISERS, XOR10_RATES, Protocol
from experiments.problems.digits import Data

if TYPE_CHECKING:
    import xarray as xr

    from experiments.study.progress import SweepProgress


@dataclasses.dataclass(frozen=True)
class OptimisersXor10:
    """On XOR(10): the share of trials that converge, by activation, optimiser and learning rate.

    About 2 minutes on 2 cores. Writes runs/optimisers-xor10-DATE-TIME/: records.nc, run.json, summary.json, report.md,
    tables as CSV and LaTeX, a figure. Example: python -m experiments optimisers xor10 --optimisers sgd adam
    """

    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations."""
    optimisers: tuple[str, ...] = OPTIMISERS
    """Names of the optimisers."""
    rates: tuple[float, ...] = XOR10_RATES
    """Learning rates, of all parameters."""
    seeds: int = 512
    """Trials in each cell, on the same seeds."""
    choosing: int = 256
    """The first so many trials choose each optimiser's learning rate; the others are reported."""
    first_seed: int = 0
    """Trial i has seed first_seed + i, and starts as in `xor10`."""
    steps: int = 10_000
    """Full-batch updates."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory

        protocol = _protocol(self)
        out = run_directory.choose(self.out, "optimisers-xor10")

        def train(progress: SweepProgress) -> xr.Dataset:
            from experiments.optimisers.xor10 import run

            return run(protocol, progress=progress)

        config = dataclasses.asdict(protocol)
        return lambda: _run(out, "optimisers-xor10", protocol, config, train, contextlib.nullcontext())


@dataclasses.dataclass(frozen=True)
class OptimisersMnist:
    """On MNIST with 8 hidden layers: the test loss, by activation, optimiser and learning rate.

    About 17 minutes on 2 cores. Writes runs/optimisers-mnist-DATE-TIME/, as the other. Interrupted, it goes on where it
    was when the same command is given the same --out. Example: python -m experiments optimisers mnist --steps 3000
    """

    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations."""
    optimisers: tuple[str, ...] = OPTIMISERS
    """Names of the optimisers."""
    rates: tuple[float, ...] = MNIST_RATES
    """Learning rates, of all parameters."""
    seeds: int = 7
    """Networks in each cell, on the same seeds."""
    choosing: int = 2
    """The first so many networks choose each optimiser's learning rate, by the loss over a sixth of the training
    images, which is held out; the others are reported."""
    first_seed: int = 0
    """Network i has seed first_seed + i, and starts as in `mnist`."""
    steps: int = 1_000
    """Updates on minibatches of 64."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new runs/optimisers-mnist-DATE-TIME/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.digits import load
        from experiments.study import run_directory

        protocol = _protocol(self)
        out = run_directory.choose(self.out, "optimisers-mnist")
        digits = load(self.data, self.data_dir)
        config = dataclasses.asdict(protocol) | {"data": digits.source}
        run_directory.check_unfinished(out, config)

        def train(progress: SweepProgress) -> xr.Dataset:
            from experiments.optimisers.mnist import run

            return run(protocol, digits, directory=run_directory.kept(out), progress=progress)

        unfinished = run_directory.unfinished(out, config)
        return lambda: _run(out, "optimisers-mnist", protocol, config, train, unfinished)


@dataclasses.dataclass(frozen=True)
class Optimisers:
    """Does a better optimiser rescue the vanishing gradient, or does the activation? Seven optimisers of [R].

    Each at every learning rate; its best is chosen on some of the seeds, and reported on the others.
    """

    what: (
        Annotated[OptimisersXor10, tyro.conf.subcommand("xor10")]
        | Annotated[OptimisersMnist, tyro.conf.subcommand("mnist")]
    )

    def prepare(self) -> Callable[[], None]:
        """As the command it was given."""
        return self.what.prepare()


def _protocol(command: OptimisersXor10 | OptimisersMnist) -> Protocol:
    from paramact_jax.activations import catalogue

    protocol = Protocol(**{field.name: getattr(command, field.name) for field in dataclasses.fields(Protocol)})
    protocol.check()
    for name in protocol.activations:
        catalogue.get(name)
    return dataclasses.replace(protocol, rates=tuple(sorted(protocol.rates)))


def _run(
    out: Path,
    experiment: str,
    protocol: Protocol,
    config: dict[str, Any],
    train: Callable[[SweepProgress], xr.Dataset],
    unfinished: AbstractContextManager[Any],
) -> None:
    from experiments.optimisers import report
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    with unfinished, SweepProgress(protocol.cells(), protocol.steps) as progress:
        records = train(progress).assign_attrs(choosing=protocol.choosing)
        run = run_directory.write(
            out, records, experiment=experiment, config=config, seconds={"total": time.perf_counter() - begin}
        )
    finish(report, run, begin=begin, made="records, tables and figure")
