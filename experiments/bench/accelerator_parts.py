"""The parts of `bench accelerator`, each run in a process of its own: `python -m experiments.bench.accelerator_parts`.

A part is given a function that keeps its numbers, as they come, and whether to take tiny sizes.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import lineup, usual
from experiments.bench.contest import Contestant, race
from experiments.bench.machine import machine_and_versions
from experiments.bench.mnist_lineup import Lineup
from experiments.problems.digits import load
from experiments.problems.mnist import protocol as mnist_protocol
from experiments.problems.mnist.train import train as train_digits
from experiments.problems.xor10.protocol import PROTOCOLS, Protocol
from experiments.problems.xor10.train import one_trial, train
from experiments.study.environment import version
from experiments.study.run_directory import replace
from paramact_jax.activations import catalogue
from paramact_jax.datasets import Digits, synthetic_mnist
from paramact_jax.papers import ko2021
from paramact_jax.statistics import holm, two_proportion_p_value
from paramact_jax.sweeps import Progress, choose, sweep, use_all_cores
from paramact_jax.sweeps.arguments import as_arrays
from paramact_jax.sweeps.devices import trial_mesh, usable_cores
from paramact_jax.sweeps.grid import make_grid
from paramact_jax.sweeps.kernels import target_of
from paramact_jax.sweeps.sweep import programs_of
from paramact_jax.sweeps.trials import share, together

ROUNDS = 3
LEVEL = 0.05
"""A row matches unless a test, with Holm's correction over the rows, rejects at this level."""

Put = Callable[..., None]

_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin", "libtpu")
_KEPT = Path(__file__).parents[1] / "results" / "xor10.json"


def info(put: Put, small: bool) -> None:
    """The device, the versions, the error of a float32 product, and the time of a call."""
    found = machine_and_versions(usable_cores())
    found["versions"] |= {name: there for name in _PLUGINS if (there := version(name))}
    put(platform=jax.default_backend(), devices=jax.device_count(), **found)
    x = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    exact = x.astype(np.float64) @ x
    for precision in ("default", "highest"):
        error = np.asarray(jnp.matmul(x, x, precision=precision), np.float64) - exact
        put(**{f"product_error_{precision}": float(np.linalg.norm(error) / np.linalg.norm(exact))})
    add = jax.jit(lambda x: x + 1)
    calls = 200
    for _ in range(2):  # the first time is not counted
        begin, counted = time.perf_counter(), jnp.zeros(())
        for _ in range(calls):
            counted = add(counted)
        jax.block_until_ready(counted)
        seconds = time.perf_counter() - begin
    put(dispatch_microseconds=1e6 * seconds / calls)


def xor10(put: Put, small: bool) -> None:
    """The experiment as it is, twice, and its counts beside those published and those kept of a CPU; then one call."""
    protocol = _xor10_protocol(small)
    put(trials=protocol.trials, iterations=protocol.iterations)
    for which in ("cold", "warm"):
        compile_seconds: dict[str, float] = {}
        begin = time.perf_counter()
        results = train(protocol, on_compiled=compile_seconds.__setitem__)
        wall = time.perf_counter() - begin
        train_seconds = {name: result.seconds for name, result in results.items()}
        put(**{which: {"wall_seconds": wall, "train_seconds": train_seconds, "compile_seconds": compile_seconds}})
        if which == "cold":
            losses = {name: result.loss for name, result in results.items()}
            put(rows=counts({name: x < protocol.threshold for name, x in losses.items()}))
            put(not_finite={name: int((~np.isfinite(x)).sum()) for name, x in losses.items()})
    train_one, settings = one_trial(protocol)
    seconds: list[float] = []
    for _ in range(1 + ROUNDS):  # from the seeds to the results on the host
        told: list[Progress] = []
        axes = {"function": protocol.activations}
        sweep(train_one, range(protocol.trials), axes=axes, on_progress=told.append, **settings)
        seconds.append(told[-1].seconds)
    put(one_call={"seconds": statistics.median(seconds[1:]), "rounds": seconds[1:]})
    put(compiled_call=_compiled_call(protocol))


def _compiled_call(protocol: Protocol) -> dict[str, Any]:
    """The same call alone: from the seeds on the device to the results on the device."""
    train_one, settings = one_trial(protocol)
    grid, shared = make_grid({"function": protocol.activations}, range(protocol.trials)), as_arrays(settings)
    programs = programs_of(train_one, grid, shared)
    mesh = trial_mesh()
    platform, target = mesh.devices.flat[0].platform, target_of(mesh)
    call = together(programs, tuple(choose([program], platform, target=target) for program in programs), mesh)
    trials = call.place([grid.part(part.start, part.stop) for _, part in grid.pieces(range(grid.trials))])
    shared = share(shared, mesh)
    seconds = []
    for _ in range(1 + ROUNDS):
        begin = time.perf_counter()
        jax.block_until_ready(call(trials, shared, trials=[protocol.trials] * len(programs)))
        seconds.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(seconds[1:]), "rounds": seconds[1:], "first": seconds[0]}


def counts(converged: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """By activation: how many trials converged, the counts published and kept, p of both, whether both match.

    Args:
      converged: by activation, of each trial.
    """
    kept = json.loads(_KEPT.read_text(encoding="utf-8"))["summary"]["activations"]
    others = {
        "published": {row.activation: (row.converged, row.trials) for row in ko2021.TABLE_5},
        "kept": {name: (row["converged"], row["trials"]) for name, row in kept.items()},
    }
    rows: dict[str, Any] = {name: {"here": int(x.sum()), "trials": len(x)} for name, x in converged.items()}
    for which, theirs in others.items():
        p_values = [two_proportion_p_value(row["here"], row["trials"], *theirs[name]) for name, row in rows.items()]
        for (name, row), p_value, corrected in zip(rows.items(), p_values, holm(p_values), strict=True):
            row |= {which: theirs[name], f"p_{which}": p_value, f"p_{which}_holm": corrected}
    for row in rows.values():
        row["matches"] = min(row["p_published_holm"], row["p_kept_holm"]) > LEVEL
    return rows


def usual_way(put: Put, small: bool) -> None:
    """The usual way in JAX on the trials of the part xor10: microseconds of an iteration."""
    protocol, devices = _xor10_protocol(small), jax.devices()
    whole = dataclasses.replace(protocol, seeds=-(-protocol.trials // len(devices)) * len(devices))
    initial = lineup.Lineup(whole, 0, devices, None, "not asked for").initial_params
    microseconds: dict[str, float] = {}
    compile_seconds: dict[str, float | None] = {}
    for name in protocol.activations:
        record = catalogue.get(name)
        found = usual.contestant(record, initial(record), whole, 20 if small else 500, devices)
        (times,) = race([found], rounds=ROUNDS, trials=protocol.trials).values()
        microseconds[name], compile_seconds[name] = statistics.median(times), found.compile_seconds
        put(microseconds=microseconds, compile_seconds=compile_seconds)


def mnist(put: Put, small: bool) -> None:
    """Steps per second on digits, products in float32: the program alone, then the experiment with its scores."""
    jax.config.update("jax_default_matmul_precision", "highest")
    digits = _digits(small)
    put(data=digits.source)
    for seeds in (1, 2 if small else 8):
        here = _digits_lineup(digits, seeds, small)
        rate(put, f"program without scores, {_of(seeds)}", here.project("project", seeds, here.devices))
    for seeds in (1, 2 if small else 8):
        steps, every = (20, 10) if small else (1_200, 50)
        protocol = dataclasses.replace(
            _mnist_protocol(seeds), steps=steps, test_every=every, train_every=every if small else 500
        )
        walls, seconds = [], []
        for _ in range(2):  # the second time it finds its programs
            told: list[Progress] = []
            begin = time.perf_counter()
            train_digits("ppns", protocol, digits, on_progress=told.append)
            walls.append(time.perf_counter() - begin)
            seconds.append(told[-1].seconds)
        found = {
            "steps_per_second": steps / seconds[-1],
            "steps": steps,
            "seeds": seeds,
            "seconds": seconds,
            "wall_seconds": walls,
            "compile_seconds": walls[0] - seconds[0],
        }
        put(**{f"experiment with its scores, {_of(seeds)}": found})


def pytorch(put: Put, small: bool) -> None:
    """Steps per second of PyTorch on the same digits, network and minibatches, one seed, products in float32."""
    if missing := lineup.without_pytorch(True):
        put(skipped=missing)
        return
    import torch

    from experiments.bench import pytorch_mnist

    device = "cuda" if torch.cuda.is_available() else "cpu"
    put(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    torch.set_float32_matmul_precision("highest")
    digits = _digits(small)
    here = _digits_lineup(digits, 1, small)
    params, chosen = here.initial_params(), here.batches(here.steps)
    for name, mode in (
        ("eager", None),
        ("torch.compile", "default"),
        ("torch.compile, reduce-overhead", "reduce-overhead"),
    ):
        try:
            trainer = pytorch_mnist.trainer("ppns", params, here.protocol, digits, chosen, device=device, mode=mode)
            rate(put, name, trainer)
        except Exception as error:  # the other ways go on, whatever it was
            put(**{name: {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}})


def rate(put: Put, name: str, contestant: Contestant) -> None:
    """Keep a contestant's steps per second, and the first seed's losses before and after few steps."""
    begin = time.perf_counter()
    contestant.train()
    first = time.perf_counter() - begin
    (times,) = race([contestant], rounds=ROUNDS, trials=contestant.trials).values()
    found: dict[str, Any] = {
        "steps_per_second": 1e6 / statistics.median(times),
        "rounds": [1e6 / microseconds for microseconds in times],
        "steps": contestant.iterations,
        "seeds": contestant.trials,
        "compile_seconds": contestant.compile_seconds,
    }
    if contestant.compile_seconds is None:  # compiled, if at all, within its first training
        found["compile_seconds"] = max(0.0, first - contestant.iterations * statistics.median(times) / 1e6)
    put(**{name: found})
    put(**{name: found | {"losses": contestant.losses()[:, 0].tolist()}})


def _xor10_protocol(small: bool) -> Protocol:
    protocol = PROTOCOLS["recovered"]
    return dataclasses.replace(protocol, seeds=64, steps=60, activations=("ppns", "relu")) if small else protocol


def _mnist_protocol(seeds: int) -> mnist_protocol.Protocol:
    return dataclasses.replace(mnist_protocol.PROTOCOLS["recovered"], seeds=seeds, activations=("ppns",))


def _of(seeds: int) -> str:
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def _digits(small: bool) -> Digits:
    """MNIST if its files are there, otherwise as many synthetic images."""
    if small:
        return synthetic_mnist(640, 100)
    try:
        return load("idx", None)
    except ValueError:
        return synthetic_mnist(60_000, 10_000)


def _digits_lineup(digits: Digits, seeds: int, small: bool) -> Lineup:
    return Lineup("ppns", _mnist_protocol(seeds), digits, jax.devices(), 10 if small else 900)


PARTS: Mapping[str, Callable[[Put, bool], None]] = {
    "info": info,
    "xor10": xor10,
    "usual": usual_way,
    "mnist": mnist,
    "torch": pytorch,
}


def main(name: str, file: Path, limit: int, options: Iterable[str]) -> None:
    """Run one part.

    Args:
      name: of `PARTS`.
      file: to keep its numbers in.
      limit: seconds after which this process ends even if nobody is there any more to end it.
      options: "small", or nothing.
    """
    signal.alarm(limit)
    use_all_cores()
    found: dict[str, Any] = {}

    def put(**values: Any) -> None:
        found.update(values)
        replace(file, json.dumps(found).encode())
        print(f"  {json.dumps(values)}", flush=True)

    put(device=jax.devices()[0].device_kind)
    PARTS[name](put, "small" in options)
    put(finished=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
