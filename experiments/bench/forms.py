"""Trainings as users write them, timed by every way to run their trials."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.contest import PAUSE
from experiments.bench.machine import machine_and_versions
from experiments.bench.trainings import Training
from experiments.study.tables import Table
from paramact_jax.sweeps import OverTrials, Plan, sweep, trial_key
from paramact_jax.sweeps.forms import FORMS, Form

VMAP, LAX_MAP, DEFAULT = "jit(vmap)", "jit(lax.map)", "pa.sweep"
DEEP = "deep narrow network"

TO_BEST = 1.1
"""The default is to take at most this many times the seconds of the best of the others, in every training."""

DEEP_CPU = 0.25
"""The default is to take at most this many times the CPU seconds of jit(vmap) in the deep narrow network."""

TOLERANCE = 0.1
"""Relative difference up to which two medians over trials are the same. Rounding makes single trials fork, not many."""

FORKED = 1e-3
"""Relative difference from which a trial's result is said to have forked."""

Contestants = dict[str, Callable[[], Any]]


class Default:
    """A call of `sweep` as users make it, once compiled.

    Attributes:
      tracing: seconds and CPU seconds of the last call before anything ran. Every call traces the function anew, since
        what it reads may have changed; the other contestants were traced once.
      form: how the trials were carried out.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self.tracing = (0.0, 0.0)
        self.form = ""

    def __call__(self) -> dict[str, Any]:
        """Returns the results of all trials."""
        begin, begin_cpu = time.perf_counter(), time.process_time()

        def planned(plan: Plan) -> None:
            self.tracing = time.perf_counter() - begin, time.process_time() - begin_cpu
            self.form = plan.form

        training = self._training
        dataset = sweep(training.fn, range(training.trials), on_plan=planned, **training.settings)
        return {str(name): variable.values for name, variable in dataset.items()}


def form_contestants(training: Training) -> Contestants:
    """Every form of `OverTrials`, as functions that run all trials; the first call compiles."""

    def contestant(form: Form) -> Callable[[], Any]:
        over = OverTrials(_one(training), form=form)
        seeds = over.place(_seeds(training))
        settings = over.share(_settings(training))
        return lambda: over.collect(over(seeds, settings, trials=training.trials), training.trials)

    return {name: contestant(form) for name, form in FORMS.items()}


def contestants_of(training: Training) -> Contestants:
    """All ways to run the trials, as functions that return the results with a leading axis of trials."""
    one = _one(training)
    seeds, settings = jnp.asarray(_seeds(training)), _settings(training)
    vmapped = jax.jit(jax.vmap(one, in_axes=(0, None)))
    mapped = jax.jit(lambda seeds, settings: jax.lax.map(lambda seed: one(seed, settings), seeds))

    return {
        VMAP: lambda: jax.device_get(vmapped(seeds, settings)),
        LAX_MAP: lambda: jax.device_get(mapped(seeds, settings)),
        **form_contestants(training),
        DEFAULT: Default(training),
    }


def measure(trainings: Iterable[Training], *, rounds: int, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """The seconds of every training by every contestant, in turns within a round, compilation not included."""
    rows = []
    for training in trainings:
        rows.append(race(training, contestants_of(training), rounds))
        on_progress(f"{training.name}: {_summary(rows[-1])}")
    return {"trainings": rows, "targets": targets(rows), "rounds": rounds, **machine_and_versions(len(jax.devices()))}


def race(training: Training, contestants: Contestants, rounds: int) -> dict[str, Any]:
    """The row of one training: seconds, CPU seconds and compile seconds by contestant, and who was not measured.

    The first call of each compiles; what it takes beyond a later one are the compile seconds. A contestant whose
    first call fails is left out, with the reason.

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
        except Exception as error:  # XLA's errors have no common type that is public
            skipped[name] = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            continue
        first[name] = time.perf_counter() - begin
    same = _check_same(training, results)
    wall: dict[str, list[float]] = {name: [] for name in results}
    cpu: dict[str, list[float]] = {name: [] for name in results}
    names = list(results)
    for i in range(rounds):
        for name in [*names[i % len(names) :], *names[: i % len(names)]]:
            time.sleep(PAUSE)
            begin, begin_cpu = time.perf_counter(), time.process_time()
            contestants[name]()
            tracing, tracing_cpu = getattr(contestants[name], "tracing", (0.0, 0.0))
            wall[name].append(time.perf_counter() - begin - tracing)
            cpu[name].append(time.process_time() - begin_cpu - tracing_cpu)
    best = min((name for name in names if name != DEFAULT), key=lambda name: statistics.median(wall[name]))
    return {
        "training": training.name,
        "what": training.what,
        "trials": training.trials,
        "iterations": training.iterations,
        "contestants": {
            name: {
                "seconds": _spread(wall[name]),
                "cpu_seconds": _spread(cpu[name]),
                "compile_seconds": max(0.0, first[name] - statistics.median(wall[name])),
                "median_result": float(np.median(results[name])),
                "same_trials": same[name],
            }
            for name in names
        },
        "skipped": skipped,
        "form": getattr(contestants.get(DEFAULT), "form", ""),
        "tracing_seconds": getattr(contestants.get(DEFAULT), "tracing", (0.0, 0.0))[0],
        "best": best,
        "default_to_best": _ratio(wall, best),
        "default_to_best_cpu": _ratio(cpu, min(set(names) - {DEFAULT}, key=lambda name: statistics.median(cpu[name]))),
        "default_to_vmap_cpu": _ratio(cpu, VMAP),
    }


def targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is to be reached, the number measured (None without one) and whether it is."""
    to_best = max((row["default_to_best"]["median"] for row in rows if row["default_to_best"]), default=None)
    deep = [row["default_to_vmap_cpu"] for row in rows if row["training"] == DEEP and row["default_to_vmap_cpu"]]
    wanted = (
        (f"default at most {TO_BEST} times the best of the others", to_best, TO_BEST),
        (f"{DEEP}: default at most {DEEP_CPU} of the CPU seconds of jit(vmap)", deep and deep[0]["median"], DEEP_CPU),
    )
    return [
        {"target": text, "value": value or None, "met": value <= most if value else None}
        for text, value, most in wanted
    ]


def render(result: Mapping[str, Any]) -> str:
    """The result as a table with its targets, and who was not measured below it."""
    rows = result["trainings"]
    there = {name for row in rows for name in (*row["contestants"], *row["skipped"])}
    names = [name for name in (VMAP, LAX_MAP, *FORMS, DEFAULT) if name in there]
    table = Table(
        "Trainings as users write them: seconds / CPU seconds of all trials",
        ("training", "trials", *names, f"{DEFAULT} / best", "its form", "tracing"),
        [
            (
                row["training"],
                f"{row['trials']:,}",
                *(_cell(row["contestants"].get(name)) for name in names),
                f"{row['default_to_best']['median']:.2f} ({row['best']})" if row["default_to_best"] else "-",
                row["form"],
                f"{row['tracing_seconds']:.2f}",
            )
            for row in rows
        ],
        note=(
            f"Medians of {result['rounds']} rounds, in turns. Best: of the others. Not included are compilation and "
            f"the seconds of tracing that a call of {DEFAULT} begins with, which the last column has."
        ),
    )
    skipped = [f"-: {row['training']}, {name}: {why}\n" for row in rows for name, why in row["skipped"].items()]
    words = {True: "met", False: "NOT met", None: "not measured"}
    reached = [
        f"{target['target']}: {words[target['met']]}" + (f" ({target['value']:.2f})\n" if target["value"] else "\n")
        for target in result["targets"]
    ]
    return "".join([table.plain(), *skipped, *reached])


def _one(training: Training) -> Callable[[Any, Any], Any]:
    return lambda seed, settings: training.fn(trial_key(seed), **settings)


def _seeds(training: Training) -> np.ndarray:
    return np.arange(training.trials, dtype=np.uint32)


def _settings(training: Training) -> dict[str, Any]:
    return jax.tree.map(lambda x: np.asarray(x, jnp.result_type(x)), dict(training.settings))


def _check_same(training: Training, results: Mapping[str, np.ndarray]) -> dict[str, float]:
    """By contestant the share of trials that are those of the first one."""
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


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def _ratio(times: Mapping[str, Sequence[float]], reference: str) -> dict[str, Any] | None:
    """The default's times over those of another in the same round."""
    if DEFAULT not in times or reference not in times:
        return None
    return _spread([own / other for own, other in zip(times[DEFAULT], times[reference], strict=True)])


def _cell(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "-"
    return f"{measured['seconds']['median']:.2f} / {measured['cpu_seconds']['median']:.2f}"


def _summary(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {found['seconds']['median']:.2f} s" for name, found in row["contestants"].items())
