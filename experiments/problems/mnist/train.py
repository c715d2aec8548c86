"""Trains all networks of one activation; and what several studies say of the scores."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from experiments.problems import timing
from experiments.problems.digits import images_of
from experiments.problems.mnist.protocol import CLASSES, PIXELS, Protocol
from experiments.study.options import seeds_of
from paramact_jax.activations import Activation
from paramact_jax.datasets import Digits
from paramact_jax.networks import MLP, Params, forward, forward_with_values, params_of
from paramact_jax.sweeps import Progress, Training, long_sweep, sweep
from paramact_jax.training import Classifier, Minibatches, cross_entropy

CLOSEUP = 650
"""The last step of the close-up in [P, Fig. 12]."""
_FEWEST_SCORES = 3
"""With fewer scores in the close-up the mean of the curve would depend on the interpolation."""


def rates_of(protocol: Protocol) -> dict[str, Any]:
    """Returns the settings of a training that are learning rates."""
    return {name: getattr(protocol, name) for name in ("learning_rate", "learning_rate_a", "learning_rate_b")}


def model(
    activation: str, protocol: Protocol, key: jax.Array, *, in_features: int = PIXELS, classes: int = CLASSES
) -> MLP:
    """Makes the network of [P, Fig. 11] as an ordinary Flax model, with its initial params.

    The random numbers do not depend on the activation.
    """
    records, trainable = protocol.layers_of(activation)

    def kernel_init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        return protocol.weight_std(activation, *shape) * jax.random.normal(key, shape, dtype)

    return MLP(
        in_features,
        [protocol.width] * protocol.depth,
        classes,
        records,
        initial={"a": protocol.initial_a} if protocol.initial_a is not None and "a" in records[0].params else None,
        trainable=trainable,
        kernel_init=kernel_init,
        rngs=nnx.Rngs(params=key),
    )


def classifier(
    activation: str, protocol: Protocol, images: int, *, in_features: int = PIXELS, classes: int = CLASSES
) -> Classifier:
    """Makes the training of one network, as pure functions; the same functions for other seeds and learning rates.

    Every step notes the smallest and the largest entry of dL/dy^(1) over the minibatch [P, eq. 17].

    Args:
      activation: its name.
      protocol: the conditions.
      images: the number of training images.
      in_features: pixels of an image.
      classes: the number of classes.
    """
    alone = dataclasses.replace(protocol, activations=(activation,), seeds=1, first_seed=0)
    without_rates = dataclasses.replace(alone, learning_rate=1.0, learning_rate_a=1.0, learning_rate_b=1.0)
    return _classifier(activation, without_rates, images, in_features, classes)


@functools.lru_cache(maxsize=64)
def _classifier(activation: str, protocol: Protocol, images: int, in_features: int, classes: int) -> Classifier:
    records, _ = protocol.layers_of(activation)

    def gradient(params: Params, images: jax.Array, labels: jax.Array) -> tuple[Params, dict[str, jax.Array]]:
        def loss(params: Params, added: jax.Array) -> jax.Array:
            return cross_entropy(forward_with_values(params, images, records, added=added)[0], labels)

        by_params, by_first = jax.grad(loss, argnums=(0, 1))(params, jnp.zeros((len(images), protocol.width)))
        return by_params, {"smallest": by_first.min(), "largest": by_first.max()}

    def learned(params: Params) -> dict[str, jax.Array]:
        """Returns the learned parameters of the activations by name, (layers, nodes)."""
        hidden = [params["hidden"][i].get("activation", {}) for i in range(protocol.depth)]
        return {name: jnp.stack([layer[name] for layer in hidden]) for name in hidden[0]}

    return Classifier(
        network=lambda params, inputs: forward(params, inputs, records),
        initial=lambda key: params_of(model(activation, protocol, key, in_features=in_features, classes=classes)),
        batches=Minibatches(images, protocol.batch, protocol.batches),
        steps=protocol.steps,
        scores={"test": protocol.test_every, "train": protocol.train_every},
        optimiser_name=protocol.optimiser,
        gradient=gradient,
        report=learned,
    )


def classifier_of(activation: str, protocol: Protocol, digits: Digits) -> Classifier:
    """Makes the same for these images."""
    return classifier(
        activation,
        protocol,
        len(digits.train_labels),
        in_features=digits.train_images.shape[1],
        classes=digits.classes,
    )


def train(
    activation: str,
    protocol: Protocol,
    digits: Digits,
    *,
    directory: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> xr.Dataset:
    """Trains all seeds of one activation at once; see `Classifier.summarise` for what is returned.

    Args:
      activation: its name.
      protocol: the conditions, already checked.
      digits: flattened images.
      directory: where to resume from after an interruption, see `long_sweep`.
      on_progress: see `long_sweep`.
    """
    return long_sweep(
        classifier_of(activation, protocol, digits),
        seeds_of(protocol),
        iterations=protocol.steps,
        block=1,
        directory=directory,
        on_progress=on_progress,
        data=images_of(digits),
        **rates_of(protocol),
    )


def with_learning(whole: Classifier) -> Training:
    """Adds a setting `learned` to a training: whether a and b are learned, at the rate of the weights."""

    def step(state: Any, iteration: Any, data: Any, learned: Any, learning_rate: Any) -> Any:
        own = learned * learning_rate
        return whole.step(state, iteration, data, learning_rate, learning_rate_a=own, learning_rate_b=own)

    return Training(whole.init, step, whole.summarise)


def steep_slopes(activation: str, protocol: Protocol, digits: Digits) -> np.ndarray:
    """Counts slopes |dz/dy| >= 1 before training, over the nodes of a layer and the first minibatch [P, Fig. 14].

    The slopes are computed in float64. In float32 the slope of Tanh rounds to 1 near 0.

    Returns:
      (seeds, layers).
    """
    records, _ = protocol.layers_of(activation)
    functions = classifier_of(activation, protocol, digits)

    def values(key: jax.Array, train_images: jax.Array) -> jax.Array:
        params, order = functions.start(key)
        _, chosen = functions.batches.draw(order, 0)
        return jnp.stack(forward_with_values(params, train_images[chosen], records)[1])

    y = sweep(values, seeds_of(protocol), block=1, train_images=digits.train_images)["result"].values
    changed = {} if protocol.initial_a is None else {"a": protocol.initial_a}
    return np.stack([_count(record, y[:, layer], changed) for layer, record in enumerate(records)], axis=1)


def seconds_per_step(
    activations: Iterable[str], protocol: Protocol, digits: Digits, *, rounds: int = 5, steps: int = 100
) -> np.ndarray:
    """Measures the wall-clock seconds of one training step of one seed, without scores: (activations, rounds)."""
    networks = [classifier_of(name, protocol, digits) for name in activations]
    settings = {"data": images_of(digits), **rates_of(protocol)}
    return timing.seconds_per_step(networks, protocol.first_seed, settings, rounds=rounds, steps=steps)


def _count(record: Activation, y: np.ndarray, changed: dict[str, float]) -> np.ndarray:
    """Counts slopes >= 1 of a layer in each network, from y (seeds, images, nodes), with some start values changed."""
    starts = {name: changed.get(name, start) for name, start in record.params.items()}
    with jax.enable_x64(True):
        slopes = jax.jit(record.derivative)(jnp.asarray(y, jnp.float64), **starts)
        return np.asarray((jnp.abs(slopes) >= 1).sum((1, 2)))


def early_loss(loss: xr.DataArray) -> xr.DataArray | None:
    """Returns the mean loss over the steps of the close-up; None if it was scored too rarely, or not so far.

    Args:
      loss: by test_step.
    """
    steps = loss["test_step"].values
    last = min(CLOSEUP, int(steps[-1]))
    return mean_loss(loss, last) if (steps <= last).sum() >= _FEWEST_SCORES else None


def mean_loss(loss: xr.DataArray, last: int) -> xr.DataArray:
    """Returns the mean over the steps from 0 to `last`, linear between the steps scored: the trapezoidal rule.

    Args:
      loss: by test_step, from 0 to `last` at least.
      last: a step, scored or not.
    """
    steps = loss["test_step"].values
    inside = loss.sel(test_step=steps[steps <= last])
    if last not in steps:
        after = int(np.searchsorted(steps, last))
        share = (last - steps[after - 1]) / (steps[after] - steps[after - 1])
        there = (1 - share) * loss.isel(test_step=after - 1) + share * loss.isel(test_step=after)
        inside = xr.concat([inside, there.assign_coords(test_step=last)], "test_step")
    return inside.integrate("test_step") / last
