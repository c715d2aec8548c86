"""The two networks of [A, section 4], and where their activations' parameters stand."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from experiments.problems.cnn.protocol import CLASSES, DENSE_FEATURES, FILTERS, IMAGE_SIDE, Combination, Protocol
from paramact_jax.layers import parameter_labels
from paramact_jax.networks import CNN, MLP, Params, params_of

PIXELS = IMAGE_SIDE**2
LAYERS = (*(f"convolutional {i}" for i in range(1, len(FILTERS) + 1)), "dense")
"""Layers with an activation, in the order of `ranges`."""


def convolutional(combination: Combination, protocol: Protocol, key: jax.Array) -> CNN:
    """The network of [A, Fig. 10], its filters and weights of deviation 1/sqrt(fan_in), activations at their own start.

    The random numbers do not depend on the activations or the sharing.
    """
    conv, dense = combination
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
    """The network without convolutions [A, Fig. 11]: one hidden layer, initial weights as above."""
    return MLP(PIXELS, [DENSE_FEATURES], CLASSES, activation, rngs=nnx.Rngs(params=key))


def started(params: Params, weight_scale: ArrayLike, initial_a: ArrayLike) -> Params:
    """The params with all filters and weights scaled, and every a at a start value; both may be traced.

    Args:
      params: with filters and weights of deviation 1/sqrt(fan_in).
      weight_scale: what they are multiplied by.
      initial_a: start value of a; NaN: as it is.
    """

    def start(path: tuple[Any, ...], x: jax.Array, label: str) -> jax.Array:
        if label == "a" and path[-1].key == "a":
            return jnp.where(jnp.isnan(initial_a), x, initial_a).astype(x.dtype)
        return x * weight_scale if path[-1].key == "kernel" else x

    return jax.tree_util.tree_map_with_path(start, params, parameter_labels(params, separate=True))


def ranges(params: Params) -> dict[str, jax.Array]:
    """Smallest and largest a and b of every layer [A, Fig. 14], each (layers,); NaN where a layer has none."""
    activations = [params["convolutional"][i].get("activation", {}) for i in range(len(FILTERS))]
    activations.append(params["dense"].get("activation", {}))
    nothing = jnp.array(jnp.nan)
    return {
        f"{name}_{which}": jnp.stack([reduce(own[name]) if name in own else nothing for own in activations])
        for name in ("a", "b")
        for which, reduce in (("smallest", jnp.min), ("largest", jnp.max))
    }


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many parameters a network has.

    Attributes:
      activations: of activations.
      weights: filters, weights and biases.
    """

    activations: int
    weights: int


def counts(combination: Combination, protocol: Protocol) -> Counts:
    """The parameters of one network, by kind.

    Examples:
      >>> counts(("relu", "parametric_sigmoid"), Protocol())
      Counts(activations=60, weights=3032)
    """
    params = jax.eval_shape(lambda key: params_of(convolutional(combination, protocol, key)), jax.random.key(0))
    labels = jax.tree.leaves(parameter_labels(params))
    sizes = [x.size for x in jax.tree.leaves(params)]
    weights = sum(size for size, label in zip(sizes, labels, strict=True) if label == "weights")
    return Counts(sum(sizes) - weights, weights)
