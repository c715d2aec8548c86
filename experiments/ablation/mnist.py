"""The ablation on MNIST."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import xarray as xr

from experiments.ablation.design import NAMES, POINTS, trained_as
from experiments.problems.digits import images_of
from experiments.problems.mnist.protocol import Protocol
from experiments.problems.mnist.train import classifier
from experiments.study.progress import SweepProgress
from paramact_jax.datasets import Digits
from paramact_jax.sweeps import Training, long_sweep

_VARIABLES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
}


def training(base: str, plain: bool, unit: bool, protocol: Protocol, images: int) -> Training:
    """The training of one network, see `Classifier`, of a function at one of `POINTS`."""
    started = dataclasses.replace(protocol, initial_a=1.0 if unit else None)
    whole = classifier(trained_as(base, plain), started, images)

    def step(state: Any, iteration: Any, data: Any, learned: Any, learning_rate: Any) -> Any:
        own = learned * learning_rate
        rates = {"learning_rate": learning_rate, "learning_rate_a": own, "learning_rate_b": own}
        return whole.step(state, iteration, data, **rates)

    return Training(whole.init, step, whole.summarise)


def run(protocol: Protocol, digits: Digits, *, directory: Path, progress: SweepProgress) -> xr.Dataset:
    """All seeds under every condition.

    Args:
      protocol: the conditions of training, already checked.
      digits: flattened images.
      directory: where to go on from after an interruption.
      progress: is told of every call, and of what had been trained before.
    """
    found = long_sweep(
        functools.partial(training, protocol=protocol, images=len(digits.train_labels)),
        range(protocol.first_seed, protocol.first_seed + protocol.seeds),
        iterations=protocol.steps,
        static_axes={"base": protocol.activations},
        points=POINTS,
        static_argnames=("plain", "unit"),
        chunk=protocol.seeds,
        block=1,
        directory=directory / "networks",
        on_plan=progress.planned,
        on_progress=progress.swept,
        learning_rate=protocol.learning_rate,
        data=images_of(digits),
    )
    found = found.drop_vars(POINTS[0]).rename(point="condition").assign_coords(condition=NAMES)
    return xr.Dataset(
        {
            name: found[key].rename({f"{key}_dim_0": "test_step"}).assign_attrs(description=text)
            for name, (key, text) in _VARIABLES.items()
        },
        coords={"test_step": [*range(0, protocol.steps, protocol.test_every), protocol.steps]},
        attrs={"problem": "mnist", "source": digits.source, "synthetic": int(digits.synthetic)},
    )
