"""The two causes of a gradient's decay: linear maps and activations [P, section 3.1]."""

from __future__ import annotations

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

MINOR_SHARE = 0.1
"""A factor with less than this share of a decay is not one of its causes."""


class Cause(enum.IntEnum):
    """Why a gradient became smaller: the types of [P, section 3.1]."""

    UNDEFINED = -1
    """The gradient was exactly 0 already when it came to this layer, or is not finite on one side of the layer."""
    NONE = 0
    """It did not become smaller."""
    LINEAR = 1
    """Type 1: the linear factor dy/dz = W."""
    ACTIVATION = 2
    """Type 2: the activation's factor dz/dy."""
    BOTH = 3
    """Type 3: both."""


class LayerDecay(NamedTuple):
    """How the gradient changes between the linear maps that all paths pass, with the causes of [P, section 3.1].

    y^(l) is the output of the l-th such map with its bias, l = 1 .. K+1. Norms are taken over all samples and
    nodes together. In a perceptron the factors W^(l+1) and diag(f'(y^(l))) lie between l and l+1. Entry l - 1 of
    `linear`, `activation` and `cause` is for these two factors, l = 1 .. K.

    Attributes:
      log_norm: log ||dL/dy^(l)||, l = 1 .. K+1; -inf where the gradient is exactly 0. All logarithms are natural.
      linear: share of the linear maps, in a perceptron log(||dL/dz^(l+1)|| / ||dL/dy^(l+1)||): type 1.
      activation: share of the activations and other elementwise functions, in a perceptron
        log(||dL/dy^(l)|| / ||dL/dz^(l+1)||): type 2. In a perceptron the two shares add up to
        log_norm[l - 1] - log_norm[l]; in other networks other operations have the rest. The first factor that makes
        the gradient exactly 0 has -inf. The factors after it on the way back are NaN, as there is no gradient left.
      cause: `Cause` of every layer, int32.
      total_cause: `Cause` of the decay from the last affine map to the first, from the sums of both shares.
      non_finite: number of entries of dL/dy^(l) that are infinite or NaN, or beyond the largest number of the model's
        dtype, l = 1 .. K+1, int32.
    """

    log_norm: jax.Array
    linear: jax.Array
    activation: jax.Array
    cause: jax.Array
    total_cause: jax.Array
    non_finite: jax.Array


def causes_of(linear: jax.Array, activation: jax.Array) -> jax.Array:
    """Returns the `Cause` of each change by two logarithmic factors.

    It is NONE if the sum of the factors is not negative. Otherwise each negative factor is a cause, unless it is less
    than a tenth of the sum of the negative ones.

    Args:
      linear: logarithms of the linear factor.
      activation: logarithms of the activation's factor, of the same shape. NaN: no gradient comes to it. inf: the
        gradient is not finite, and its change is undefined.

    Examples:
      >>> [Cause(int(c)).name for c in causes_of(jnp.array([-1.0, 0.5, -2.0]), jnp.array([-1.5, -0.4, -0.1]))]
      ['BOTH', 'NONE', 'LINEAR']
    """
    both = linear + activation
    decays = both < 0
    undefined = jnp.isnan(both) | jnp.isposinf(linear) | jnp.isposinf(activation)
    lost = jnp.minimum(linear, 0) + jnp.minimum(activation, 0)

    def is_cause(factor: jax.Array) -> jax.Array:
        return decays & (factor < 0) & ((factor <= MINOR_SHARE * lost) | jnp.isneginf(factor))

    found = int(Cause.LINEAR) * is_cause(linear) + int(Cause.ACTIVATION) * is_cause(activation)
    # A linear factor of -inf leaves no gradient for the activation, and is the only cause.
    alone = jnp.where(jnp.isneginf(linear), int(Cause.LINEAR), int(Cause.UNDEFINED))
    return jnp.where(undefined, alone, found).astype(jnp.int32)
