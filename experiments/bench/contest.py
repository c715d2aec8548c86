"""What all benches share: options, contestants, turns, ratios within a round, the machine, and how a result is shown.

The file of each network says how the contestants train it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.study import imports
from experiments.study.environment import environment, version
from experiments.study.imports import at_once
from experiments.study.options import Constraint, Count, check_options
from experiments.study.run_directory import replace
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np

    from experiments.problems.timing import in_turns, seconds_of
    from paramact_jax.sweeps import use_all_cores
    from paramact_jax.sweeps.compiler import has_avx512

CHECKED = 10
"""Iterations after which the contestants' losses are compared."""
NewFile = Annotated[
    Path | None,
    Constraint("a new file in a directory that exists", lambda x: not x.exists() and x.absolute().parent.is_dir()),
]
LABELS = {
    "yardstick": "yardstick",
    "project": "this project",
    "usual": "usual way",
    "usual_sharded": "usual, sharded",
    "one_seed": "one seed",
    "one_seed_one_device": "one seed, one device",
    "seeds_at_once": "seeds at once",
    "pytorch": "PyTorch",
}
"""The contestants by name in a result, in the order of a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(abc.ABC):
    """Base class of the benches; the fields are the options."""

    rounds: Count = 5
    """Measured runs of each contestant."""
    json: NewFile = None
    """File to write the result to, which must not exist."""

    def load(self) -> Any:
        """Loads what is needed to measure; raises ValueError, in one line, if it is missing."""
        return None

    @abc.abstractmethod
    def measure(self, data: Any) -> tuple[dict[str, Any], Iterable[Table]]:
        """Returns the result for JSON, see `shown`, and the tables for people."""

    def prepare(self) -> Callable[[], None]:
        """Checks everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        check_options(self)
        imports.complete()
        use_all_cores()
        data = self.load()

        def work() -> None:
            measured, tables = self.measure(data)
            result = machine_and_versions(len(jax.devices("cpu"))) | measured
            print(shown(result, tables))
            write(self.json, result)

        return work


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to train networks, ready to run.

    Attributes:
      name: one of `LABELS`.
      what: what it is, for people.
      train: trains from the initial params and returns the seconds of the training alone.
      losses: returns the losses of its networks after `CHECKED` iterations, or before and after, for a comparison.
      trials: how many networks it trains, the first ones.
      iterations: how many `train` makes.
      compile_seconds: spent before the first training; None where nothing is compiled.
    """

    name: str
    what: str
    train: Callable[[], float]
    losses: Callable[[], np.ndarray]
    trials: int
    iterations: int
    compile_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Unit:
    """The number that is measured of an iteration, how it is shown, and its targets.

    Attributes:
      name: its name in a result.
      title: the title of its table.
      ratios: pairs of contestants whose numbers within a round are compared, such as "usual / project".
      of: turns the microseconds of an iteration of one network into the number.
      targets: each a text, ratios, and a condition on the least of the ratios that are measured.
      form: the format of the number.
      note: a note below the table.
    """

    name: str
    title: str
    ratios: Sequence[str]
    of: Callable[[float], float]
    targets: Sequence[tuple[str, Sequence[str], Callable[[float], bool]]] = ()
    form: str = ",.0f"
    note: str = ""


Race = tuple[str, Unit, list[Contestant]]
"""An activation, a unit, and contestants that train the same networks with it."""


def hold(
    races: Iterable[Race],
    rounds: int,
    *,
    differ: Callable[[np.ndarray, np.ndarray], bool],
    skipped: Mapping[str, str | None],
    parameters: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Table]]:
    """Times contestants in turns, one race after the other, on the CPU.

    Args:
      races: in their order. The totals and targets are those of the first race's unit.
      rounds: measured runs of each contestant.
      differ: says whether the losses of a contestant differ from those of the first contestant.
      skipped: why contestants are left out, by name; None for those that take part.
      parameters: the conditions.

    Returns:
      `parameters`, `contestants`, `rows`, `total`, `targets`; and the tables. A row has `activation`, under the unit's
      name the spread of the rounds by contestant, their `ratios`, and `compile_seconds`.

    Raises:
      RuntimeError: if contestants do not train the same networks.
    """
    rows: list[dict[str, Any]] = []
    units: dict[str, Unit] = {}
    about: dict[str, Any] = {name: {"skipped": why} for name, why in skipped.items() if why}
    with jax.default_device(jax.devices("cpu")[0]):
        for activation, unit, contestants in races:
            check_same(activation, contestants, differ)
            say(f"{activation}, {unit.name}: {rounds + 1} runs of each")
            rows.append({"activation": activation, **race(unit, contestants, rounds)})
            units[unit.name] = unit
            told = {x.name: {"what": x.what, "trials": x.trials, "iterations": x.iterations} for x in contestants}
            about = told | about
    whole = total(rows, next(iter(units.values())))
    result = {"parameters": {"rounds": rounds, **parameters}, "contestants": about, "rows": rows, "total": whole}
    result["targets"] = [
        target(text, min((whole["ratios"][x]["median"] for x in pairs if x in whole["ratios"]), default=None), holds)
        for text, pairs, holds in next(iter(units.values())).targets
    ]
    return result, [table for unit in units.values() for table in _tables(result, unit)]


def check_same(
    activation: str, contestants: Sequence[Contestant], differ: Callable[[np.ndarray, np.ndarray], bool]
) -> None:
    """Raises RuntimeError if the losses of a contestant differ from those of the first contestant."""
    reference = contestants[0].losses()
    for contestant in contestants[1:]:
        if differ(losses := contestant.losses(), reference):
            raise RuntimeError(
                f"{activation}: expected {contestant.name} and {contestants[0].name} to train the same networks, got "
                f"losses of {losses} and {reference}; their times cannot be compared"
            )


def compiled(
    name: str,
    what: str,
    build: Callable[[], Callable[[int], Any]],
    losses: Callable[[Callable[[int], Any]], np.ndarray],
    trials: int,
    iterations: int,
) -> Contestant:
    """Compiles a contestant.

    `build` compiles a function that makes a number of iterations from the initial params. `losses` takes that function.
    """
    begin = time.perf_counter()
    after = build()
    seconds = time.perf_counter() - begin
    train = functools.partial(seconds_of, functools.partial(after, iterations))
    return Contestant(name, what, train, functools.partial(losses, after), trials, iterations, seconds)


def microseconds(contestants: Sequence[Contestant], rounds: int) -> dict[str, list[float]]:
    """Measures the microseconds of an iteration of one network, by contestant and round; see `in_turns`."""
    seconds = in_turns({x.name: x.train for x in contestants}, rounds)
    return {x.name: [1e6 * s / x.iterations / x.trials for s in seconds[x.name]] for x in contestants}


def race(unit: Unit, contestants: Sequence[Contestant], rounds: int) -> dict[str, Any]:
    """Measures one row of a result."""
    times = microseconds(contestants, rounds)
    by_round = {name: [unit.of(x) for x in times[name]] for name in LABELS if name in times}
    return {
        unit.name: {name: spread(values) for name, values in by_round.items()},
        "ratios": _ratios(by_round, unit),
        "compile_seconds": {x.name: x.compile_seconds for x in contestants if x.compile_seconds is not None},
    }


def total(rows: Sequence[Mapping[str, Any]], unit: Unit) -> dict[str, Any]:
    """Sums over the rows of a unit: the medians, and each round, for the ratios within a round."""
    rows = [row for row in rows if unit.name in row]
    names = rows[0][unit.name]
    medians = {name: sum(row[unit.name][name]["median"] for row in rows) for name in names}
    by_round = {name: np.sum([row[unit.name][name]["rounds"] for row in rows], 0).tolist() for name in names}
    found = _ratios(by_round, unit)
    for pair in found:
        of, to = pair.split(" / ")
        found[pair]["of_sums"] = medians[of] / medians[to]
    seconds = {name: sum(row["compile_seconds"][name] for row in rows) for name in rows[0]["compile_seconds"]}
    return {unit.name: medians, "ratios": found, "compile_seconds": seconds}


def only_one(devices: Sequence[Any]) -> str | None:
    """Says why contestants that need several CPU devices are left out; None if there are several."""
    return None if len(devices) > 1 else "there is one CPU device"


def without_pytorch(activations: Sequence[str] = (), *, asked_for: bool = True) -> str | None:
    """Says why PyTorch cannot take part; None if it can."""
    if not asked_for:
        return "not asked for"
    if importlib.util.find_spec("torch") is None:
        return 'not installed (pip install -e ".[bench]")'
    unknown = [name for name in activations if name not in pytorch().FUNCTIONS]
    return f"not written in PyTorch here: {', '.join(unknown)}" if unknown else None


def pytorch() -> Any:
    """Imports the module of PyTorch's contestants, which needs torch."""
    return importlib.import_module("experiments.bench.pytorch")


def say(line: str) -> None:
    """Prints a line about the progress."""
    print(line, file=sys.stderr)


def write(path: Path | None, result: Mapping[str, Any]) -> None:
    """Writes a result as JSON, if a file was asked for."""
    if path is not None:
        replace(path, json.dumps(result, indent=2).encode() + b"\n")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Sums up measured rounds for a result."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "rounds": list(values)}


def ratios(of: Sequence[float], to: Sequence[float]) -> dict[str, Any]:
    """Sums up the ratios within a round, which a machine that drifts distorts least."""
    return spread([x / y for x, y in zip(of, to, strict=True)])


def target(text: str, value: float | None, holds: Callable[[float], bool], **more: str) -> dict[str, Any]:
    """Returns a target, the number measured (None without one), and whether the target is met."""
    return {"target": text, "value": value, "met": None if value is None else bool(holds(value)), **more}


def machine_and_versions(cores: int) -> dict[str, Any]:
    """Returns the entries `machine`, `versions` and `commit` of a result; the contestants use `cores` cores."""
    there = environment()
    about = {"cpu": there["processor"], "cores_used": cores, "cores_there": os.cpu_count(), "avx512": has_avx512()}
    packages = {name: there["packages"][name] for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {
        "machine": {**about, "default_backend": jax.default_backend()},
        "versions": {"python": there["python"], **packages, "torch": version("torch")},
        "commit": there["commit"],
    }


def shown(result: Mapping[str, Any], tables: Iterable[Table]) -> str:
    """Writes a result for a terminal: machine, data and tables; contestants and targets, if there are some."""
    machine, data = result["machine"], result.get("parameters", {}).get("data")
    avx512 = "with AVX-512" if machine["avx512"] else "without AVX-512"
    head = f"{machine['cpu']}, {machine['cores_used']} of {machine['cores_there']} cores, {avx512}"
    packages = ", ".join(f"{name} {number}" for name, number in result["versions"].items() if number)
    lines = [f"{head}; {data}" if data else head, f"{packages}\n", *(table.plain() for table in tables)]
    for name, label in LABELS.items():
        if about := result.get("contestants", {}).get(name):
            lines.append(f"{label}: {about['what'] if 'what' in about else 'skipped, ' + about['skipped']}")
    for x in result.get("targets", []):
        value = "" if x["value"] is None else f" ({x['value']:.2f}{', ' + x['where'] if 'where' in x else ''})"
        lines.append(f"{x['target']}: { ({True: 'met', False: 'NOT met', None: 'not measured'}[x['met']]) }{value}")
    return "\n".join(lines)


def _ratios(by_round: Mapping[str, Sequence[float]], unit: Unit) -> dict[str, dict[str, Any]]:
    sides = {pair: pair.split(" / ") for pair in unit.ratios}
    return {pair: ratios(*(by_round[x] for x in both)) for pair, both in sides.items() if set(both) <= set(by_round)}


def _tables(result: Mapping[str, Any], unit: Unit) -> Iterable[Table]:
    """Yields the numbers of a unit, their ratios within a round, and the seconds to compile."""
    rows = [row for row in result["rows"] if unit.name in row]
    total = [{"activation": "total", **result["total"]}] if len(rows) > 1 else []

    def table(title: str, entry: str, text: Callable[[float], str], note: str = "") -> Table:
        def written(found: Any) -> str:  # the spread of the rounds, or a sum
            spread = isinstance(found, dict)
            return f"{text(found['median'])} ({text(found['min'])}-{text(found['max'])})" if spread else text(found)

        names = list(rows[0][entry])
        headings = [" / ".join(LABELS[x] for x in name.split(" / ")) for name in names]
        cells = [[row["activation"], *(row[entry][name] for name in names)] for row in [*rows, *total]]
        if entry == "ratios" and total:
            cells.append(["sums of medians", *(total[0][entry][name]["of_sums"] for name in names)])
        return Table(title, ["activation", *(Column(x, written) for x in headings)], cells, note)

    note = f"Median of {result['parameters']['rounds']} rounds, in brackets the least and the most. {unit.note}"
    yield table(unit.title, unit.name, lambda x: format(x, unit.form), note.strip())
    if rows[0]["ratios"]:
        yield table("The same as ratios within a round", "ratios", lambda x: f"{x:.2f}" if x < 10 else f"{x:,.0f}")
    yield table("Seconds to compile, not in the numbers above", "compile_seconds", lambda x: f"{x:.1f}")
