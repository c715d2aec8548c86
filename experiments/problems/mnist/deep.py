"""Deep perceptrons with equal hidden layers on images. Their scale, the start value a0 and sigma_w, is a setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.problems.mnist.train import with_learning
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import Digits
from paramact_jax.networks.pure import Params, affine
from paramact_jax.sweeps import Training
from paramact_jax.training import Classifier, Minibatches


def initial(
    record: Activation, key: jax.Array, sizes: tuple[int, int, int, int], a0: Any, weight_std: Any, compensated: Any
) -> Params:
    """Draws the initial params: weights N(0, weight_std^2 / fan_in), biases 0, a = a0, other parameters as recorded.

    The hidden layers from the second on are stacked, (depth - 1, width, width), so that a deep network compiles as
    fast as a shallow one. The random weights depend neither on the activation nor on the settings.

    Args:
      record: the record of the activation, with a parameter a.
      key: the random key of the trial.
      sizes: pixels, width, depth and classes.
      a0: the start value of a.
      weight_std: standard deviation of the weights, in units of 1 / sqrt(fan_in).
      compensated: whether the weights that a0 scales, those of layers 2 to the output, are stored as V = a0 W. A rate
        eta of V is a rate eta / a0^2 of W.
    """
    pixels, width, depth, classes = sizes
    held = jnp.where(compensated, a0, 1.0)

    def kernel(i: int, *shape: int) -> jax.Array:
        return weight_std / math.sqrt(shape[-2]) * jax.random.normal(jax.random.fold_in(key, i), shape)

    starts = dict(record.params) | {"a": a0}
    return {
        "first": {"kernel": kernel(0, pixels, width), "bias": jnp.zeros(width)},
        "hidden": {"kernel": held * kernel(1, depth - 1, width, width), "bias": jnp.zeros((depth - 1, width))},
        "out": {"kernel": held * kernel(2, width, classes), "bias": jnp.zeros(classes)},
        "activation": {name: jnp.full((depth, width), value, float) for name, value in starts.items()},
        "held": held,
    }


def network(record: Activation, params: Params, images: jax.Array) -> jax.Array:
    """Returns outputs (images, classes) for images (images, pixels)."""
    scale = 1 / lax.stop_gradient(params["held"])
    first, others = (jax.tree.map(lambda x, part=part: x[part], params["activation"]) for part in (0, slice(1, None)))

    def activated(y: jax.Array, own: Params) -> jax.Array:
        return record.fn(y, **{name: x[None] for name, x in own.items()})

    def layer(z: jax.Array, own: tuple[Params, Params]) -> tuple[jax.Array, None]:
        linear, activation = own
        return activated(affine(z, scale * linear["kernel"], linear["bias"]), activation), None

    z, _ = lax.scan(layer, activated(affine(images, **params["first"]), first), (params["hidden"], others))
    return affine(z, scale * params["out"]["kernel"], params["out"]["bias"])


def training(
    activation: str, depth: int, *, digits: Digits, width: int, batch: int, steps: int, scores: Sequence[str]
) -> Training:
    """Makes the training of one network by gradient descent, scored after its last step on the sets of `scores`.

    Its settings are a0, weight_std and compensated, see `initial`; `learned`, whether a and b are learned; the
    learning_rate of everything that is learned; and the images, `data`. Its results are those of `Classifier`.
    """
    record = catalogue.get(activation)
    sizes = digits.train_images.shape[1], width, depth, digits.classes
    whole = Classifier(
        network=lambda params, images: network(record, params, images),
        initial=lambda key, a0, weight_std, compensated: initial(record, key, sizes, a0, weight_std, compensated),
        batches=Minibatches(len(digits.train_labels), batch),
        steps=steps,
        scores=dict.fromkeys(scores),
    )
    return with_learning(whole)
