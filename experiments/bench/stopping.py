"""Processor time that XOR(10) saves when trials that have converged or diverged stop."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.machine import machine_and_versions
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.problems.xor10.train import settings_for, training
from experiments.study.tables import Table
from paramact_jax.sweeps import Plan, Training, long_sweep
from paramact_jax.training import Settings

EVERY = 1_000
"""Iterations between two questions whether a trial stops."""
MARGIN = 0.1
"""A trial stops below such a share of the threshold: one that has just reached the threshold may leave it again."""


def stop(state: dict[str, Any], settings: Settings) -> Any:
    """Whether a trial of XOR(10) has converged or diverged."""
    loss = state["now"].loss
    return ~jnp.isfinite(loss) | (loss < MARGIN * settings.threshold)


def measure(
    *, rounds: int, on_progress: Callable[[str], None], small: bool = False, every: int = EVERY
) -> dict[str, Any]:
    """Medians of `rounds` sweeps of each activation with and without stops, compilation not included.

    Args:
      rounds: how many.
      on_progress: told of every activation.
      small: whether to train a few trials of one activation for a few iterations only.
      every: iterations between two questions.
    """
    protocol = PROTOCOLS["recovered"]
    if small:
        protocol = dataclasses.replace(protocol, seeds=8, steps=20, activations=("tanh",))
        every = 10
    rows: list[dict[str, Any]] = []
    for name, record in protocol.records().items():
        whole = training(record)
        ways: dict[str, tuple[Training, dict[str, Any]]] = {
            "whole": (whole, {}),
            "stopped": (dataclasses.replace(whole, stop=stop), {"stop_every": every}),
        }
        found: dict[str, Any] = {}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds + 1):  # the first compiles
            for way, (functions, options) in ways.items():
                begin = [0.0]

                def planned(_: Plan, begin: list[float] = begin) -> None:
                    begin[0] = time.process_time()

                found[way] = long_sweep(
                    functions,
                    range(protocol.trials),
                    iterations=protocol.iterations,
                    iterations_per_call=every,
                    on_plan=planned,
                    **options,
                    **settings_for(protocol, record),
                )
                seconds[way].append(time.process_time() - begin[0])
        converged = {way: int((x["loss"] < protocol.threshold).sum()) for way, x in found.items()}
        rows.append(
            {
                "activation": name,
                "converged": converged,
                "seconds": {way: statistics.median(times[1:]) for way, times in seconds.items()},
                "iterations": float(found["stopped"]["iterations"].mean()),
            }
        )
        on_progress(f"{name}: {rows[-1]['seconds']['whole']:.2f} s, {rows[-1]['seconds']['stopped']:.2f} s with stops")
    conditions = {"trials": protocol.trials, "iterations": protocol.iterations, "every": every}
    return {"stopping": {"rows": rows, **conditions}, **machine_and_versions(len(jax.devices()))}


def render(result: dict[str, Any]) -> str:
    """The result as a table."""
    found = result["stopping"]
    cells = [
        (
            row["activation"],
            *(str(row["converged"][way]) for way in ("whole", "stopped")),
            f"{row['iterations']:,.0f}",
            *(f"{row['seconds'][way]:.2f}" for way in ("whole", "stopped")),
            f"{1 - row['seconds']['stopped'] / row['seconds']['whole']:.0%}",
        )
        for row in found["rows"]
    ]
    return Table(
        f"XOR(10), {found['trials']:,} trials of {found['iterations']:,} iterations, stopped or not",
        ("activation", "converged", "with stops", "iterations", "seconds", "with stops", "saved"),
        cells,
        note=f"Every {found['every']:,} iterations a trial stops whose loss is below a tenth of the threshold or not "
        "finite. Iterations are the mean of those made with stops; seconds of processor time without compilation.",
    ).plain()
