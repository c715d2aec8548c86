"""The agile convolutional network: training images per second, one seed and five at once, beside a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.bench.contest import CHECKED, Contestant, race
from experiments.bench.lineup import without_pytorch
from experiments.bench.machine import machine_and_versions
from experiments.problems.cnn.protocol import Protocol
from experiments.problems.cnn.train import classifier, conditions
from experiments.problems.digits import images_of
from experiments.study.tables import Table
from paramact_jax.datasets import Digits
from paramact_jax.networks import Params
from paramact_jax.sweeps import OverTrials, trial_key
from paramact_jax.sweeps.arguments import as_arrays
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import FORMS
from paramact_jax.sweeps.storage.state import pack, unpack
from paramact_jax.training import Classifier

SEEDS = 5
STEPS = 100
TOLERANCE = 1e-4
"""Relative difference of the losses before training up to which two networks are the same."""
TOLERANCE_TRAINED = 1e-2
"""Likewise after a few steps: where pixels tie for the largest, PyTorch gives the first of them the whole gradient."""
LABELS = {
    "one_seed_one_device": "one seed, one device",
    "one_seed": "one seed",
    "seeds_at_once": "seeds at once",
    "pytorch": "PyTorch",
}
STARTS = ("weight_scale", "initial_a")
"""Conditions of the initial params."""
_NEVER = 2**31 - 1


def measure(
    images: Digits,
    *,
    combination: str,
    protocol: Protocol | None = None,
    rounds: int = 5,
    steps: int = STEPS,
    on_progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Time all contestants in turns.

    Args:
      images: to train with.
      combination: CONV/DENSE, names of activations.
      protocol: the conditions, by default the experiment's, of SEEDS seeds.
      rounds: measured runs of each contestant.
      steps: of a run.
      on_progress: called with a line for people when another part begins.

    Returns:
      A dict for JSON: `machine`, `versions`, `commit`, `parameters`, `contestants`, `images_per_second` (by
      contestant: least, median, most, all rounds), `targets`.

    Raises:
      RuntimeError: if the contestants do not train the same network.
    """
    protocol = protocol or Protocol(seeds=SEEDS)
    protocol = dataclasses.replace(protocol, training_images=len(images.train_labels))
    cpus, missing = jax.devices("cpu"), without_pytorch(True)
    if missing is None:
        from experiments.bench.pytorch import FUNCTIONS

        if unknown := set(combination.split("/")) - set(FUNCTIONS):
            missing = f"not written in PyTorch here: {', '.join(sorted(unknown))}"
    with jax.default_device(cpus[0]):
        on_progress("compiling")
        functions = _functions(combination, protocol, steps)
        contestants = [_project("one_seed", 1, cpus, functions, protocol, images, steps)]
        if len(cpus) > 1:
            contestants.append(_project("one_seed_one_device", 1, cpus[:1], functions, protocol, images, steps))
        contestants.append(_project("seeds_at_once", protocol.seeds, cpus, functions, protocol, images, steps))
        if missing is None:
            from experiments.bench import pytorch_cnn

            params, chosen = _initial(functions, protocol), _batches(functions, protocol, steps)
            contestants.append(pytorch_cnn.trainer(combination, params, protocol, images, chosen))
        check_same_network(contestants)
        on_progress(f"{rounds + 1} runs of each: {steps} steps, one seed and {protocol.seeds} at once")
        microseconds = race(contestants, rounds=rounds, trials=1)
    rates = {name: [1e6 * protocol.batch / one for one in times] for name, times in microseconds.items()}
    return {
        **machine_and_versions(len(cpus)),
        "parameters": {"rounds": rounds, "steps_a_run": steps, "data": images.source, "combination": combination}
        | dataclasses.asdict(protocol),
        "contestants": {one.name: {"compile_seconds": one.compile_seconds} for one in contestants}
        | ({} if missing is None else {"pytorch": {"skipped": missing}}),
        "images_per_second": {name: _spread(found) | {"rounds": found} for name, found in rates.items()},
        "targets": _targets(rates, protocol.seeds),
    }


def check_same_network(contestants: Sequence[Contestant]) -> None:
    """Raise RuntimeError if a contestant's losses of the first seed are not those of the first contestant.

    Args:
      contestants: their losses are (2, seeds), before the training and after a few steps.
    """
    reference = contestants[0].losses()[:, 0]
    for contestant in contestants[1:]:
        losses = contestant.losses()[:, 0]
        if not (abs(losses - reference) <= np.array([TOLERANCE, TOLERANCE_TRAINED]) * abs(reference)).all():
            raise RuntimeError(
                f"expected {contestant.name} and {contestants[0].name} to train the same network, got losses of "
                f"{losses.tolist()} and {reference.tolist()}; their times cannot be compared"
            )


def render(result: dict[str, Any]) -> str:
    """A result of `measure` for a terminal."""
    parameters, machine = result["parameters"], result["machine"]
    rows = []
    for name, found in result["images_per_second"].items():
        seconds = result["contestants"][name]["compile_seconds"]
        cells = [f"{found[which]:,.0f}" for which in ("median", "min", "max")]
        rows.append([LABELS[name], *cells, "" if seconds is None else f"{seconds:.1f}"])
    table = Table(
        f"Agile CNN, {parameters['combination']}: training images per second",
        ["contestant", "median", "least", "most", "seconds to compile"],
        rows,
        note=f"Rounds, in turns: {parameters['rounds']}; steps of a run: {parameters['steps_a_run']}; seeds at once: "
        f"{parameters['seeds']}, whose images are all counted. No scores, and compilation is not in the rates.",
    )
    words = {True: "met", False: "NOT met", None: "not measured"}
    lines = [
        f"{target['target']}: {words[target['met']]}" + ("" if target["value"] is None else f" ({target['value']:.2f})")
        for target in result["targets"]
    ]
    if "skipped" in result["contestants"].get("pytorch", {}):
        lines.append(f"PyTorch: skipped, {result['contestants']['pytorch']['skipped']}")
    head = f"{machine['cpu']}, {machine['cores_used']} of {machine['cores_there']} cores; {parameters['data']}\n"
    return "\n".join([head, table.plain(), *lines])


def _functions(combination: str, protocol: Protocol, steps: int) -> Classifier:
    """The training, which never scores: runs begin with the second epoch, since scores are due at step 0."""
    found = classifier(combination, protocol)
    return dataclasses.replace(
        found, steps=found.batches.steps_per_epoch + steps, scores={"test": _NEVER, "train": _NEVER}
    )


def _initial(functions: Classifier, protocol: Protocol) -> Params:
    """Initial params of the first seed."""
    given = conditions(protocol)
    params, _ = functions.start(trial_key(protocol.first_seed), **{name: given[name] for name in STARTS})
    return jax.tree.map(np.asarray, params)


def _batches(functions: Classifier, protocol: Protocol, steps: int) -> np.ndarray:
    """Images that the first seed sees in a run, (steps, batch)."""
    given = conditions(protocol)
    _, order = functions.start(trial_key(protocol.first_seed), **{name: given[name] for name in STARTS})
    numbers = functions.batches.steps_per_epoch + jnp.arange(steps, dtype=jnp.int32)
    return np.asarray(lax.scan(functions.batches.draw, order, numbers)[1])


def _project(
    name: str,
    seeds: int,
    devices: Sequence[jax.Device],
    functions: Classifier,
    protocol: Protocol,
    images: Digits,
    steps: int,
) -> Contestant:
    """The program that `long_sweep` makes of the training, compiled, without its saving."""
    mesh, first = trial_mesh(list(devices)), functions.batches.steps_per_epoch

    def init(seed: jax.Array, settings: dict[str, Any]) -> Any:
        return pack(functions.init(trial_key(seed), **{name: settings[name] for name in ("data", *STARTS)}))

    def advance(state: Any, shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
        settings, begin, end = shared
        own = {name: x for name, x in settings.items() if name not in STARTS}
        return lax.fori_loop(begin, end, lambda i, state: pack(functions.step(unpack(state), i, **own)), state)

    over, start = (OverTrials(fn, form=FORMS["a trial at a time"], mesh=mesh) for fn in (advance, init))
    settings = over.share(as_arrays({"data": images_of(images), **conditions(protocol)}))
    state = start(start.place(protocol.first_seed + np.arange(seeds, dtype=np.uint32)), settings)
    begin = time.perf_counter()
    program = over.compile(state, (settings, np.int32(0), np.int32(0)), trials=seeds)
    compile_seconds = time.perf_counter() - begin

    def after(count: int) -> Any:
        return jax.block_until_ready(program(state, (settings, np.int32(first), np.int32(first + count))))

    def train() -> float:
        begin = time.perf_counter()
        after(steps)
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        score = jax.jit(functions.score)
        found = []
        for count in (0, CHECKED):
            params = jax.tree.map(lambda x: x[0], OverTrials.collect(after(count).params, seeds))
            found.append([float(score(params, images.test_images, images.test_labels).loss)])
        return np.array(found)

    return Contestant(name, train, losses, seeds, steps, compile_seconds)


def _targets(rates: dict[str, list[float]], seeds: int) -> list[dict[str, Any]]:
    def ratio(name: str) -> float | None:
        if "pytorch" not in rates:
            return None
        return statistics.median(x / y for x, y in zip(rates[name], rates["pytorch"], strict=True))

    one, many = ratio("one_seed"), ratio("seeds_at_once")
    return [
        {"target": "one seed at least as fast as PyTorch", "value": one, "met": None if one is None else one >= 1},
        {
            "target": f"{seeds} seeds at once faster than PyTorch, one after another",
            "value": many,
            "met": None if many is None else many > 1,
        },
    ]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
