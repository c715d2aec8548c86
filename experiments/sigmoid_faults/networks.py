"""Saturation and one-sided weight gradients in random networks, and in those of XOR(10) before and after training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.problems.xor10.protocol import Protocol
from experiments.problems.xor10.train import train
from paramact_jax.activations import Activation, catalogue
from paramact_jax.gradients import attribute, layer_jacobians
from paramact_jax.gradients.units import SATURATED_BELOW, saturated_share
from paramact_jax.networks import MLP
from paramact_jax.sweeps import Progress, sweep
from paramact_jax.training import cross_entropy

CLASSES = 10
BEFORE, AFTER = "before", "after"

_NETWORKS = {
    "saturated": "share of |dz/dy| < 0.01",
    "flat": "share of |dz/dy| below a hundredth of the activation's steepest slope",
    "one_sign": "share of neurons whose weight gradients, added over the samples, have one sign",
    "one_sign_of_sample": "the same for the gradients of single samples, averaged over these",
    "log_linear": "log of the factor of dy^(layer+1)/dz^(layer+1) on the gradient's norm: type 1",
    "log_activation": "log of the factor of dz^(layer+1)/dy^(layer): type 2",
}
_TRAINED = ("saturated", "one_sign", "one_sign_of_sample")

Variables = dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]


def random_network(
    activation: Activation, *, width: int, depth: int, samples: int
) -> Callable[..., dict[str, jax.Array]]:
    """The function `(key, gain) -> results` of one random classifier, looked at once.

    `depth` hidden layers of `width` nodes, weights N(0, gain^2 / fan_in), no biases, 10 outputs; inputs
    N(0, 1)^width, so that the first layer's are centred, and random labels; mean cross-entropy.

    Returns:
      Arrays (depth,), see `_NETWORKS`.
    """

    def results(key: jax.Array, gain: jax.Array) -> dict[str, jax.Array]:
        input_key, label_key, model_key = jax.random.split(key, 3)

        def kernel_init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
            return gain / shape[0] ** 0.5 * jax.random.normal(key, shape, dtype)

        hidden = [width] * depth
        model = MLP(width, hidden, CLASSES, activation, kernel_init=kernel_init, rngs=nnx.Rngs(params=model_key))
        labels = jax.random.randint(label_key, (samples,), 0, CLASSES)
        x = jax.random.normal(input_key, (samples, width))
        found = attribute(model, x, loss=lambda outputs: cross_entropy(outputs, labels))
        flat_below = SATURATED_BELOW * activation.steepest_slope
        return {
            "saturated": found.units.saturated,
            "flat": jnp.stack([saturated_share(slopes, flat_below) for slopes in layer_jacobians(model, x).slopes]),
            "one_sign": found.units.one_sign,
            "one_sign_of_sample": found.units.one_sign_of_sample,
            "log_linear": found.decay.linear,
            "log_activation": found.decay.activation,
        }

    return results


def untrained(
    activations: Sequence[str],
    gains: Sequence[float],
    *,
    width: int,
    depth: int,
    samples: int,
    seeds: range,
    on_done: Callable[[str], None] = lambda activation: None,
) -> Variables:
    """Random networks of every activation and gain; equal seeds have equal weights up to their scale.

    Args:
      activations: names in the catalogue.
      gains: standard deviations of the weights times sqrt(fan_in).
      width: nodes in every hidden layer, and inputs.
      depth: number of hidden layers.
      samples: inputs that a network is looked at with.
      seeds: of the networks.
      on_done: called after every activation.

    Returns:
      Data variables with the dims activation, gain, seed, layer.
    """
    found = []
    for name in activations:
        network = random_network(catalogue.get(name), width=width, depth=depth, samples=samples)
        found.append(sweep(network, seeds, axes={"gain": gains}, block=1))
        on_done(name)
    return {
        variable: (
            ("activation", "gain", "seed", "layer"),
            np.stack([results[variable].values for results in found]),
            {"description": description},
        )
        for variable, description in _NETWORKS.items()
    }


def trained(
    protocol: Protocol, activations: Sequence[str], *, on_done: Callable[[str], None] = lambda activation: None
) -> Variables:
    """The networks of XOR(10), all trials, before and after training.

    Args:
      protocol: of `experiments.xor10`; its activations do not matter.
      activations: names in the catalogue.
      on_done: called when an activation is trained.

    Returns:
      Data variables with the dims activation, trial, look, xor_layer.
    """

    def on_progress(name: str, chunk: Progress) -> None:
        if chunk.done == chunk.total:
            on_done(name)

    protocol = dataclasses.replace(protocol, activations=tuple(activations))
    found = train(protocol, gradients_every=protocol.iterations, on_progress=on_progress)
    return {
        f"xor_{variable}": (
            ("activation", "trial", "look", "xor_layer"),
            np.stack([np.moveaxis(result.gradients[variable], 0, 1) for result in found.values()]),
            {"description": f"XOR(10): {_NETWORKS[variable]}"},
        )
        for variable in _TRAINED
    }
