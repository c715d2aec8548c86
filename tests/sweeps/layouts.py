"""Sweeps on some layout of devices and processes; prints digests of their results as JSON.

    python -m tests.sweeps.layouts TASK DEVICES DIRECTORY [COORDINATOR PROCESSES PROCESS]

DEVICES are those of one process.
"""

import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.trainings import TRAININGS
from paramact_jax.sweeps import Training, initialise_distributed, long_sweep, sweep, to_csv

RATES = {"rate": [3.7, 3.8, 3.9]}


def network(key, rate):
    """Regression by a small network: matrix products, reductions, a transcendental function, chaos at the end."""
    inputs, outputs, first, second = jax.random.split(key, 4)
    x, y = jax.random.normal(inputs, (16, 3)), jax.random.normal(outputs, (16,))
    params = [jax.random.normal(first, (3, 8)), jax.random.normal(second, (8,))]

    def loss(params):
        return jnp.mean((jnp.tanh(x @ params[0]) @ params[1] - y) ** 2)

    update = lambda _, params: jax.tree.map(lambda p, g: p - 0.1 * rate * g, params, jax.grad(loss)(params))  # noqa: E731
    w, v = jax.lax.fori_loop(0, 60, update, params)
    orbit = jax.lax.fori_loop(0, 300, lambda _, z: rate * z * (1 - z), jnp.abs(jnp.sin(w.sum() + v.sum())))
    return {"w": w, "loss": loss([w, v]), "orbit": orbit, "good": orbit > 0.5, "zero": -0.0 * v}


TRAINING = Training(
    init=lambda key: {
        "key": key,
        "x": jax.random.uniform(key, (3,)),
        "zero": jnp.float32(-0.0),
        "half": jnp.bfloat16(1),
    },
    step=lambda state, rate: (
        state
        | {
            "key": jax.random.fold_in(state["key"], 1),
            "x": rate * state["x"] * (1 - state["x"]) + 1e-3 * jax.random.uniform(state["key"]),
        }
    ),
    summarise=lambda state: state,
)


def digest(results):
    arrays = (np.ascontiguousarray(results[name].values) for name in sorted(results))
    return hashlib.sha256(b"".join(x.tobytes() for x in arrays)).hexdigest()


def rows(results):
    """The ten seeds that all the runs share."""
    return digest(results.sel(seed=range(40, 50)))


def train(seeds=range(100), **options):
    return long_sweep(TRAINING, seeds, axes=RATES, iterations=50, **options)


def stopped(seeds=range(100), **options):
    """Trials that stop at different times, and a file of what is observed of them."""
    training = dataclasses.replace(TRAINING, observe=lambda state: {"seen": state["x"]}, stop=lambda s: s["x"][0] > 0.9)
    return long_sweep(training, seeds, axes=RATES, iterations=50, observe_every=7, stop_every=5, **options)


def trained(name, seeds, **options):
    """One of the eight trainings that `bench sweeps` times, in the form that it is given by default."""
    training = TRAININGS[name]
    with jax.numpy_rank_promotion("allow"):  # as users have it
        return sweep(training.make(3), seeds, **training.settings, **options)


def trainings(directory):
    """Digests of the same ten seeds of each of the eight trainings."""
    return {name: rows(trained(name, range(30, 120), chunk=50)) for name in TRAININGS}


def same_trials(directory):
    """Digests of the same ten seeds in one company of each kind."""
    return {
        "network": rows(sweep(network, range(200), axes=RATES, chunk=150)),
        "network, fused": rows(sweep(network, range(60), axes=RATES, fused=True)),
        "training": rows(train(chunk=77, iterations_per_call=7)),
        "training, fused": rows(train(range(60), fused=True)),
        "stopped": rows(stopped(chunk=177, iterations_per_call=7)),
        "stopped, fused": rows(stopped(range(60), fused=True)),
    }


def whole(directory):
    """Digests of two sweeps that are stored, or found there."""
    trained = train(directory=Path(directory) / "training", iterations_per_call=10)
    watched = stopped(
        range(70), directory=Path(directory) / "stopped", on_observed=to_csv(Path(directory) / "seen.csv")
    )
    return {
        "stopped": digest(watched),
        "seen": hashlib.sha256((Path(directory) / "seen.csv").read_bytes()).hexdigest(),
        "training": digest(trained),
        "network": digest(sweep(network, range(100), axes=RATES, chunk=100, directory=Path(directory) / "network")),
    }


def interrupted(directory):
    """As `whole`, which ends without a word in the midst of the second part, or after the second call."""

    def end(progress):
        if progress.done >= progress.total * 0.6:
            os._exit(9)

    options = {"chunk": 150, "iterations_per_call": 10, "seconds_between_saves": 0, "on_progress": end}
    if not (Path(directory) / "training").exists():
        train(directory=Path(directory) / "training", **options)
    sweep(network, range(100), axes=RATES, chunk=100, directory=Path(directory) / "network", on_progress=end)
    return {}


def refused(directory):
    """What processes say to a directory that only the first of them can know is not usable."""
    try:
        sweep(network, range(100), rate=3.7, directory=directory)
    except (ValueError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {}


def main():
    task, devices, directory, *distributed = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", int(devices))
    if distributed:
        coordinator, processes, process = distributed
        initialise_distributed(coordinator, int(processes), int(process), timeout=60)
    tasks = {
        "same": same_trials,
        "trainings": trainings,
        "whole": whole,
        "interrupted": interrupted,
        "refused": refused,
    }
    found = tasks[task](directory)
    print(json.dumps({"devices": jax.device_count(), "processes": jax.process_count(), **found}), flush=True)


if __name__ == "__main__":
    main()
