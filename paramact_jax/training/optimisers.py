"""Optimisers by name, with separate learning rates for the weights and for the parameters of activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from paramact_jax.layers import parameter_labels

EPSILON = 1e-7
"""Prevents a division by 0 in [R]'s formulas. [R] prints no epsilon; its textbook adds this one to the root."""


def adagrad_as_printed(learning_rate: ArrayLike) -> optax.GradientTransformation:
    """Returns AdaGrad as [R] prints it: h <- h + g^2 from h = 0, W <- W - learning_rate g / sqrt(h).

    `optax.adagrad` starts h at 0.1 and adds its epsilon inside the root, so small gradients make small steps. Here the
    first step has the size of the learning rate, even for small gradients.

    Examples:
      >>> import jax.numpy as jnp
      >>> rule = adagrad_as_printed(0.1)
      >>> steps, _ = rule.update(jnp.array([1e-3, 2.0]), rule.init(jnp.zeros(2)))
      >>> print(steps.round(3))
      [-0.1 -0.1]
    """

    def update(gradient: Any, h: Any, params: Any = None) -> tuple[Any, Any]:
        h = jax.tree.map(lambda h, g: h + g * g, h, gradient)
        return jax.tree.map(lambda g, h: -(g * learning_rate) / (jnp.sqrt(h) + EPSILON), gradient, h), h

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


MAKERS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
    "nadam": optax.nadam,
    "adagrad-printed": adagrad_as_printed,
    "rmsprop-printed": lambda rate: optax.rmsprop(rate, eps=EPSILON, eps_in_sqrt=False),
}
"""Optimisers of optax by name, with the default settings of optax except the learning rate and a momentum of 0.9. The
two "-printed" ones are as in [R], with the epsilon outside the root."""


def optimiser(
    name: str, params: Any, learning_rate: ArrayLike, a: ArrayLike | None = None, b: ArrayLike | None = None
) -> optax.GradientTransformation:
    """Returns an optimiser for all params, with separate rates for a and b [P, eq. 10-12: rho_1, rho_2, rho_3].

    Rates may be traced, so other values need no new compilation; the optimiser's state does not depend on them.
    Parameters that the layers hold fixed stay fixed if the tree contains them.

    Args:
      name: one of `MAKERS`.
      params: params of the model, for their structure.
      learning_rate: rate of the weights.
      a: rate of the scales a and of all other activation parameters except b; by default `learning_rate`. 0 holds them
        fixed.
      b: rate of the shifts b; by default `learning_rate`. 0 holds them fixed.

    Raises:
      ValueError: for an unknown name.

    Examples:
      >>> import jax.numpy as jnp
      >>> params = {"linear": {"kernel": jnp.ones(2)}, "activation": {"a": jnp.ones(2), "b": jnp.ones(2)}}
      >>> update = optimiser("sgd", params, 0.1, a=0.0)
      >>> steps, _ = update.update(params, update.init(params))
      >>> steps["linear"]["kernel"].tolist()[0], steps["activation"]["a"].tolist()[0]
      (-0.10000000149011612, -0.0)
    """
    check_optimiser(name)
    make = MAKERS[name]
    rates = {
        "weights": learning_rate,
        "a": learning_rate if a is None else a,
        "shape": learning_rate if a is None else a,
        "b": learning_rate if b is None else b,
    }
    transforms = {label: make(rate) for label, rate in rates.items()} | {"frozen": optax.set_to_zero()}
    return optax.partition(transforms, parameter_labels(params, separate=True))


def check_optimiser(name: str) -> None:
    """Raises ValueError for an unknown name of an optimiser."""
    if name not in MAKERS:
        raise ValueError(f"expected an optimiser among {', '.join(MAKERS)}, got {name!r}")
