"""`python -m experiments sigmoid-faults`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from experiments.problems.xor10.protocol import PROTOCOLS, Protocol
from experiments.study.option_checks import check_first_seed, check_positive

ACTIVATIONS = ("sigmoid", "pn_sigmoid", "tanh", "relu", "ppns", "parametric_tanh")


@dataclasses.dataclass(frozen=True)
class SigmoidFaults:
    """Measure the three faults of the sigmoid [B2]: saturation, values that are not zero-centred, the cost of exp.

    Saturated units and one-sided weight gradients by layer, in random networks of several initial gains and in those
    of XOR(10) before and after training; the zig-zag of two weights; the cost of an element and of a training step.
    About 1 minute on 2 cores. Writes runs/sigmoid-faults-DATE-TIME/: records.nc, run.json, summary.json, report.md,
    tables as CSV and LaTeX, saturation.png, one_sign.png, zigzag.png.
    Example: python -m experiments sigmoid-faults --gain 0.7071 1 1.4142 --also elu softsign
    """

    also: tuple[str, ...] = ()
    """Names of activations to look at beside the six that the statements are about; see `activations`."""
    gain: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """Standard deviations of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    width: int = 100
    """Nodes in every hidden layer of the random networks."""
    depth: int = 10
    """Hidden layers of the random networks."""
    samples: int = 64
    """Inputs that each random network is looked at with."""
    seeds: int = 100
    """Random networks of each kind."""
    trials: int = 500
    """Trials of XOR(10) of each activation."""
    iterations: int = 10_000
    """Full-batch updates of XOR(10)."""
    starts: int = 1_000
    """Goals that two weights go to."""
    first_seed: int = 0
    """Network, trial and start i have seed first_seed + i."""
    rounds: int = 3
    """Races of the functions, and three times as many rounds of the training steps."""
    steps: int = 100
    """Training steps in each of these rounds."""
    small: bool = False
    """Whether to time one function on the smallest arrays, and two networks, to see that everything runs."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory
        from paramact_jax.activations import catalogue

        for name in self.also:
            catalogue.get(name)
        if len(set(self.also)) < len(self.also) or set(self.also) & set(ACTIVATIONS):
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"--also: expected each name once, and none of {known}, got {list(self.also)}")
        check_positive("--gain", self.gain)
        fewest = {"width": 1, "depth": 2, "samples": 1, "seeds": 2, "trials": 2, "iterations": 1, "starts": 2}
        for field, least in (fewest | {"rounds": 1, "steps": 1}).items():
            if getattr(self, field) < least:
                raise ValueError(f"--{field}: expected {least} or more, got {getattr(self, field)}")
        check_first_seed(self.first_seed, max(self.seeds, self.trials, self.starts))
        protocol = dataclasses.replace(
            PROTOCOLS["recovered"], seeds=self.trials, steps=self.iterations, first_seed=self.first_seed
        )
        protocol.check()
        out = run_directory.choose(self.out, "sigmoid-faults")
        return lambda: _run(self, protocol, out)

    def of(self, number: int) -> range:
        """So many seeds."""
        return range(self.first_seed, self.first_seed + number)


def _run(command: SigmoidFaults, protocol: Protocol, out: Path) -> None:
    import sys

    import xarray as xr

    from experiments.sigmoid_faults import costs, networks, report, zigzag
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    seconds: dict[str, float] = {}

    def say(line: str) -> None:
        print(f"{time.perf_counter() - begin:.0f} s: {line}", file=sys.stderr)

    def through(part: str) -> None:
        seconds[part] = time.perf_counter() - begin - sum(seconds.values())
        say(f"{part} took {seconds[part]:.0f} s ({len(seconds)} of 4)")

    activations = (*ACTIVATIONS, *command.also)
    data = networks.untrained(
        activations,
        command.gain,
        width=command.width,
        depth=command.depth,
        samples=command.samples,
        seeds=command.of(command.seeds),
        on_done=lambda name: say(f"random networks, {name}"),
    )
    through("random networks")
    data |= networks.trained(protocol, activations, on_done=lambda name: say(f"XOR(10), {name}"))
    through("XOR(10)")
    data |= zigzag.descents(ACTIVATIONS, command.of(command.starts))
    through("ways of two weights")
    elements, element_labels = costs.per_element(command.rounds, say, small=command.small)
    steps, step_labels = costs.whole_step(costs.ROUNDS_A_RACE * command.rounds, command.steps, small=command.small)
    through("costs")
    records = xr.Dataset(
        data | elements | steps,
        coords={
            "activation": list(activations),
            "gain": list(command.gain),
            "seed": list(command.of(command.seeds)),
            "layer": range(1, command.depth + 1),
            "trial": list(command.of(command.trials)),
            "look": [networks.BEFORE, networks.AFTER],
            "xor_layer": range(1, data["xor_saturated"][1].shape[-1] + 1),
            "inputs": list(ACTIVATIONS),
            "descent": [zigzag.POINT_BY_POINT, zigzag.FULL_BATCH],
            "start": list(command.of(command.starts)),
            **element_labels,
            **step_labels,
        },
    )
    config = dataclasses.asdict(command)
    del config["out"]
    seconds["total"] = time.perf_counter() - begin
    run = run_directory.write(out, records, experiment="sigmoid-faults", config=config, seconds=seconds)
    finish(report, run, begin=begin, made="records, tables and figures")
