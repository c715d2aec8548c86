"""Time and memory of a sweep against the number of trials and of devices."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.bench.machine import machine_and_versions
from experiments.bench.trainings.networks import logistic_regression
from experiments.study.tables import Table
from paramact_jax.sweeps import Plan, sweep
from paramact_jax.sweeps.devices import trial_mesh

DEVICES = (1, 2)
ITERATIONS = 3_000


def measure(*, sizes: Sequence[int], rounds: int, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Medians of `rounds` sweeps for each number of trials and devices, compilation not included."""
    devices = [n for n in DEVICES if n <= len(jax.devices())]
    rows, training = [], logistic_regression(ITERATIONS)
    for count in devices:
        mesh = trial_mesh(jax.devices()[:count])
        for trials in sizes:
            plans: list[Plan] = []

            def once(trials: int = trials, mesh: Any = mesh, plans: list[Plan] = plans) -> float:
                begin = time.perf_counter()
                sweep(training, range(trials), learning_rate=0.1, mesh=mesh, on_plan=plans.append)
                return time.perf_counter() - begin

            once()
            seconds = statistics.median(once() for _ in range(rounds))
            rows.append(
                {
                    "devices": count,
                    "trials": trials,
                    "microseconds_per_trial": seconds / trials * 1e6,
                    "bytes": plans[0].bytes_per_device * count,
                }
            )
            on_progress(f"{count} devices, {trials} trials: {seconds:.3f} s")
    return {"rows": rows, "iterations": ITERATIONS, **machine_and_versions(max(devices))}


def render(result: dict[str, Any]) -> str:
    """The result as a table, each row beside the one before it of the same number of devices."""
    cells = []
    for i, row in enumerate(result["rows"]):
        before = result["rows"][i - 1] if i and result["rows"][i - 1]["devices"] == row["devices"] else None
        more = f"{(row['bytes'] - before['bytes']) / (row['trials'] - before['trials']):.1f}" if before else ""
        pace = f"{row['microseconds_per_trial'] / before['microseconds_per_trial']:.2f}" if before else ""
        cells.append(
            (
                str(row["devices"]),
                f"{row['trials']:,}",
                f"{row['microseconds_per_trial']:.1f}",
                pace,
                f"{row['bytes'] / 1e3:,.0f}",
                more,
            )
        )
    return Table(
        f"A logistic regression of {result['iterations']:,} iterations, swept over seeds",
        ("devices", "trials", "microseconds a trial", "times the row before", "kB", "bytes for each trial more"),
        cells,
        note="Whole calls of sweep, compilation not included; bytes as the compiled program says, on all devices.",
    ).plain()
