"""The ablation on MNIST."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.ablation.design import CONDITIONS, Condition, trained_as
from experiments.mnist.protocol import Protocol
from experiments.mnist.train import train
from experiments.progress import SweepProgress
from paramact_jax.datasets import Digits
from paramact_jax.training import Schedule

_VARIABLES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
}


def protocol_of(protocol: Protocol, condition: Condition) -> Protocol:
    """The protocol of one condition, from one whose activations are the parametric functions."""
    rate = protocol.learning_rate if condition.learned else 0.0
    return dataclasses.replace(
        protocol,
        activations=tuple(trained_as(base, condition) for base in protocol.activations),
        initial_a=condition.initial_a,
        learning_rate_a=rate,
        learning_rate_b=rate,
    )


def run(protocol: Protocol, digits: Digits, *, directory: Path, progress: SweepProgress) -> xr.Dataset:
    """All seeds under every condition.

    Args:
      protocol: the conditions of training, already checked.
      digits: flattened images.
      directory: where to go on from after an interruption.
      progress: is told of every call, and of what had been trained before.
    """
    found: dict[str, list[Any]] = {name: [] for name in _VARIABLES}
    for base in protocol.activations:
        of_base = []
        for condition in CONDITIONS:
            name = f"{trained_as(base, condition)}: {condition.name}"
            of_base.append(
                train(
                    trained_as(base, condition),
                    protocol_of(protocol, condition),
                    digits,
                    directory=directory / f"{base}-{condition.name.replace(', ', '-')}",
                    on_progress=functools.partial(progress.advanced, name),
                )
            )
            progress.through(name)
        for variable, (key, _) in _VARIABLES.items():
            found[variable].append([results[key].values for results in of_base])
    return xr.Dataset(
        {
            variable: (("base", "condition", "seed", "test_step"), np.array(values), {"description": description})
            for (variable, values), (_, description) in zip(found.items(), _VARIABLES.values(), strict=True)
        },
        coords={
            "base": list(protocol.activations),
            "condition": [condition.name for condition in CONDITIONS],
            "seed": np.arange(protocol.seeds, dtype=np.int64) + protocol.first_seed,
            "test_step": Schedule(protocol.steps, protocol.test_every, protocol.train_every).test_steps,
        },
        attrs={"problem": "mnist", "source": digits.source, "synthetic": int(digits.synthetic)},
    )
