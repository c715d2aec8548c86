"""`bench sweeps`: sweeps by the number of trials and devices, by every way to run trials, and with early stops."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.bench.contest import Measurement, say
from experiments.problems.xor10.protocol import PROTOCOLS, Protocol
from experiments.study.imports import at_once
from experiments.study.options import Constraint, Count
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import xarray as xr

    from experiments.bench import forms
    from experiments.bench.trainings import TRAININGS, logistic_regression
    from experiments.problems.timing import in_turns, seconds_of
    from experiments.problems.xor10.train import settings_for, training
    from paramact_jax.sweeps import Plan, Training, long_sweep, sweep
    from paramact_jax.sweeps.devices import trial_mesh
    from paramact_jax.training import Settings

Part = Literal["trials", "trainings", "stopping"]
TRIALS = (128, 1_024, 10_240, 102_400)
"""Multiples of 64 trials on each of 2 devices: calls are filled up to that."""
DEVICES = (1, 2)
ITERATIONS = 3_000
EVERY = 1_000
"""Iterations between two checks whether a trial stops."""
MARGIN = 0.1
"""A trial stops below this share of the threshold. One that has just reached the threshold may leave it again."""
_RISING = Constraint("rising numbers >= 1", lambda x: bool(x) and x[0] >= 1 and list(x) == sorted(set(x)), whole=True)
_SOME = Constraint("some of trials, trainings, stopping", bool, whole=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchSweeps(Measurement):
    """Measure sweeps: against the number of trials and devices, by every way to run trials, and with early stops.

    The numbers of trials are 128 to 102,400, those of devices 1 and 2. The trainings are written as users write them,
    and the default of pa.sweep is compared with jit(vmap), jit(lax.map) and every form of a sweep. On the default
    backend. Early stops are those of XOR(10). About 10 minutes on 2 cores. Prints tables, and writes nothing but the
    file that --json names. Example:
    python -m experiments bench sweeps --parts trainings --trainings deep CNN --rounds 5
    """

    rounds: Count = 3
    """Times that each size, or each training by each contestant, is measured."""
    parts: Annotated[tuple[Part, ...], _SOME] = ("trials", "trainings", "stopping")
    """Which of the three to measure."""
    trials: Annotated[tuple[int, ...], _RISING] = TRIALS
    """Numbers of trials; multiples of 128 are not filled up."""
    trainings: tuple[str, ...] = ()
    """Parts of the names of the trainings to run (default: all)."""
    small: bool = False
    """Whether to run a few iterations of 8 trials of each training only, to see that all of them run."""

    def load(self) -> Any:
        """Returns the trainings with the parts of names that are asked for, each once; all if none is asked for."""
        found = []
        for part in self.trainings:
            names = [name for name in TRAININGS if part.lower() in name.lower()]
            if len(names) != 1:
                raise ValueError(f"--trainings: expected a part of one of {', '.join(TRAININGS)}; got {part}")
            found += names
        chosen = [TRAININGS[name] for name in dict.fromkeys(found or TRAININGS)]
        return [training.small() for training in chosen] if self.small else chosen

    def measure(self, data: Any) -> tuple[dict[str, Any], list[Table]]:
        """Measures each part, which has its own entries and table."""
        result: dict[str, Any] = {"rounds": self.rounds}
        tables = []
        if "trials" in self.parts:
            result |= {"rows": by_size(self.trials, self.rounds), "iterations": ITERATIONS}
            tables.append(sizes_table(result))
        if "trainings" in self.parts:
            result |= forms.measure(data, rounds=self.rounds)
            tables.append(forms.table(result))
        if "stopping" in self.parts:
            result |= {"stopping": stopping(self.rounds, small=self.small)}
            tables.append(stopping_table(result["stopping"]))
        return result, tables


def by_size(sizes: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """Measures the median of `rounds` sweeps for each number of trials and devices, compilation not included."""
    rows, training = [], logistic_regression(ITERATIONS)
    for count in (n for n in DEVICES if n <= len(jax.devices())):
        mesh = trial_mesh(jax.devices()[:count])
        for trials in sizes:
            plans: list[Plan] = []
            options: dict[str, Any] = {"learning_rate": 0.1, "mesh": mesh, "on_plan": plans.append}
            once = functools.partial(sweep, training, range(trials), **options)
            once()
            seconds = statistics.median(seconds_of(once) for _ in range(rounds))
            of = {"microseconds_per_trial": seconds / trials * 1e6, "bytes": plans[0].bytes_per_device * count}
            rows.append({"devices": count, "trials": trials, **of})
            say(f"{count} devices, {trials} trials: {seconds:.3f} s")
    return rows


def sizes_table(result: Mapping[str, Any]) -> Table:
    """Shows each row, and how it compares with the row before it of the same number of devices."""
    rows, cells = result["rows"], []
    for i, row in enumerate(rows):
        before = rows[i - 1] if i and rows[i - 1]["devices"] == row["devices"] else None
        pace = before and row["microseconds_per_trial"] / before["microseconds_per_trial"]
        more = before and (row["bytes"] - before["bytes"]) / (row["trials"] - before["trials"])
        each = row["microseconds_per_trial"]
        cells.append([row["devices"], row["trials"], each, pace, row["bytes"] / 1e3, more])
    return Table(
        f"A logistic regression of {result['iterations']:,} iterations, swept over seeds",
        [
            "devices",
            Column("trials", ","),
            Column("microseconds a trial", ".1f"),
            Column("times the row before", ".2f"),
            Column("kB", ",.0f"),
            Column("bytes for each trial more", ".1f"),
        ],
        cells,
        "Whole calls of sweep, compilation not included; bytes as the compiled program says, on all devices.",
    )


def stop(state: dict[str, Any], settings: Settings) -> Any:
    """Returns whether a trial of XOR(10) has converged or diverged."""
    loss = state["now"].loss
    return ~jnp.isfinite(loss) | (loss < MARGIN * settings.threshold)


def stopping(rounds: int, *, small: bool = False) -> dict[str, Any]:
    """Measures the processor time that XOR(10) saves when trials that have converged or diverged stop.

    Times are medians of `rounds` sweeps of each activation with and without stops, in turns, without compilation.
    `small` takes only a few trials of one activation for a few iterations.
    """
    protocol, every = PROTOCOLS["recovered"], EVERY
    if small:
        every, protocol = 10, dataclasses.replace(protocol, seeds=8, steps=20, activations=("tanh",))
    rows: list[dict[str, Any]] = []
    for name, record in protocol.records().items():
        whole = training(record)
        settings = {**settings_for(protocol, record), "iterations_per_call": every}
        stops = {**settings, "stop_every": every}
        ways = {
            "whole": functools.partial(_swept, whole, protocol, settings),
            "stopped": functools.partial(_swept, dataclasses.replace(whole, stop=stop), protocol, stops),
        }
        times = in_turns(ways, rounds)
        seconds = {way: statistics.median(x[1] for x in found) for way, found in times.items()}
        converged = {way: int((times[way][0][0]["loss"] < protocol.threshold).sum()) for way in ways}
        made = float(times["stopped"][0][0]["iterations"].mean())
        rows.append({"activation": name, "converged": converged, "seconds": seconds, "iterations": made})
        say(f"{name}: {seconds['whole']:.2f} s, {seconds['stopped']:.2f} s with stops")
    return {"rows": rows, "trials": protocol.seeds, "iterations": protocol.steps, "every": every}


def _swept(functions: Training, protocol: Protocol, options: dict[str, Any]) -> tuple[xr.Dataset, float]:
    """Returns the results, and the seconds of processor time of the training alone."""
    begin = [0.0]

    def planned(_: Plan) -> None:
        begin[0] = time.process_time()

    seeds = range(protocol.seeds)
    found = long_sweep(functions, seeds, iterations=protocol.steps, on_plan=planned, **options)
    return found, time.process_time() - begin[0]


def stopping_table(found: Mapping[str, Any]) -> Table:
    """Shows what the stops save."""
    cells = []
    for row in found["rows"]:
        (converged, with_stops), (whole, stopped) = (row[x].values() for x in ("converged", "seconds"))
        saved = 1 - stopped / whole
        cells.append([row["activation"], converged, with_stops, row["iterations"], whole, stopped, saved])
    return Table(
        f"XOR(10), {found['trials']:,} trials of {found['iterations']:,} iterations, stopped or not",
        [
            *("activation", "converged", "with stops", Column("iterations", ",.0f")),
            *(Column("seconds", ".2f"), Column("with stops", ".2f"), Column("saved", ".0%")),
        ],
        cells,
        f"Every {found['every']:,} iterations a trial stops whose loss is below a tenth of the threshold or not "
        "finite. Iterations are the mean of those made with stops; seconds of processor time without compilation.",
    )
