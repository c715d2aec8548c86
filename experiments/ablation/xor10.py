"""The ablation on XOR(10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import xarray as xr

from experiments.ablation.design import CONDITIONS, Condition, trained_as
from experiments.xor10.protocol import Protocol
from experiments.xor10.train import train
from paramact_jax.sweeps import Progress


def protocol_of(protocol: Protocol, condition: Condition) -> Protocol:
    """The protocol of one condition, from one whose activations are the parametric functions."""
    return dataclasses.replace(
        protocol,
        activations=tuple(trained_as(base, condition) for base in protocol.activations),
        initial_a=condition.initial_a,
        activation_learning_rate=protocol.learning_rate if condition.learned else 0.0,
    )


def run(protocol: Protocol, *, on_progress: Callable[[str, Progress], None]) -> xr.Dataset:
    """All trials under every condition.

    Args:
      protocol: the conditions of training, already checked.
      on_progress: called with what is trained, after every chunk of it.
    """
    losses, reached = [], []
    for condition in CONDITIONS:

        def report(name: str, chunk: Progress, condition: Condition = condition) -> None:
            on_progress(f"{name}: {condition.name}", chunk)

        trained = train(protocol_of(protocol, condition), on_progress=report)
        losses.append([result.loss for result in trained.values()])
        reached.append([result.reached_at for result in trained.values()])
    loss, reached_at = (np.swapaxes(np.array(values), 0, 1) for values in (losses, reached))
    dims = ("base", "condition", "seed")
    return xr.Dataset(
        {
            "final_loss": (dims, loss, {"description": "mean squared error over the 4 points after the last update"}),
            "converged": (dims, loss < protocol.threshold, {"description": "final_loss < threshold"}),
            "reached_at": (dims, reached_at, {"description": "updates made when first below the threshold; -1: never"}),
        },
        coords={
            "base": list(protocol.activations),
            "condition": [condition.name for condition in CONDITIONS],
            "seed": np.arange(protocol.trials, dtype=np.int64) + protocol.first_seed,
        },
        attrs={"problem": "xor10", "threshold": protocol.threshold},
    )
