"""The ablation on XOR(10)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr

from experiments.ablation.design import NAMES, POINTS, trained_as
from experiments.problems.xor10 import train as xor10
from experiments.problems.xor10.protocol import Protocol
from experiments.study.progress import SweepProgress
from paramact_jax.activations import catalogue
from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.training import Settings


def training(base: str, plain: bool) -> Training:
    """The training of one trial, see `xor10.train.training`, of a function at one of `POINTS`."""
    record = catalogue.get(trained_as(base, plain))
    whole = xor10.training(record)

    def init(key: jax.Array, unit: jax.Array, std: Any) -> Any:
        starts = {} if plain else {"a": jnp.where(unit, 1.0, record.params["a"])}
        return whole.init(key, std, {**record.params, **starts})

    def step(state: Any, learned: jax.Array, settings: Settings) -> Any:
        return whole.step(state, settings._replace(activation_learning_rate=learned * settings.learning_rate))

    return dataclasses.replace(whole, init=init, step=step)


def run(protocol: Protocol, *, progress: SweepProgress) -> xr.Dataset:
    """All trials under every condition.

    Args:
      protocol: the conditions of training, already checked.
      progress: is told of every chunk of iterations.
    """
    found = long_sweep(
        training,
        range(protocol.first_seed, protocol.first_seed + protocol.trials),
        iterations=protocol.iterations,
        static_axes={"base": protocol.activations},
        points=POINTS,
        static_argnames="plain",
        chunk=protocol.trials,
        iterations_per_call=xor10.CHUNK,
        on_plan=progress.planned,
        on_progress=progress.swept,
        settings=xor10.settings_of(protocol),
        std={"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)},
    )
    found = found.drop_vars(POINTS[0]).rename(point="condition").assign_coords(condition=NAMES)
    loss, reached = found["loss"], found["reached_at"]
    return xr.Dataset(
        {
            "final_loss": loss.assign_attrs(description="mean squared error over the 4 points after the last update"),
            "converged": (loss < protocol.threshold).assign_attrs(description="final_loss < threshold"),
            "reached_at": reached.assign_attrs(description="updates made when first below the threshold; -1: never"),
        },
        attrs={"problem": "xor10", "threshold": protocol.threshold},
    )
