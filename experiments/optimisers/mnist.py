"""MNIST with 8 hidden layers by every optimiser at every learning rate."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import optax

from experiments.digits import hold_out, images_of
from experiments.mnist.protocol import PROTOCOLS, layers_of
from experiments.mnist.train import classifier
from experiments.optimisers.design import Protocol
from experiments.progress import SweepProgress
from paramact_jax.datasets import Digits
from paramact_jax.networks import forward
from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.training import cross_entropy, optimiser
from paramact_jax.training.minibatches import Order

if TYPE_CHECKING:
    import xarray as xr

_VARIABLES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after the last step"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
    "held_out_loss": ("held_out.loss", "mean cross-entropy over the training images kept back, after the last step"),
}
CONDITIONS = PROTOCOLS["recovered"]
"""Initial weights and batches."""


class State(NamedTuple):
    """Where the training of one network stands: its params, what the optimiser keeps, the order of the images."""

    params: Any
    optimiser: Any
    order: Order


@functools.lru_cache(maxsize=64)
def training(activation: str, optimiser_name: str, images: int) -> Training:
    """One network, scored once, after its last step: on the whole way that would cost more than the training."""
    records, _ = layers_of(activation)
    functions = classifier(activation, CONDITIONS, images)

    def init(key: jax.Array) -> State:
        params, order = functions.start(key)
        return State(params, optimiser(optimiser_name, params, 0.0).init(params), order)

    def step(
        state: State, iteration: jax.Array, train_images: jax.Array, train_labels: jax.Array, learning_rate: jax.Array
    ) -> State:
        order, chosen = functions.batches.draw(state.order, iteration)

        def loss(params: Any) -> jax.Array:
            return cross_entropy(forward(params, train_images[chosen], records), train_labels[chosen])

        rule = optimiser(optimiser_name, state.params, learning_rate)
        changes, kept = rule.update(jax.grad(loss)(state.params), state.optimiser, state.params)
        return State(optax.apply_updates(state.params, changes), kept, order)

    def summarise(
        state: State,
        test_images: jax.Array,
        test_labels: jax.Array,
        held_out_images: jax.Array,
        held_out_labels: jax.Array,
    ) -> dict[str, dict[str, jax.Array]]:
        return {
            "test": functions.score(state.params, test_images, test_labels)._asdict(),
            "held_out": functions.score(state.params, held_out_images, held_out_labels)._asdict(),
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
    found: dict[str, list[Any]] = {name: [] for name in _VARIABLES}
    digits, held_out = hold_out(digits)
    for activation in protocol.activations:
        for optimiser_name in protocol.optimisers:
            shown = f"{activation}, {optimiser_name}"
            results = long_sweep(
                training(activation, optimiser_name, len(digits.train_labels)),
                protocol.seed_range(),
                iterations=protocol.steps,
                axes={"learning_rate": protocol.rates},
                directory=directory / f"{activation}-{optimiser_name}",
                on_progress=functools.partial(progress.advanced, shown),
                **images_of(digits),
                **held_out,
            )
            progress.through(shown)
            for name, (key, _) in _VARIABLES.items():
                found[name].append(results[key].values)
    values = {name: (found[name], description) for name, (_, description) in _VARIABLES.items()}
    return protocol.to_dataset(values, problem="mnist", source=digits.source, synthetic=int(digits.synthetic))
