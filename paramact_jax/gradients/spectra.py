"""Singular values of the factors of the chain rule and of their product."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.activations.precision import float32_products
from paramact_jax.gradients.jacobians import LayerJacobians
from paramact_jax.gradients.scaling import in_full_precision


class Spectra(NamedTuple):
    """Singular values, in decreasing order.

    Attributes:
      linear: of every W^(l), (min(n_l, n_{l-1}),).
      slopes: of every diag(f'(y^(l))), that is |f'| sorted, (samples, n_l).
      log_end_to_end: natural logarithms of the singular values of d output / dz^(1), with z^(1) the input of the first
        affine map, (samples, min(outputs, inputs)).
    """

    linear: tuple[jax.Array, ...]
    slopes: tuple[jax.Array, ...]
    log_end_to_end: jax.Array


@float32_products()
def spectra(jacobians: LayerJacobians) -> Spectra:
    """Returns the singular values of every factor, and their logarithms for the end-to-end Jacobian.

    They are computed at least in float32.

    The end-to-end Jacobian is held as a matrix with entries up to 1 and the logarithm of its scale. So its largest
    singular value is right even if the product itself would underflow or overflow. A singular value below the largest
    one times the dtype's precision is only rounding. A singular value of exactly 0 has the logarithm -inf.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.gradients import layer_jacobians
      >>> from paramact_jax.networks import MLP
      >>> model = MLP(3, [3] * 200, 2, "sigmoid", rngs=nnx.Rngs(0))
      >>> logs = spectra(layer_jacobians(model, jnp.ones((4, 3)))).log_end_to_end
      >>> logs.shape, bool((logs[:, 0] < -300).all()), bool(jnp.isfinite(logs[:, 0]).all())
      ((4, 2), True, True)
    """
    jacobians = in_full_precision(jacobians)
    samples, outputs = jacobians.output.shape
    dtype = jacobians.output.dtype
    product = jnp.broadcast_to(jnp.eye(outputs, dtype=dtype)[None], (samples, outputs, outputs))
    log_scale = jnp.zeros(samples, dtype)
    for i in reversed(range(len(jacobians.linear))):
        if i < len(jacobians.slopes):
            product = product * jacobians.slopes[i][:, None]
        product = product @ jacobians.linear[i]
        largest = jnp.max(jnp.abs(product), axis=(1, 2))
        scale = jnp.where(largest > 0, largest, 1)
        product, log_scale = product / scale[:, None, None], log_scale + jnp.log(scale)
    return Spectra(
        linear=tuple(jnp.linalg.svdvals(w) for w in jacobians.linear),
        slopes=tuple(-jnp.sort(-jnp.abs(slopes), axis=1) for slopes in jacobians.slopes),
        log_end_to_end=jnp.log(jnp.linalg.svdvals(product)) + log_scale[:, None],
    )
