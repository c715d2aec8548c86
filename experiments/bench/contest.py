"""A contest: ways to train the same networks, timed in turns. A network's own file says how each trains it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.bench.measurement import LABELS, in_turns, ratios, say, seconds_of, spread
from experiments.study.imports import at_once
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np

CHECKED = 10
"""Iterations after which the contestants' losses are compared."""
ONE_DEVICE = "there is one CPU device"


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to train networks, ready to run.

    Attributes:
      name: one of `LABELS`.
      what: it is, for people.
      train: trains from the initial params and returns the seconds of the training alone.
      losses: of its networks after `CHECKED` iterations, or before and after; to be compared.
      trials: how many networks it trains, the first ones.
      iterations: how many `train` makes.
      compile_seconds: spent before the first training, None where nothing is compiled.
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
    """What is measured of an iteration, and how it is shown.

    Attributes:
      name: in a result.
      title: of its table.
      ratios: (of, to): contestants whose numbers within a round are compared.
      of: the number that some microseconds are, those of an iteration of one network.
      form: of the number.
      note: below the table.
    """

    name: str
    title: str
    ratios: Sequence[tuple[str, str]]
    of: Callable[[float], float]
    form: str = ",.0f"
    note: str = ""


def hold(
    races: Iterable[tuple[str, Unit, list[Contestant]]],
    rounds: int,
    *,
    differ: Callable[[np.ndarray, np.ndarray], bool],
    targets: Callable[[Mapping[str, float]], Sequence[dict[str, Any]]],
    skipped: Mapping[str, str | None],
    parameters: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Table]]:
    """Times contestants in turns, one race after the other, on the CPU.

    Args:
      races: an activation, a unit, and contestants that train the same networks with it.
      rounds: measured runs of each.
      differ: whether the losses of a contestant are not those of the first one.
      targets: of the medians of the ratios over all races in the first unit, as "usual / project".
      skipped: why contestants are left out, by name; None where one is not.
      parameters: the conditions.

    Returns:
      `parameters`, `contestants`, `rows` (`activation`, by the unit's name the spread of the rounds by contestant,
      their `ratios`, `compile_seconds`), `total` (of the rows in the first unit), `targets`; and the tables.

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
    result = {
        "parameters": {"rounds": rounds, **parameters},
        "contestants": about,
        "rows": rows,
        "total": whole,
        "targets": targets({pair: found["median"] for pair, found in whole["ratios"].items()}),
    }
    return result, [table for unit in units.values() for table in _tables(result, unit)]


def check_same(
    activation: str, contestants: Sequence[Contestant], differ: Callable[[np.ndarray, np.ndarray], bool]
) -> None:
    """Raises RuntimeError if a contestant's losses are not those of the first one."""
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
    """A contestant that is compiled here and now.

    `build` compiles the function that makes so many iterations from the initial params; it is given to `losses`.
    """
    found: list[Callable[[int], Any]] = []
    seconds = seconds_of(lambda: found.append(build()))
    (after,) = found

    def train() -> float:
        return seconds_of(lambda: after(iterations))

    return Contestant(name, what, train, lambda: losses(after), trials, iterations, seconds)


def microseconds(contestants: Sequence[Contestant], rounds: int) -> dict[str, list[float]]:
    """Microseconds of an iteration of one network, by contestant and round; see `in_turns`."""
    for contestant in contestants:
        contestant.train()
    seconds = in_turns({x.name: x.train for x in contestants}, rounds)
    return {x.name: [1e6 * s / x.iterations / x.trials for s in seconds[x.name]] for x in contestants}


def race(unit: Unit, contestants: Sequence[Contestant], rounds: int) -> dict[str, Any]:
    """What one row of a result says."""
    times = microseconds(contestants, rounds)
    by_round = {name: [unit.of(x) for x in times[name]] for name in LABELS if name in times}
    return {
        unit.name: {name: spread(values) for name, values in by_round.items()},
        "ratios": _ratios(by_round, unit),
        "compile_seconds": {x.name: x.compile_seconds for x in contestants if x.compile_seconds is not None},
    }


def total(rows: Sequence[Mapping[str, Any]], unit: Unit) -> dict[str, Any]:
    """The sums over the rows of a unit: of the medians, and by round, whose ratios are paired."""
    rows = [row for row in rows if unit.name in row]
    measured = {name: [row[unit.name][name] for row in rows] for name in rows[0][unit.name]}
    medians = {name: sum(x["median"] for x in found) for name, found in measured.items()}
    by_round = {
        name: [sum(values) for values in zip(*(x["rounds"] for x in found), strict=True)]
        for name, found in measured.items()
    }
    found = _ratios(by_round, unit)
    for pair in found:
        of, to = pair.split(" / ")
        found[pair]["of_sums"] = medians[of] / medians[to]
    seconds = {name: sum(row["compile_seconds"][name] for row in rows) for name in rows[0]["compile_seconds"]}
    return {unit.name: medians, "ratios": found, "compile_seconds": seconds}


def without_pytorch(activations: Sequence[str] = (), *, asked_for: bool = True) -> str | None:
    """None if PyTorch can take part, otherwise why not."""
    if not asked_for:
        return "not asked for"
    if importlib.util.find_spec("torch") is None:
        return 'not installed (pip install -e ".[bench]")'
    unknown = [name for name in activations if name not in pytorch().FUNCTIONS]
    return f"not written in PyTorch here: {', '.join(unknown)}" if unknown else None


def pytorch() -> Any:
    """The module of PyTorch's contestants, which needs torch."""
    return importlib.import_module("experiments.bench.pytorch")


def _ratios(by_round: Mapping[str, Sequence[float]], unit: Unit) -> dict[str, dict[str, Any]]:
    there = [(of, to) for of, to in unit.ratios if of in by_round and to in by_round]
    return {f"{of} / {to}": ratios(by_round[of], by_round[to]) for of, to in there}


def _tables(result: Mapping[str, Any], unit: Unit) -> Iterable[Table]:
    """The numbers in a unit, their ratios within a round, and the seconds to compile."""
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
