"""`python -m experiments bench xor10`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time one iteration of 1,024 XOR(10) trials: this project beside other ways to train the same trials.

    The usual way in JAX (vmap of a Flax model, optax, scan), a loop in PyTorch if it is installed, and the yardstick,
    an independent C program, if its path is given. One to two minutes on 2 cores; writes nothing but the JSON asked
    for. Example: python -m experiments bench xor10 --json bench.json
    """

    what: tyro.conf.Positional[Literal["xor10"]]
    """Experiment to time."""
    yardstick: Path | None = None
    """Directory of the yardstick, with xor10.py and xor10.c; needs gcc."""
    json: Path | None = None
    """File to write the result to, which must not exist."""
    rounds: int = 5
    """Measured runs of each contestant."""
    pytorch: bool = True
    """Whether to time PyTorch, if it is installed."""

    def prepare(self) -> Callable[[], None]:
        """Check the arguments; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from paramact_jax.sweeps import use_all_cores

        use_all_cores()
        from experiments.bench.xor10 import check_yardstick, measure, render

        if self.rounds < 1:
            raise ValueError(f"--rounds: expected an integer >= 1, got {self.rounds}")
        if self.json is not None and (self.json.exists() or not self.json.absolute().parent.is_dir()):
            raise ValueError(f"--json: expected a new file in a directory that exists, got {self.json}")
        if self.yardstick is not None:
            check_yardstick(self.yardstick)

        def work() -> None:
            result = measure(
                yardstick=self.yardstick,
                pytorch=self.pytorch,
                rounds=self.rounds,
                on_progress=lambda line: print(line, file=sys.stderr),
            )
            print(render(result))
            if self.json is not None:
                self.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

        return work
