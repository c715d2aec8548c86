"""`python -m experiments gradients`."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

from experiments.problems.xor10.protocol import ACTIVATIONS
from experiments.study.option_checks import check_each_once, check_first_seed


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Measure how much of the gradient reaches the first layer of a random network, against its depth.

    For each activation and initial gain: the norm over many seeds with its interval, the prediction of mean-field
    theory, and how much of the decay is due to the weights (type 1) and to the activation (type 2).
    About 50 s on 2 cores. Writes runs/gradients-DATE-TIME/: gradients.png, report.md, table as CSV and LaTeX,
    summary.json, records.nc, run.json.
    Example: python -m experiments gradients --depth 1..50 --activation sigmoid ppns relu --gain 1 1.414
    """

    depth: str = "1..50"
    """Numbers of hidden layers: a range 1..50, or a list 1,2,5,10."""
    activation: tuple[str, ...] = ACTIVATIONS
    """Names of the activations; see `activations`."""
    gain: tuple[float, ...] = (0.7071, 1.0, 1.4142)
    """Standard deviations of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    width: int = 100
    """Nodes in every hidden layer."""
    seeds: int = 100
    """Random networks of each kind."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory
        from paramact_jax.activations import catalogue

        depths = parse_depths(self.depth)
        for name in self.activation:
            catalogue.get(name)
        check_each_once("--activation", self.activation)
        check_each_once("--gain", self.gain)
        for gain in self.gain:
            if not (math.isfinite(gain) and gain > 0):
                raise ValueError(f"--gain: expected finite numbers > 0, got {gain}")
        if self.width < 1:
            raise ValueError(f"--width: expected 1 node or more, got {self.width}")
        if self.seeds < 2:
            raise ValueError(f"--seeds: expected 2 or more, for an interval, got {self.seeds}")
        check_first_seed(self.first_seed, self.seeds)
        out = run_directory.choose(self.out, "gradients")
        return lambda: _run(self, depths, out)


def parse_depths(text: str) -> list[int]:
    """The depths of "1..50" or "1,2,5", in increasing order.

    Raises:
      ValueError: if it is neither, or has a depth below 1.

    Examples:
      >>> parse_depths("2..5"), parse_depths("10,1")
      ([2, 3, 4, 5], [1, 10])
    """
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        depths = list(range(int(found[1]), int(found[2]) + 1))
    elif re.fullmatch(r"\d+(,\d+)*", text):
        depths = sorted({int(part) for part in text.split(",")})
    else:
        depths = []
    if not depths or depths[0] < 1:
        raise ValueError(f"--depth: expected a range like 1..50 or a list like 1,2,5 of depths >= 1, got {text!r}")
    return depths


def _run(command: Gradients, depths: list[int], out: Path) -> None:
    import sys

    from experiments.gradients import report, study
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.startup import start
    from paramact_jax.sweeps import BLOCK

    start()
    begin = time.perf_counter()
    bytes_a_block = 4 * BLOCK * max(depths) * command.width**2
    print(f"weights of {BLOCK} networks at a time: {bytes_a_block / 1e6:.0f} MB a device", file=sys.stderr)
    todo = len(command.activation)
    done = 0

    def on_done(activation: str) -> None:
        nonlocal done
        done += 1
        seconds = time.perf_counter() - begin
        left = seconds / done * (todo - done)
        print(f"{activation}: {done} of {todo}, about {left:.0f} s left", file=sys.stderr)

    records = study.run(
        command.activation,
        command.gain,
        depths,
        width=command.width,
        seeds=range(command.first_seed, command.first_seed + command.seeds),
        on_done=on_done,
    )
    config = {**dataclasses.asdict(command), "depth": depths}
    del config["out"]
    run = run_directory.write(
        out, records, experiment="gradients", config=config, seconds={"total": time.perf_counter() - begin}
    )
    finish(report, run, begin=begin, made="records, table and figure")
