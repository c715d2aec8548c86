"""The two causes of a gradient's decay: linear maps and activations [P, section 3.1]."""

from __future__ import annotations

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

MINOR_SHARE = 0.1
"""A factor that makes up less than this share of a decay is not among its causes."""


class Cause(enum.IntEnum):
    """Why a gradient became smaller: the types of [P, section 3.1]."""

    UNDEFINED = -1
    """The gradient was exactly 0 before this layer already, or it is not finite before it or behind it."""
    NONE = 0
    """It did not become smaller."""
    LINEAR = 1
    """Type 1: the linear factor dy/dz = W."""
    ACTIVATION = 2
    """Type 2: the activation's factor dz/dy."""
    BOTH = 3
    """Type 3: both."""


class Decay(NamedTuple):
    """What happens to the gradient between linear maps that all paths pass: the causes of [P, section 3.1].

    y^(l) is the output of the l-th of these maps with its bias, l = 1 .. K+1. Norms are taken over all samples and
    nodes together. In a perceptron the factors W^(l+1) and diag(f'(y^(l))) lie between l and l+1; entry l - 1 of
    `linear`, `activation` and `cause` is about these two, l = 1 .. K.

    Attributes:
      log_norm: log ||dL/dy^(l)||, l = 1 .. K+1; -inf where the gradient is exactly 0. All logarithms are natural.
      linear: share of the linear maps, in a perceptron log(||dL/dz^(l+1)|| / ||dL/dy^(l+1)||): type 1.
      activation: share of the activations and other elementwise functions, in a perceptron
        log(||dL/dy^(l)|| / ||dL/dz^(l+1)||): type 2. In a perceptron the two add up to log_norm[l - 1] - log_norm[l];
        elsewhere the rest is that of other operations. The first factor that makes the gradient exactly 0 has -inf;
        those behind it are NaN, having nothing to act on.
      cause: `Cause` of every layer, int32.
      total_cause: `Cause` of the decay from the last affine map to the first, from the sums of both.
      non_finite: how many entries of dL/dy^(l) are infinite or NaN, or beyond the largest number of the model's dtype,
        l = 1 .. K+1, int32.
    """

    log_norm: jax.Array
    linear: jax.Array
    activation: jax.Array
    cause: jax.Array
    total_cause: jax.Array
    non_finite: jax.Array


def cause(linear: jax.Array, activation: jax.Array) -> jax.Array:
    """The `Cause` of a change by two logarithmic factors.

    None if their sum is not negative. Otherwise each factor that is negative is a cause, unless it makes up less than a
    tenth of the negative ones.

    Args:
      linear: logarithms of the linear factor.
      activation: logarithms of the activation's factor, of the same shape. NaN: it has nothing to act on. inf: the
        gradient is not finite, and its change undefined.

    Examples:
      >>> [Cause(int(c)).name for c in cause(jnp.array([-1.0, 0.5, -2.0]), jnp.array([-1.5, -0.4, -0.1]))]
      ['BOTH', 'NONE', 'LINEAR']
    """
    both = linear + activation
    decays = both < 0
    undefined = jnp.isnan(both) | jnp.isposinf(linear) | jnp.isposinf(activation)
    lost = jnp.minimum(linear, 0) + jnp.minimum(activation, 0)

    def is_cause(factor: jax.Array) -> jax.Array:
        return decays & (factor < 0) & ((factor <= MINOR_SHARE * lost) | jnp.isneginf(factor))

    found = int(Cause.LINEAR) * is_cause(linear) + int(Cause.ACTIVATION) * is_cause(activation)
    # A linear factor of -inf leaves the activation nothing to act on, and is the cause alone.
    alone = jnp.where(jnp.isneginf(linear), int(Cause.LINEAR), int(Cause.UNDEFINED))
    return jnp.where(undefined, alone, found).astype(jnp.int32)
