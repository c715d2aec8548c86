"""XOR(10): this project beside an independent C program, the usual way in JAX, and PyTorch.

All train the same trials from the same initial params under the recovered protocol, on the same cores.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from experiments.bench.contest import check_same_problem, race
from experiments.bench.lineup import Lineup, without_pytorch
from experiments.bench.machine import machine_and_versions
from experiments.bench.report import render
from experiments.bench.summary import Row, summarise
from experiments.bench.yardstick import LANES, check_yardstick, load
from experiments.problems.xor10.protocol import ACTIVATIONS, PROTOCOLS
from paramact_jax.activations import catalogue

__all__ = ["check_yardstick", "measure", "render"]


def measure(
    *,
    yardstick: Path | None,
    pytorch: bool,
    trials: int = 1024,
    rounds: int = 5,
    iterations: int = 1000,
    activations: tuple[str, ...] = ACTIVATIONS,
    on_progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Time all contestants in turns, activation by activation.

    Args:
      yardstick: see `check_yardstick`; None: without it.
      pytorch: whether to time PyTorch, if it is installed.
      trials: trials of each activation; a multiple of 16 and of the number of CPU devices.
      rounds: measured runs of each contestant.
      iterations: of a run; the usual way's and PyTorch's make fewer.
      activations: names of [P, Table 5].
      on_progress: called with a line for people when another part begins.

    Returns:
      A dict for JSON: `machine`, `versions`, `commit`, `parameters`, `contestants` (what each is, or why it was
      skipped), `rows` (one an activation: microseconds of one iteration of all trials, ratios by round, seconds to
      compile), `totals` and `targets`.

    Raises:
      ValueError: for a number that cannot be used, an activation that is not in [P, Table 5], or as
        `check_yardstick` does.
      RuntimeError: if the contestants do not train the same networks.
      OSError: if the yardstick cannot be built.
    """
    cpus = jax.devices("cpu")
    _check(trials, rounds, iterations, activations, len(cpus))
    protocol = dataclasses.replace(PROTOCOLS["recovered"], seeds=trials, activations=activations)
    program = None
    if yardstick is not None:
        on_progress("building the yardstick")
        program = load(yardstick, threads=len(cpus))
    lineup = Lineup(protocol, iterations, cpus, program, without_pytorch(pytorch))

    rows = []
    with jax.default_device(cpus[0]):
        for i, name in enumerate(activations):
            on_progress(f"{name} ({i + 1} of {len(activations)})")
            contestants = lineup.contestants(catalogue.get(name))
            check_same_problem(name, contestants)
            compile_seconds = {c.name: c.compile_seconds for c in contestants if c.compile_seconds is not None}
            rows.append(Row(name, race(contestants, rounds=rounds, trials=trials), compile_seconds))

    return {
        **machine_and_versions(len(cpus)),
        "parameters": {
            "rounds": rounds,
            "iterations_a_run": iterations,
            "trials": trials,
            **dataclasses.asdict(protocol),
        },
        "contestants": lineup.about(),
        **summarise(rows),
    }


def _check(trials: int, rounds: int, iterations: int, activations: tuple[str, ...], devices: int) -> None:
    multiple = math.lcm(LANES, devices)
    if trials < 1 or trials % multiple:
        raise ValueError(f"expected a number of trials that is a multiple of {multiple}, got {trials}")
    if rounds < 1 or iterations < 1:
        raise ValueError(f"expected rounds and iterations >= 1, got rounds={rounds}, iterations={iterations}")
    if not activations or set(activations) - set(ACTIVATIONS) or len(set(activations)) < len(activations):
        raise ValueError(f"expected some of {', '.join(ACTIVATIONS)}, each once, got {' '.join(activations) or 'none'}")
