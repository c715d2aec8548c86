"""Base functions with kinks or jumps: the family of ReLU, and two step functions with slope 0 everywhere.

At each kink the slope is one of the two one-sided slopes. The record's `kinks` say which.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import expm1
from paramact_jax.activations.record import Activation, Kink, remember


def _step(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.where(y <= 0, 0, jnp.sign(y))  # NaN stays NaN


def _relu6_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return ((y > 0) & (y < 6)).astype(y.dtype)


def elu_of_alpha(y: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
    """Returns `jax.nn.elu(y, alpha)`, with a slope that keeps its digits for y < 0.

    Examples:
      >>> float(jax.grad(elu_of_alpha)(-20.0)) > 2e-9
      True
    """
    y = jnp.asarray(y)
    return jnp.where(y > 0, y, alpha * expm1(jnp.where(y > 0, 0, y)))


def _elu_derivative(y: ArrayLike) -> jax.Array:
    return jnp.exp(jnp.minimum(y, 0))


step = Activation(
    name="step",
    fn=_step,
    derivative=jnp.zeros_like,
    steepest_slope=0.0,
    range=(0.0, 1.0),
    formula="1 if y > 0 else 0",
    source="[R, no. 2]",
    kinks=(Kink(at=0.0, slope=0.0, value=0.0),),
)
"""f(y) = 1 for y > 0 and 0 for y <= 0; f' = 0 everywhere, at the jump too.

[R, no. 2] leaves f(0) open. With f(0) = 0 it is the derivative of `relu`, which has slope 0 at 0. Layers below a step
cannot be trained by gradients. `parametric(step)` needs a start value for a, since no a makes its steepest slope 1.5.

Examples:
  >>> float(step(2.0)), float(step(0.0)), step.steepest_slope
  (1.0, 0.0, 0.0)
"""

sgn = Activation(
    name="sgn",
    fn=jnp.sign,
    derivative=jnp.zeros_like,
    steepest_slope=0.0,
    range=(-1.0, 1.0),
    formula="1 if y > 0, -1 if y < 0, 0 at y = 0",
    source="[R, no. 3]",
    kinks=(Kink(at=0.0, slope=0.0, value=0.0),),
)
"""f(y) = 1 for y > 0, -1 for y < 0 and 0 at y = 0; f' = 0 everywhere, at the jump too.

[R, no. 3] leaves f(0) open; `jnp.sign` has 0, which keeps the function odd. As with `step`, no gradient passes.

Examples:
  >>> float(sgn(-2.0)), float(sgn(0.0)), sgn.steepest_slope
  (-1.0, 0.0, 0.0)
"""


def leaky_relu_of_slope(negative_slope: float, name: str | None = None) -> Activation:
    """Returns the leaky ReLU f(y) = y for y >= 0, negative_slope y for y < 0, with a fixed slope on the negative side.

    The slope at the kink y = 0 is 1, the right-hand one, as in `jax.nn.leaky_relu`. For a learned slope see `prelu`.

    Args:
      negative_slope: slope for y < 0.
      name: name of the record; by default "leaky_relu" and the slope.

    Raises:
      ValueError: if the slope is not finite or is 1 (the identity).

    Examples:
      >>> float(leaky_relu_of_slope(0.25)(-2.0))
      -0.5
    """
    if not math.isfinite(negative_slope) or negative_slope == 1:
        raise ValueError(f"leaky ReLU: expected a finite negative slope other than 1, got {negative_slope}")

    def fn(y: ArrayLike) -> jax.Array:
        return jax.nn.leaky_relu(y, negative_slope)

    def derivative(y: ArrayLike) -> jax.Array:
        y = jnp.asarray(y)
        return jnp.where(y >= 0, 1, negative_slope).astype(y.dtype)

    plain = negative_slope == 0.01
    record = Activation(
        name=name or f"leaky_relu_{negative_slope:g}",
        fn=jax.nn.leaky_relu if plain else fn,
        derivative=derivative,
        steepest_slope=max(1.0, abs(negative_slope)),
        range=(-math.inf if negative_slope > 0 else 0.0, math.inf),
        formula=f"y if y >= 0 else {negative_slope:g} y",
        source="[B1]",
        kinks=(Kink(at=0.0, slope=1.0),),
        jax_nn=jax.nn.leaky_relu if plain else None,
    )
    return remember(record, leaky_relu_of_slope, negative_slope, name)


leaky_relu = leaky_relu_of_slope(0.01, name="leaky_relu")
"""f(y) = y for y >= 0, 0.01 y for y < 0; slope 1 at the kink y = 0. It is `jax.nn.leaky_relu` itself.

[B1] prints the slope 0.1 and says that 0.01 is as good. This record has the slope of JAX's function of the same name,
so it can replace `jax.nn.leaky_relu` in a model without changing the values. The slope 0.1 is in `leaky_relu_tenth`.

Examples:
  >>> round(float(leaky_relu(-2.0)), 4)
  -0.02
"""

leaky_relu_tenth = leaky_relu_of_slope(0.1, name="leaky_relu_tenth")
"""f(y) = max(0.1 y, y), with the slope that [B1] prints; slope 1 at the kink y = 0.

Examples:
  >>> round(float(leaky_relu_tenth(-2.0)), 4)
  -0.2
"""

elu = Activation(
    name="elu",
    fn=elu_of_alpha,
    derivative=_elu_derivative,
    steepest_slope=1.0,
    range=(-1.0, math.inf),
    formula="y if y > 0 else exp(y) - 1",
    source="[B1], [R, no. 9]",
    jax_nn=jax.nn.elu,
)
"""f(y) = y for y > 0, exp(y) - 1 for y <= 0; f' = 1 and exp(y): smooth at 0 [B1; R, no. 9]. `elu_alpha` learns alpha.

Autodiff uses exp(y) for y < 0. Autodiff of `jax.nn.elu` computes f + 1, which rounds to 0 below about y = -17 in
float32. The values are those of `jax.nn.elu`.

Examples:
  >>> float(elu(2.0)), float(elu.derivative(0.0))
  (2.0, 1.0)
"""

relu6 = Activation(
    name="relu6",
    fn=jax.nn.relu6,
    derivative=_relu6_derivative,
    steepest_slope=1.0,
    range=(0.0, 6.0),
    formula="min(max(y, 0), 6)",
    source="[B1]",
    kinks=(Kink(at=0.0, slope=0.0), Kink(at=6.0, slope=0.0)),
    jax_nn=jax.nn.relu6,
)
"""f(y) = min(max(y, 0), 6), f' = 1 for 0 < y < 6 and 0 elsewhere: slope 0 at both kinks [B1].

Examples:
  >>> float(relu6(7.0)), float(relu6.derivative(6.0))
  (6.0, 0.0)
"""


def thresholded_relu_at(theta: float, name: str | None = None) -> Activation:
    """Returns the thresholded ReLU f(y) = y for y > theta, 0 for y <= theta [R, no. 10].

    It jumps by theta at y = theta, where value and slope are 0. The threshold is a constant, not a parameter: dz/dtheta
    is 0 wherever it exists, so gradient descent cannot train it.

    Args:
      theta: the threshold, at least 0.
      name: name of the record; by default "thresholded_relu" and theta.

    Raises:
      ValueError: if theta is negative or not finite.

    Examples:
      >>> record = thresholded_relu_at(0.5)
      >>> float(record(0.5)), float(record(0.75))
      (0.0, 0.75)
    """
    if not 0 <= theta < math.inf:
        raise ValueError(f"thresholded ReLU: expected a finite threshold >= 0, got {theta}")

    def fn(y: ArrayLike) -> jax.Array:
        y = jnp.asarray(y)
        return jnp.where(y <= theta, 0, y)  # NaN stays NaN

    def derivative(y: ArrayLike) -> jax.Array:
        y = jnp.asarray(y)
        return jnp.logical_not(y <= theta).astype(y.dtype)

    record = Activation(
        name=name or f"thresholded_relu_{theta:g}",
        fn=fn,
        derivative=derivative,
        steepest_slope=1.0,
        range=(0.0, math.inf),
        formula=f"y if y > {theta:g} else 0",
        source="[R, no. 10]",
        kinks=(Kink(at=float(theta), slope=0.0, value=0.0 if theta else None),),
    )
    return remember(record, thresholded_relu_at, theta, name)


thresholded_relu = thresholded_relu_at(1.0, name="thresholded_relu")
"""f(y) = y for y > 1, 0 for y <= 1: `thresholded_relu_at` with theta = 1, value and slope 0 at the jump [R, no. 10].

[R] gives no threshold; 1 is the usual one.

Examples:
  >>> float(thresholded_relu(1.0)), float(thresholded_relu(1.5))
  (0.0, 1.5)
"""
