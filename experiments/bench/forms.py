"""Times trainings as users write them, by every way to run their trials."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.contest import ratios, say, spread, target
from experiments.bench.trainings import Training
from experiments.problems.timing import in_turns
from experiments.study.tables import Column, Table
from paramact_jax.sweeps import OverTrials, Plan, sweep, trial_key
from paramact_jax.sweeps.forms import FORMS, Form

VMAP, LAX_MAP, DEFAULT = "jit(vmap)", "jit(lax.map)", "pa.sweep"
DEEP = "deep narrow network"
TO_BEST = 1.1
"""Target: the default takes at most this many times the seconds of the best other way, in every training."""
DEEP_CPU = 0.25
"""Target: the default takes at most this many times the CPU seconds of jit(vmap) in the deep narrow network."""
TOLERANCE = 0.1
"""Relative difference up to which two medians over trials are the same. Rounding makes only few trials fork."""
FORKED = 1e-3
"""Relative difference from which a trial's result is said to have forked."""

Contestants = dict[str, Callable[[], Any]]


def contestants_of(training: Training, told: dict[str, Any]) -> Contestants:
    """Returns all ways to run the trials, as functions that return the results with a leading axis of trials.

    The first call of each compiles. The default is a call of `sweep` as users make it. It traces the function in each
    call, since what the function reads may have changed; the other contestants are traced once.

    Args:
      training: the training of each trial.
      told: gets the `form` of the default's last call, and its `tracing`: seconds and CPU seconds before it ran.
    """
    seeds = np.arange(training.trials, dtype=np.uint32)
    settings = jax.tree.map(lambda x: np.asarray(x, jnp.result_type(x)), dict(training.settings))

    def one(seed: Any, settings: Any) -> Any:
        return training.fn(trial_key(seed), **settings)

    def in_form(form: Form) -> Callable[[], Any]:
        over = OverTrials(one, form=form)
        placed, shared = over.place(seeds), over.share(settings)
        return lambda: over.collect(over(placed, shared, trials=training.trials), training.trials)

    def default() -> dict[str, Any]:
        begin, begin_cpu = time.perf_counter(), time.process_time()

        def planned(plan: Plan) -> None:
            tracing = time.perf_counter() - begin, time.process_time() - begin_cpu
            told.update(form=plan.form, tracing=tracing)

        dataset = sweep(training.fn, range(training.trials), on_plan=planned, **training.settings)
        return {str(name): variable.values for name, variable in dataset.items()}

    on_device = jnp.asarray(seeds)
    vmapped = jax.jit(jax.vmap(one, in_axes=(0, None)))
    mapped = jax.jit(lambda seeds, settings: jax.lax.map(lambda seed: one(seed, settings), seeds))
    return {
        VMAP: lambda: jax.device_get(vmapped(on_device, settings)),
        LAX_MAP: lambda: jax.device_get(mapped(on_device, settings)),
        **{name: in_form(form) for name, form in FORMS.items()},
        DEFAULT: default,
    }


def measure(trainings: Iterable[Training], *, rounds: int) -> dict[str, Any]:
    """Measures the seconds of every training by every contestant, in turns, compilation not included."""
    rows = []
    for training in trainings:
        told: dict[str, Any] = {}
        rows.append(race(training, contestants_of(training, told), rounds, told))
        found = rows[-1]["contestants"].items()
        say(f"{training.name}: " + ", ".join(f"{name} {x['seconds']['median']:.2f} s" for name, x in found))
    return {"trainings": rows, "targets": targets(rows)}


def race(training: Training, contestants: Contestants, rounds: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """Measures the row of one training: seconds, CPU seconds and compile seconds by contestant.

    The first call of each contestant compiles. Its compile seconds are what that call takes longer than a later one. If
    the first call fails, the contestant is left out, with the reason.

    Raises:
      RuntimeError: if the results of two contestants are not those of the same training.
    """
    first: dict[str, float] = {}
    results: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    for name, run in contestants.items():
        begin = time.perf_counter()
        try:
            results[name] = np.asarray(run()[training.result])
        except Exception as error:  # XLA's errors have no common public type
            skipped[name] = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            continue
        first[name] = time.perf_counter() - begin
    same = _check_same(training, results)

    def timed(name: str) -> tuple[float, float]:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        contestants[name]()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        tracing, tracing_cpu = told.get("tracing", (0.0, 0.0)) if name == DEFAULT else (0.0, 0.0)
        return seconds - tracing, cpu_seconds - tracing_cpu

    taken = in_turns({name: functools.partial(timed, name) for name in results}, rounds, warm_up=False)
    wall, cpu = ({name: [both[i] for both in times] for name, times in taken.items()} for i in (0, 1))
    best, best_cpu = (min(times.keys() - {DEFAULT}, key=lambda x: statistics.median(times[x])) for times in (wall, cpu))

    def default_to(times: Mapping[str, Sequence[float]], reference: str) -> dict[str, Any] | None:
        return ratios(times[DEFAULT], times[reference]) if {DEFAULT, reference} <= set(times) else None

    return {
        "training": training.name,
        "what": training.what,
        "trials": training.trials,
        "iterations": training.iterations,
        "contestants": {
            name: {
                "seconds": spread(wall[name]),
                "cpu_seconds": spread(cpu[name]),
                "compile_seconds": max(0.0, first[name] - statistics.median(wall[name])),
                "median_result": float(np.median(results[name])),
                "same_trials": same[name],
            }
            for name in results
        },
        "skipped": skipped,
        "form": told.get("form", ""),
        "tracing_seconds": told.get("tracing", (0.0, 0.0))[0],
        "best": best,
        "default_to_best": default_to(wall, best),
        "default_to_best_cpu": default_to(cpu, best_cpu),
        "default_to_vmap_cpu": default_to(cpu, VMAP),
    }


def targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the targets of all trainings, and that of the deep narrow network."""
    to_best = max((row["default_to_best"]["median"] for row in rows if row["default_to_best"]), default=None)
    deep = [row["default_to_vmap_cpu"] for row in rows if row["training"] == DEEP and row["default_to_vmap_cpu"]]
    text = f"{DEEP}: default at most {DEEP_CPU} of the CPU seconds of jit(vmap)"
    return [
        target(f"default at most {TO_BEST} times the best of the others", to_best, lambda x: x <= TO_BEST),
        target(text, deep[0]["median"] if deep else None, lambda x: x <= DEEP_CPU),
    ]


def table(result: Mapping[str, Any]) -> Table:
    """Shows seconds by contestant, and in the note which contestants were left out."""
    rows = result["trainings"]
    there = {name for row in rows for name in (*row["contestants"], *row["skipped"])}
    names = [name for name in (VMAP, LAX_MAP, *FORMS, DEFAULT) if name in there]

    def seconds(row: Mapping[str, Any], name: str) -> str:
        found = row["contestants"].get(name)
        return f"{found['seconds']['median']:.2f} / {found['cpu_seconds']['median']:.2f}" if found else "-"

    cells = []
    for row in rows:
        to_best = f"{row['default_to_best']['median']:.2f} ({row['best']})" if row["default_to_best"] else "-"
        times = [seconds(row, name) for name in names]
        cells.append([row["training"], row["trials"], *times, to_best, row["form"], row["tracing_seconds"]])
    notes = [
        f"Medians of {result['rounds']} rounds, in turns. Best: of the others. Not included are compilation and the "
        f"seconds of tracing that a call of {DEFAULT} begins with, which the last column has.",
        *(f"-: {row['training']}, {name}: {why}" for row in rows for name, why in row["skipped"].items()),
    ]
    columns: list[str | Column] = [
        "training",
        Column("trials", ","),
        *names,
        f"{DEFAULT} / best",
        "its form",
        Column("tracing", ".2f"),
    ]
    title = "Trainings as users write them: seconds / CPU seconds of all trials"
    return Table(title, columns, cells, "\n".join(notes))


def _check_same(training: Training, results: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns, by contestant, the share of trials with the results of the first contestant."""
    (first, reference), *_ = results.items()
    for name, values in results.items():
        if not np.isclose(np.median(values), np.median(reference), rtol=TOLERANCE, atol=1e-6):
            raise RuntimeError(
                f"{training.name}: expected {name} and {first} to train the same, got medians of {training.result} of "
                f"{np.median(values):g} and {np.median(reference):g}; their times cannot be compared"
            )
    return {
        name: float(np.isclose(values, reference, rtol=FORKED, atol=1e-6).mean()) for name, values in results.items()
    }
