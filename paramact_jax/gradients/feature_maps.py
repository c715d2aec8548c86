"""The closed-form derivatives of an activation on a feature map [A, eq. 9-16], and on a dense layer [A, eq. 17-24]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax

from paramact_jax.activations import Activation
from paramact_jax.activations.precision import float32_products
from paramact_jax.layers import Sharing


class FeatureMapGradients(NamedTuple):
    """The gradients by the chain rule from dL/dA at one activation layer A = f(M; a, b).

    Attributes:
      values: A, of the shape of M [A, eq. 9, 17].
      slopes: dA/dM, of the shape of M [A, eq. 10, 18].
      partials: dA/da and dA/db by name, of the shape of M [A, eq. 11-12, 19-20].
      maps: dL/dM = dA/dM * dL/dA, of the shape of M.
      params: dL/da and dL/db by name, of the parameters' shape: the sum of dA/da * dL/dA over all elements that share
        one a [A, eq. 13-14, 21-22]. Gradient descent subtracts it [A, eq. 15-16, 23-24].
    """

    values: jax.Array
    slopes: jax.Array
    partials: dict[str, jax.Array]
    maps: jax.Array
    params: dict[str, jax.Array]


@float32_products()
def feature_map_gradients(
    activation: Activation,
    maps: jax.Array,
    cotangents: jax.Array,
    params: Mapping[str, jax.Array],
    sharing: Sharing,
) -> FeatureMapGradients:
    """Returns the derivatives at an activation layer by the record's closed forms, without automatic differentiation.

    For Agile Sigmoid, A = a s with s = 1 / (1 + exp(-(M - b))): dA/dM = A (1 - A/a), dA/da = s, dA/db = A (A/a - 1).
    For Agile ReLU, A = a (M - b) for M >= b, else 0: dA/dM = a or 0, dA/da = M - b or 0, dA/db = -a or 0. [A] prints
    some of them differently: eq. 10 and 18 with the input in place of the output, eq. 12 and 14 with the sign of dA/dM,
    eq. 16, 20, 22 and 24 with z - 1 in place of z - a, and eq. 15 with the gradient of b in the update of a.

    Args:
      activation: the record.
      maps: M, (images, height, width, filters), or another shape that `sharing` is for; any leading axes.
      cotangents: dL/dA, of the shape of M.
      params: a and b, each of shape `sharing.shape`.
      sharing: which elements of a map share one a and one b.

    Raises:
      ValueError: for cotangents of another shape than the maps, for maps that do not end in `sharing`'s features, for
        names other than the record's parameters, and for parameters of another shape.

    Examples:
      >>> import jax.numpy as jnp
      >>> from paramact_jax.activations import parametric_sigmoid
      >>> sharing = Sharing("element", (2, 2, 3))
      >>> params = {"a": jnp.full((2, 2, 3), 6.0), "b": jnp.zeros((2, 2, 3))}
      >>> maps = jnp.zeros((5, 2, 2, 3))
      >>> found = feature_map_gradients(parametric_sigmoid, maps, jnp.ones_like(maps), params, sharing)
      >>> float(found.slopes[0, 0, 0, 0]), found.params["a"].shape, float(found.params["b"][0, 0, 0])
      (1.5, (2, 2, 3), -7.5)
    """
    name = activation.name
    if maps.shape != cotangents.shape:
        raise ValueError(f"{name}: expected cotangents of the maps' shape {maps.shape}, got {cotangents.shape}")
    sharing.check_input(maps.shape, name)
    if set(params) != set(activation.params):
        raise ValueError(f"{name}: expected parameters {sorted(activation.params)}, got {sorted(params)}")
    for p, value in params.items():
        if value.shape != sharing.shape:
            raise ValueError(
                f"{name}: expected {p} of shape {sharing.shape} for sharing {sharing.kind!r}, got {value.shape}"
            )
    aligned = {p: sharing.align(value, maps.ndim) for p, value in params.items()}
    slopes = activation.derivative(maps, **aligned)
    partials = {p: activation.partials[p](maps, **aligned) for p in params}

    def shared(p: str) -> jax.Array:
        sharers = tuple(axis for axis, size in enumerate(aligned[p].shape) if size == 1)
        return (partials[p] * cotangents).sum(sharers).reshape(sharing.shape)

    return FeatureMapGradients(
        values=activation.fn(maps, **aligned),
        slopes=slopes,
        partials=partials,
        maps=slopes * cotangents,
        params={p: shared(p) for p in params},
    )
