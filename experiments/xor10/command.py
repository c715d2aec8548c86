"""`python -m experiments xor10`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from experiments.problems.xor10.protocol import ACTIVATIONS, PROTOCOLS, Loss, Protocol, ProtocolName
from experiments.study.startup import Processes


@dataclasses.dataclass(frozen=True)
class Xor10:
    """Train every trial of [P, Table 5] and compare the counts: 7 activations x 1,000 trials x 10,000 iterations.

    About 20 s on 2 cores. Writes runs/xor10-DATE-TIME/: records.nc, run.json, summary.json, report.md, tables as CSV
    and LaTeX, convergence.png. Example: python -m experiments xor10 --protocol literal --trials 200
    """

    protocol: ProtocolName = "recovered"
    """Conditions: `recovered` reproduces the published table, `literal` is [P, Table 3] as printed."""
    weight_std: float | None = None
    """Standard deviation of the initial weights (recovered: 0.7071 = 1/sqrt(2), literal: 1)."""
    bias_std: float | None = None
    """Standard deviation of the initial biases (in both protocols: 0)."""
    loss: Loss | None = None
    """Loss whose gradient is followed (recovered: half-mse, literal: mse)."""
    learning_rate: float | None = None
    """Learning rate of weights and biases (in both protocols: 0.05)."""
    activation_learning_rate: float | None = None
    """Learning rate of a and b (default: the learning rate)."""
    initial_a: float | None = None
    """Start value of a (default: 1.5 / steepest slope: 6 for Parametric Sigmoid and PPNS,
    1.5 for Parametric Tanh and Parametric ReLU)."""
    iterations: int = 10_000
    """Full-batch updates."""
    threshold: float = 1e-3
    """A trial has converged if its final mean squared error is below this."""
    trials: int = 1_000
    """Trials of each activation."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    activations: tuple[str, ...] = ACTIVATIONS
    """Names of the activations to train."""
    gradients_every: int = 0
    """Iterations between two looks at the gradients of all trials: where they vanish, and why (0: none)."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""
    machines: Processes = dataclasses.field(default_factory=Processes)

    def resolve(self) -> Protocol:
        """The protocol with all overrides applied."""
        overrides = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(Protocol)
            if getattr(self, field.name) is not None
        }
        if self.learning_rate is not None:
            overrides.setdefault("activation_learning_rate", self.learning_rate)
        return dataclasses.replace(PROTOCOLS[self.protocol], **overrides)

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory
        from experiments.study.startup import start

        protocol = self.resolve()
        protocol.check()
        protocol.records()
        if not 0 <= self.gradients_every <= self.iterations:
            raise ValueError(
                f"--gradients-every: expected an integer within 0..{self.iterations}, got {self.gradients_every}"
            )
        if self.gradients_every and "identity" in self.activations:
            raise ValueError("--gradients-every: expected nonlinear activations to look at, got identity among them")
        self.machines.check()
        out = run_directory.choose(self.out, "xor10")
        writes = start(self.machines)
        return lambda: _run(self, protocol, out if writes else None)


def _run(command: Xor10, protocol: Protocol, out: Path | None) -> None:
    """The work; without a directory, that of a process that does not write."""
    import sys

    from experiments.problems.xor10 import gradients
    from experiments.problems.xor10.train import model, train
    from experiments.study.progress import SweepProgress
    from experiments.study.startup import importing
    from paramact_jax.networks import params_of
    from paramact_jax.training import start

    begin = time.perf_counter()
    compilation: dict[str, float] = {}
    gradients_every = command.gradients_every
    if gradients_every and out is not None:
        models = {name: model(name, 0, weight_std=1, bias_std=0) for name in protocol.activations}
        one = start(params_of(models[protocol.activations[0]]))
        print(gradients.memory(models, one, protocol.iterations, gradients_every, protocol.trials), file=sys.stderr)
    with SweepProgress(protocol.activations, protocol.iterations, quiet=out is None) as progress:

        def on_compiled(activation: str, seconds: float) -> None:
            compilation[activation] = seconds
            progress.compiled(activation, seconds)

        with importing("experiments.problems.xor10.records", "experiments.xor10.report", "h5netcdf"):
            trained = train(
                protocol, gradients_every=gradients_every, on_compiled=on_compiled, on_progress=progress.advanced
            )
    if out is None:
        return
    from experiments.problems.xor10 import records
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.xor10 import report

    run = run_directory.write(
        out,
        records.to_dataset(protocol, trained, gradients_every=gradients_every),
        experiment="xor10",
        config={"protocol": command.protocol, **dataclasses.asdict(protocol), "gradients_every": gradients_every},
        seconds={
            "total": time.perf_counter() - begin,
            "compilation": compilation,
            "training": {activation: result.seconds for activation, result in trained.items()},
        },
    )
    finish(report, run, begin=begin, made="records, tables and figure")
