"""Digits: training steps per second of this project, one seed and several at once, beside a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from experiments.bench.contest import Contestant, race
from experiments.bench.machine import machine_and_versions
from experiments.bench.mnist_lineup import Lineup
from experiments.problems.mnist.protocol import PROTOCOLS
from experiments.study.tables import Table
from paramact_jax.datasets import Digits

SEEDS = 8
STEPS = 500
TOLERANCE = 1e-4
"""Relative difference up to which two losses are the same."""

TOLERANCE_OF_CHANGE = 1e-2
"""Likewise of what the first steps change them by."""

TO_PYTORCH = 1.5
"""One seed is to make at least this many times PyTorch's steps per second."""

TO_SINGLE_RUNS = 1.3
"""Seeds at once are to make at least this many times the steps per second of single runs, one after another."""

LABELS = {
    "one_seed": "one seed",
    "one_seed_one_device": "one seed, one device",
    "seeds_at_once": "seeds at once",
    "pytorch": "PyTorch",
    "project": "this project",
}
"""The contestants by their name in a result."""

_RATIOS = (
    ("one_seed", "pytorch"),
    ("one_seed_one_device", "pytorch"),
    ("seeds_at_once", "one_seed"),
    ("seeds_at_once", "one_seed_one_device"),
    ("seeds_at_once", "pytorch"),
)


def measure(
    digits: Digits,
    *,
    activation: str = "ppns",
    rounds: int = 5,
    seeds: int = SEEDS,
    steps: int = STEPS,
    on_progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Time all contestants in turns, first their training, then their scores of all test images.

    Args:
      digits: flattened images.
      activation: name.
      rounds: measured runs of each contestant.
      seeds: networks trained at once.
      steps: of one measured run, at least.
      on_progress: called with a line for people when another part begins.

    Returns:
      A dict for JSON: `machine`, `versions`, `commit`, `parameters`, `contestants` (what each is and its seconds to
      compile, or why it was skipped), `seed_steps_per_second` and `score_milliseconds` (by contestant: least, median,
      most, all rounds), `ratios` (of rates, paired by round; for scores of times), and `targets`.

    Raises:
      ValueError: for a number of rounds, seeds or steps below 1, or an unknown activation.
      RuntimeError: if the contestants do not train the same network.
    """
    if min(rounds, seeds, steps) < 1:
        raise ValueError(f"expected rounds, seeds and steps >= 1, got rounds={rounds}, seeds={seeds}, steps={steps}")
    protocol = dataclasses.replace(PROTOCOLS["recovered"], seeds=seeds, activations=(activation,))
    protocol.check(len(digits.train_labels))
    cpus = jax.devices("cpu")
    with jax.default_device(cpus[0]):
        on_progress("compiling")
        lineup = Lineup(activation, protocol, digits, cpus, steps)
        trainers, scorers = lineup.trainers(), lineup.scorers()
        for contestants in (trainers, scorers):
            check_same_network(activation, contestants)
        on_progress(f"{rounds + 1} runs of each: {lineup.steps} steps, one seed and {seeds} at once")
        microseconds = race(trainers, rounds=rounds, trials=1)
        on_progress(f"scores of {len(digits.test_labels):,} images")
        scores = race(scorers, rounds=rounds, trials=1)
    rates = {name: [1e6 / one for one in times] for name, times in microseconds.items()}
    ratios = [_ratio(of, to, rates) for of, to in _RATIOS if of in rates and to in rates]
    return {
        **machine_and_versions(len(cpus)),
        "parameters": {"rounds": rounds, "steps_a_run": lineup.steps, "data": digits.source, **vars(protocol)},
        "contestants": lineup.about([*trainers, *scorers]),
        "seed_steps_per_second": {name: _spread(found) | {"rounds": found} for name, found in rates.items()},
        "score_milliseconds": {
            name: _spread(found) | {"rounds": found}
            for name, times in scores.items()
            for found in [[one / 1e3 for one in times]]
        },
        "ratios": {
            "rates": ratios,
            "score_times": [_ratio("pytorch", "project", scores)] if "pytorch" in scores else [],
        },
        "targets": _targets(ratios, seeds),
    }


def check_same_network(activation: str, contestants: Sequence[Contestant]) -> None:
    """Raise RuntimeError if a contestant's losses of the first seed are not those of the first contestant.

    What is compared: the losses, and how they change by training, which with some activations is less than the
    tolerance of the losses themselves.

    Args:
      activation: name.
      contestants: their losses are (times, seeds).
    """
    reference = contestants[0].losses()[:, 0]
    for contestant in contestants[1:]:
        losses = contestant.losses()[:, 0]
        same = np.isclose(losses, reference, rtol=TOLERANCE, atol=0).all()
        if not (same and np.isclose(np.diff(losses), np.diff(reference), rtol=TOLERANCE_OF_CHANGE, atol=0).all()):
            raise RuntimeError(
                f"{activation}: expected {contestant.name} and {contestants[0].name} to train the same network, got "
                f"losses of {losses.tolist()} and {reference.tolist()}; their times cannot be compared"
            )


def render(result: dict[str, Any]) -> str:
    """A result of `measure` for a terminal."""
    contestants, parameters = result["contestants"], result["parameters"]
    machine, data = result["machine"], parameters["data"]

    def row(name: str, spread: dict[str, Any], form: str) -> list[str]:
        seconds = contestants[name]["compile_seconds"]
        return [LABELS[name], *_cells(spread, form), "" if seconds is None else f"{seconds:.1f}"]

    def ratio(found: dict[str, Any], what: str) -> list[str]:
        return [f"{what}: {LABELS[found['of']]} / {LABELS[found['to']]}", *_cells(found, ".2f")]

    spread = ["median", "least", "most"]
    tables = [
        Table(
            f"Digits, {parameters['activations'][0]}: training steps of one seed per second",
            ["contestant", *spread, "seconds to compile"],
            [row(name, found, ",.0f") for name, found in result["seed_steps_per_second"].items()],
            note=f"Rounds, in turns: {parameters['rounds']}; steps of a run: {parameters['steps_a_run']}; seeds at "
            f"once: {parameters['seeds']}, whose steps are all counted. Compilation is not in the rates.",
        ),
        Table(
            "A score of all test images: milliseconds",
            ["contestant", *spread, "seconds to compile"],
            [row(name, found, ".1f") for name, found in result["score_milliseconds"].items()],
        ),
        Table(
            "Ratios within a round",
            ["ratio", *spread],
            [
                *(ratio(found, "rates") for found in result["ratios"]["rates"]),
                *(ratio(found, "times of a score") for found in result["ratios"]["score_times"]),
            ],
        ),
    ]
    words = {True: "met", False: "NOT met", None: "not measured"}
    lines = [
        *(
            f"{LABELS[name]}: " + (f"skipped, {about['skipped']}" if "skipped" in about else about["what"])
            for name, about in contestants.items()
        ),
        *(
            f"{target['target']}: {words[target['met']]}"
            + ("" if target["value"] is None else f" ({target['value']:.2f})")
            for target in result["targets"]
        ),
    ]
    head = f"{machine['cpu']}, {machine['cores_used']} of {machine['cores_there']} cores; {data}\n"
    return "\n".join([head, *(table.plain() for table in tables), *lines])


def _targets(ratios: Sequence[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    medians = {(found["of"], found["to"]): found["median"] for found in ratios}
    single = [medians[of, to] for of, to in medians if of == "seeds_at_once" and to != "pytorch"]
    to_pytorch, to_single = medians.get(("one_seed", "pytorch")), min(single)
    return [
        {
            "target": f"one seed at least {TO_PYTORCH:g}x PyTorch",
            "value": to_pytorch,
            "met": None if to_pytorch is None else to_pytorch >= TO_PYTORCH,
        },
        {
            "target": f"{seeds} seeds at once at least {TO_SINGLE_RUNS:g}x {seeds} single runs of the faster kind",
            "value": to_single,
            "met": to_single >= TO_SINGLE_RUNS,
        },
    ]


def _ratio(of: str, to: str, by_round: dict[str, list[float]]) -> dict[str, Any]:
    return {"of": of, "to": to, **_spread([x / y for x, y in zip(by_round[of], by_round[to], strict=True)])}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _cells(spread: dict[str, Any], form: str) -> list[str]:
    return [format(spread[which], form) for which in ("median", "min", "max")]
