"""MNIST with 8 hidden layers by every optimiser at every learning rate."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import xarray as xr

from experiments.optimisers.design import Protocol
from experiments.problems.digits import hold_out, images_of
from experiments.problems.mnist.protocol import PROTOCOLS, layers_of
from experiments.problems.mnist.train import classifier
from experiments.study.progress import SweepProgress
from paramact_jax.datasets import Digits
from paramact_jax.networks import forward
from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.training import cross_entropy
from paramact_jax.training import optimiser as rule_of
from paramact_jax.training.minibatches import Order

_VARIABLES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after the last step"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
    "held_out_loss": ("held_out.loss", "mean cross-entropy over the training images kept back, after the last step"),
}
Data = Mapping[str, jax.Array]
CONDITIONS = PROTOCOLS["recovered"]
"""Initial weights and batches."""


class State(NamedTuple):
    """Where the training of one network stands: its params, what the optimiser keeps, the order of the images."""

    params: Any
    optimiser: Any
    order: Order


def training(activation: str, optimiser: str, images: int) -> Training:
    """One network, scored once, after its last step: on the whole way that would cost more than the training.

    Args:
      activation: its name.
      optimiser: its name.
      images: to train with. They are the setting `data`, see `hold_out`; the other one is a learning rate.
    """
    whole, (records, _) = classifier(activation, CONDITIONS, images), layers_of(activation)

    def init(key: jax.Array) -> State:
        params, order = whole.start(key)
        return State(params, rule_of(optimiser, params, 0.0).init(params), order)

    def step(state: State, iteration: jax.Array, data: Data, learning_rate: jax.Array) -> State:
        order, chosen = whole.batches.draw(state.order, iteration)

        def loss(params: Any) -> jax.Array:
            return cross_entropy(forward(params, data["train_images"][chosen], records), data["train_labels"][chosen])

        rule = rule_of(optimiser, state.params, learning_rate)
        changes, kept = rule.update(jax.grad(loss)(state.params), state.optimiser, state.params)
        return State(optax.apply_updates(state.params, changes), kept, order)

    def summarise(state: State, data: Data) -> dict[str, Any]:
        return {
            part: whole.score(state.params, data[f"{part}_images"], data[f"{part}_labels"])._asdict()
            for part in ("test", "held_out")
        }

    return Training(init, step, summarise)


def run(protocol: Protocol, digits: Digits, *, directory: Path, progress: SweepProgress) -> xr.Dataset:
    """All seeds by every optimiser at every rate, under every activation; a sixth of the training images is held out.

    Args:
      protocol: the conditions, already checked.
      digits: flattened images.
      directory: where to go on from after an interruption.
      progress: is told of every call, and of what had been trained before.
    """
    digits, held_out = hold_out(digits)
    found = long_sweep(
        functools.partial(training, images=len(digits.train_labels)),
        protocol.seed_range(),
        iterations=protocol.steps,
        static_axes={"activation": protocol.activations, "optimiser": protocol.optimisers},
        axes={"learning_rate": protocol.rates},
        chunk=len(protocol.rates) * protocol.seeds,
        directory=directory / "networks",
        on_plan=progress.planned,
        on_progress=progress.swept,
        data=images_of(digits) | held_out,
    )
    return xr.Dataset(
        {name: found[key].assign_attrs(description=text) for name, (key, text) in _VARIABLES.items()},
        attrs={"problem": "mnist", "source": digits.source, "synthetic": int(digits.synthetic)},
    )
