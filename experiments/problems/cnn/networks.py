"""The two networks of [A, section 4], and their training images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from experiments.problems import digits as problem
from experiments.problems.cnn.protocol import CLASSES, DENSE_FEATURES, FILTERS, IMAGE_SIDE, Protocol
from paramact_jax.datasets import Digits, balanced_subset, synthetic_mnist
from paramact_jax.layers import parameter_labels
from paramact_jax.networks import CNN, MLP, Params, params_of

PIXELS = IMAGE_SIDE**2


def load(data: str, data_dir: Path | None, training_images: int) -> Digits:
    """Loads MNIST as (n, 28, 28), or a stand-in of twice as many training images as are trained with.

    Raises:
      ValueError: in one line, if there is no such data, it is damaged, or its images do not have MNIST's shape.
    """
    digits = problem.load(data, data_dir, flatten=False)
    shape, classes = digits.train_images.shape[1:], digits.classes
    if (shape, classes) != ((IMAGE_SIDE, IMAGE_SIDE), CLASSES):
        raise ValueError(
            f"--data: expected images of {IMAGE_SIDE} x {IMAGE_SIDE} in {CLASSES} classes for the networks of [A], got "
            f"{' x '.join(map(str, shape))} in {classes}; mnist, relu-family, optimisers and initial-scale take others"
        )
    return synthetic_mnist(2 * training_images, len(digits.test_labels), flatten=False) if digits.synthetic else digits


def for_training(digits: Digits, training_images: int, seed: int) -> Digits:
    """Draws equally many training images of each digit [A, section 4], keeps all test images; raises as `drawn`."""
    chosen = drawn(digits, training_images, seed)
    images, labels = digits.train_images[chosen], digits.train_labels[chosen]
    return dataclasses.replace(digits, train_images=images, train_labels=labels)


def drawn(digits: Digits, total: int, seed: int) -> np.ndarray:
    """Draws training images, the same number of each digit.

    Raises:
      ValueError: in one line, if a digit has too few images.
    """
    try:
        return balanced_subset(digits.train_labels, total=total, seed=seed)
    except ValueError as error:
        raise ValueError(f"--training-images: {error}") from error


def convolutional(combination: str, protocol: Protocol, key: jax.Array) -> CNN:
    """Makes the network of [A, Fig. 10] with filters and weights of deviation 1/sqrt(fan_in) and usual start values.

    The random numbers do not depend on the activations or the sharing.
    """
    conv, dense = combination.split("/")
    return CNN(
        (IMAGE_SIDE, IMAGE_SIDE, 1),
        FILTERS,
        DENSE_FEATURES,
        CLASSES,
        conv_activation=conv,
        dense_activation=dense,
        kernel_size=protocol.kernel_size,
        padding=protocol.padding,
        pooling=protocol.pooling,
        pool_size=protocol.pool_size,
        sharing=protocol.sharing,
        rngs=nnx.Rngs(params=key),
    )


def dense_only(activation: str, key: jax.Array) -> MLP:
    """Makes the network without convolutions [A, Fig. 11], with the same initial weights as `convolutional`.

    [A] does not give its sizes. Here it is that network without its convolutions: 784 pixels, 30 nodes, 10 outputs.
    """
    return MLP(PIXELS, [DENSE_FEATURES], CLASSES, activation, rngs=nnx.Rngs(params=key))


def started(params: Params, weight_scale: ArrayLike, initial_a: ArrayLike) -> Params:
    """Scales all filters and weights, and sets every a to a start value; both numbers may be traced.

    Args:
      params: params with filters and weights of deviation 1/sqrt(fan_in).
      weight_scale: the factor of filters and weights.
      initial_a: the start value of a; NaN: unchanged.
    """

    def start(path: tuple[Any, ...], x: jax.Array, label: str) -> jax.Array:
        if label == "a" and path[-1].key == "a":
            return jnp.where(jnp.isnan(initial_a), x, initial_a).astype(x.dtype)
        return x * weight_scale if path[-1].key == "kernel" else x

    return jax.tree_util.tree_map_with_path(start, params, parameter_labels(params, separate=True))


def ranges(params: Params) -> dict[str, jax.Array]:
    """Returns the smallest and largest a and b of every layer [A, Fig. 14], each (layers,); NaN where it has none."""
    layers = [*(params["convolutional"][i] for i in range(len(FILTERS))), params["dense"]]
    activations = [layer.get("activation", {}) for layer in layers]
    nothing = jnp.array(jnp.nan)
    return {
        f"{name}_{which}": jnp.stack([reduce(own[name]) if name in own else nothing for own in activations])
        for name in ("a", "b")
        for which, reduce in (("smallest", jnp.min), ("largest", jnp.max))
    }


def counts(combination: str, protocol: Protocol) -> dict[str, int]:
    """Counts the parameters of a network: those of activations, and its filters, weights and biases.

    Examples:
      >>> counts("relu/parametric_sigmoid", Protocol())
      {'activations': 60, 'weights': 3032}
    """
    params = jax.eval_shape(lambda key: params_of(convolutional(combination, protocol, key)), jax.random.key(0))
    labels, sizes = jax.tree.leaves(parameter_labels(params)), [x.size for x in jax.tree.leaves(params)]
    weights = sum(size for size, label in zip(sizes, labels, strict=True) if label == "weights")
    return {"activations": sum(sizes) - weights, "weights": weights}
