"""Hexpo with the start values of [P, Table 7] for every hidden layer, and the Parametric Hexpo of [P]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import expm1, vanishing
from paramact_jax.activations.parametric import parametric
from paramact_jax.activations.record import Activation

# In every function below, u is |y| divided by the width of y's own side. So the exponential of the branch that is not
# taken is never computed.


def _sides(
    y: ArrayLike,
    positive_height: ArrayLike,
    positive_width: ArrayLike,
    negative_height: ArrayLike,
    negative_width: ArrayLike,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    right = jnp.greater_equal(y, 0)
    height = jnp.where(right, positive_height, jnp.negative(negative_height))
    width = jnp.where(right, positive_width, jnp.negative(negative_width))
    return height, width, jnp.divide(y, width)


def _hexpo(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    height, _, u = _sides(y, **shape)
    return -height * expm1(-u)


def _hexpo_derivative(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    height, width, u = _sides(y, **shape)
    return height / width * jnp.exp(-u)


def _by_height(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    return -jnp.expm1(-_sides(y, **shape)[2])


def _by_width(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    height, width, u = _sides(y, **shape)
    return -height / width * vanishing(jnp.exp(-u), u)


def _by_positive_height(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    return jnp.where(jnp.greater_equal(y, 0), _by_height(y, **shape), 0)


def _by_positive_width(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    return jnp.where(jnp.greater_equal(y, 0), _by_width(y, **shape), 0)


def _by_negative_height(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    return jnp.where(jnp.greater_equal(y, 0), 0, -_by_height(y, **shape))


def _by_negative_width(y: ArrayLike, **shape: ArrayLike) -> jax.Array:
    return jnp.where(jnp.greater_equal(y, 0), 0, -_by_width(y, **shape))


def hexpo_of_layer(layer: int, name: str | None = None) -> Activation:
    """Returns Hexpo with the start values that [P, Table 7] gives for a hidden layer.

    f(y) = -a (exp(-y / b) - 1) for y >= 0, c (exp(y / d) - 1) for y < 0, with a = c = layer / 2 + 1 and
    b = d = layer / 8 + 1. Its parameters are spelled out, since a and b are the scale and the shift of `parametric`:
    a is `positive_height`, b `positive_width`, c `negative_height`, d `negative_width`. The values lie between
    -negative_height and positive_height; the slope at 0 is height / width. With other values than the start values the
    two sides may meet in a kink; its slope is the right-hand one. The widths must stay positive, or the function grows
    exponentially.

    In [P] the nodes of a layer share the four parameters, and these keep their start values. Here they can be trained.

    Args:
      layer: number of the hidden layer, from 1 as in [P, Table 7]. The counts of [P, Fig. 14] fit numbers from 0.
      name: name of the record; by default "hexpo_" and the layer.

    Raises:
      ValueError: if the layer is not a whole number >= 0.

    Examples:
      >>> hexpo_of_layer(8).params["positive_height"], hexpo_of_layer(8).steepest_slope
      (5.0, 2.5)
    """
    if layer != int(layer) or layer < 0:
        raise ValueError(f"Hexpo: expected the number of a hidden layer, 0 or more, got {layer}")
    height, width = layer / 2 + 1, layer / 8 + 1
    return Activation(
        name=name or f"hexpo_{layer}",
        fn=_hexpo,
        derivative=_hexpo_derivative,
        partials={
            "positive_height": _by_positive_height,
            "positive_width": _by_positive_width,
            "negative_height": _by_negative_height,
            "negative_width": _by_negative_width,
        },
        params={
            "positive_height": height,
            "positive_width": width,
            "negative_height": height,
            "negative_width": width,
        },
        steepest_slope=height / width,
        range=(-height, height),
        formula=(
            "positive_height * (1 - exp(-y / positive_width)) if y >= 0 "
            "else negative_height * (exp(y / negative_width) - 1)"
        ),
        source="[P, Table 6 and 7]; Kong and Takatsuka 2017",
    )


hexpo = hexpo_of_layer(1, name="hexpo")
"""Hexpo as in the first hidden layer: `hexpo_of_layer(1)`.

Examples:
  >>> dict(hexpo.params)
  {'positive_height': 1.5, 'positive_width': 1.125, 'negative_height': 1.5, 'negative_width': 1.125}
"""


def parametric_hexpo_of_layer(layer: int, name: str | None = None) -> Activation:
    """Returns Parametric Hexpo: Hexpo at y - b, with the start values of a hidden layer and a shift b learned from 0.

    It is `parametric(hexpo_of_layer(layer))` without the scale; b is called h in [P, Table 6]. [P] prints the branches
    split at y = 0, where the function would jump as soon as h is not 0. Here they are split at y = h.

    Args:
      layer: as in `hexpo_of_layer`.
      name: name of the record; by default "parametric_hexpo_" and the layer.

    Raises:
      ValueError: if the layer is not a whole number >= 0.

    Examples:
      >>> record = parametric_hexpo_of_layer(2)
      >>> record.params["b"], record.params["positive_height"], "a" in record.params
      (0.0, 2.0, False)
    """
    return parametric(
        hexpo_of_layer(layer),
        a=1.0,
        learned=("b",),
        name=name or f"parametric_hexpo_{layer}",
        source="[P, Table 6 and 7], with its branches split at y = h",
    )


parametric_hexpo = parametric_hexpo_of_layer(1, name="parametric_hexpo")
"""Parametric Hexpo as in the first hidden layer: `parametric_hexpo_of_layer(1)`.

Examples:
  >>> parametric_hexpo.params["b"], parametric_hexpo.params["negative_width"]
  (0.0, 1.125)
"""
