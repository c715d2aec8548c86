"""`python -m experiments bench`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated

import tyro

from experiments.bench.accelerator import BenchAccelerator
from experiments.bench.activations import BenchActivations
from experiments.bench.digits import BenchCnn, BenchMnist
from experiments.bench.sweeps import BenchSweeps
from experiments.bench.xor10 import BenchXor10


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
        """Checks the part that was asked for; returns its work."""
        return self.what.prepare()
