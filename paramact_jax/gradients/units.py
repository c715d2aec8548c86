"""The state of a layer's units: slopes, saturation, death, one-sided weight gradients, and histograms of their values.

All are functions of the arrays of one layer.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

SATURATED_BELOW = 0.01
"""A unit whose |slope| is below this lets less than a hundredth of the gradient through."""


def share_at_least_one(slopes: jax.Array) -> jax.Array:
    """Returns the share of all |dz/dy| >= 1, over samples and nodes, as [P, Fig. 14] counts. NaN is not >= 1.

    Args:
      slopes: (samples, nodes).

    Examples:
      >>> float(share_at_least_one(jnp.array([[1.0, -1.5], [0.5, 0.0]])))
      0.5
    """
    return jnp.mean(jnp.abs(slopes) >= 1)


def saturated_share(slopes: jax.Array, below: float = SATURATED_BELOW) -> jax.Array:
    """Returns the share of all |dz/dy| below `below`, over samples and nodes: sigmoid's first fault [B2].

    Args:
      slopes: (samples, nodes).
      below: the slope under which a unit counts as saturated.
    """
    return jnp.mean(jnp.abs(slopes) < below)


def dead_share(slopes: jax.Array) -> jax.Array:
    """Returns the share of the nodes with a slope of exactly 0 at every sample: no gradient reaches their weights [B1].

    Args:
      slopes: (samples, nodes).

    Examples:
      >>> float(dead_share(jnp.array([[0.0, 0.0], [0.0, 1.0]])))
      0.5
    """
    return jnp.mean(jnp.all(slopes == 0, axis=0))


def one_sign_share(gradients: jax.Array) -> jax.Array:
    """Returns the share of neurons with weight gradients dL/dw_ij, i = 1 .. fan_in, of one sign: the second fault [B2].

    Gradient descent then moves all weights of the neuron up, or all of them down, and has to zig-zag towards any
    other goal. For a neuron with independent signs this happens with probability 2^(1 - fan_in). A zero counts for both
    signs, but a neuron with only zeros is not counted.

    Args:
      gradients: (..., fan_in, neurons).

    Returns:
      The share of the neurons, of shape (...).

    Examples:
      >>> float(one_sign_share(jnp.array([[1.0, 1.0, 0.0, 0.0], [2.0, -1.0, 0.0, -3.0]])))
      0.5
    """
    one = jnp.all(gradients >= 0, axis=-2) | jnp.all(gradients <= 0, axis=-2)
    return jnp.mean(one & jnp.any(gradients != 0, axis=-2), axis=-1)


def histogram(values: jax.Array, edges: jax.Array) -> jax.Array:
    """Returns how many values lie in each bin, below the first, above the last, and how many are NaN.

    Args:
      values: any shape.
      edges: (bins + 1,), increasing. A bin includes its lower edge, the last bin both edges.

    Returns:
      int32 counts of shape (bins + 3,): below, the bins, above, NaN. They add up to the number of values.

    Examples:
      >>> histogram(jnp.array([-1.0, 0.0, 0.5, 1.0, 7.0, jnp.nan]), jnp.array([0.0, 0.5, 1.0])).tolist()
      [1, 1, 2, 1, 1]
    """
    flat = values.ravel()
    bins = len(edges) - 1
    index = jnp.searchsorted(edges, flat, side="right")  # 0: below, i: in bin i, bins + 1: above or at the last edge
    index = jnp.where(flat == edges[-1], bins, index)
    index = jnp.where(jnp.isnan(flat), bins + 2, index)
    return jnp.zeros(bins + 3, jnp.int32).at[index].add(1)
