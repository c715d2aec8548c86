"""One neuron with two weights: the way of gradient descent under inputs of one sign, and under centred ones [B2]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from paramact_jax.activations import Activation, catalogue
from paramact_jax.sweeps import sweep

POINTS = 64
STEPS = 1_000
ARRIVED = 0.01
"""A descent has arrived when it is this close to its goal; it starts at a distance of 1."""

POINT_BY_POINT, FULL_BATCH = "point by point", "full batch"

_VARIABLES = {
    "length": "length of the path until it arrives, where the straight way is 1; NaN: it does not",
    "steps": "updates until it arrives; NaN: it does not",
    "reversals": "of these, how many go against the one before, at more than a right angle",
    "together": "share of these that move both weights up or both down",
}


def two_weights(
    inputs: Sequence[Activation], *, points: int = POINTS, steps: int = STEPS
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The function `key -> results` of descents to one goal, with the values of each activation as inputs.

    A linear neuron F = w_1 x_1 + w_2 x_2 learns weights w* from points (x, w* x): its inputs are x = f(u), the values
    that a layer before would give it, of the same normal u for all f. w starts at 0; w* is at distance 1 in a random
    direction of the quadrant w_1 > 0 > w_2, where the gradient of a point with inputs of one sign never points. Every
    descent has the largest learning rate with which no update overshoots: 1 / max |x|^2 point by point, with full
    batches 1 over the largest eigenvalue of the mean of x x^T.

    Returns:
      Arrays (inputs, 2), point by point and with full batches, see `_VARIABLES`; "path": w before the first update and
      after each, (inputs, 2, steps + 1, 2); "goal": w*.
    """

    def results(key: jax.Array) -> dict[str, jax.Array]:
        input_key, goal_key, order_key = jax.random.split(key, 3)
        u = jax.random.normal(input_key, (points, 2))
        x = jnp.stack([activation.fn(u, **activation.params) for activation in inputs])
        angle = jax.random.uniform(goal_key, (), minval=-jnp.pi / 2, maxval=0)
        goal = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        order = jax.random.randint(order_key, (steps,), 0, points)
        path = jnp.moveaxis(_paths(x, goal, order), 0, 2)
        measured = jax.vmap(jax.vmap(_measured, (0, None)), (0, None))
        return measured(path, goal) | {"path": path, "goal": goal}

    return results


def _paths(x: jax.Array, goal: jax.Array, order: jax.Array) -> jax.Array:
    """(steps + 1, inputs, 2, 2) from x (inputs, points, 2)."""
    moments = jnp.einsum("fpi,fpj->fij", x, x) / x.shape[1]
    diagonal, off = moments[:, (0, 1), (0, 1)], moments[:, 0, 1]
    half_gap = jnp.sqrt((diagonal[:, 0] - diagonal[:, 1]) ** 2 / 4 + off**2)
    largest = jnp.stack([jnp.max(jnp.sum(x**2, axis=2), axis=1), diagonal.mean(axis=1) + half_gap], axis=1)

    def update(w: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array]:
        error, here = w - goal[None, None], x[:, point]
        by_point = here * jnp.sum(here * error[:, 0], axis=1, keepdims=True)
        by_batch = jnp.einsum("fij,fj->fi", moments, error[:, 1])
        w = w - jnp.stack([by_point, by_batch], axis=1) / largest[:, :, None]
        return w, w

    start = jnp.zeros((len(x), 2, 2))
    return jnp.concatenate([start[None], lax.scan(update, start, order)[1]])


def _measured(path: jax.Array, goal: jax.Array) -> dict[str, jax.Array]:
    """What `_VARIABLES` says of one path, (steps + 1, 2)."""
    moves = jnp.diff(path, axis=0)
    near = jnp.linalg.norm(path[1:] - goal[None], axis=1) <= ARRIVED
    number = jnp.argmax(near) + 1
    made = jnp.arange(len(moves)) < number
    against = jnp.sum(moves[1:] * moves[:-1], axis=1) < 0
    found = {
        "length": jnp.sum(jnp.linalg.norm(moves, axis=1), where=made),
        "steps": number,
        "reversals": jnp.sum(against, where=made[1:]),
        "together": jnp.mean(moves[:, 0] * moves[:, 1] > 0, where=made),
    }
    return {name: jnp.where(near.any(), value, jnp.nan) for name, value in found.items()}


def descents(inputs: Sequence[str], seeds: range) -> dict[str, Any]:
    """Descents of every seed.

    Args:
      inputs: names in the catalogue.
      seeds: of the descents.

    Returns:
      Data variables: those of `_VARIABLES` with the dims inputs, descent, start, and paths and goal of the first seed.
    """
    found = sweep(two_weights([catalogue.get(name) for name in inputs]), seeds)
    data: dict[str, Any] = {
        f"way_{variable}": (
            ("inputs", "descent", "start"),
            found[variable].transpose(..., "seed").values,
            {"description": description},
        )
        for variable, description in _VARIABLES.items()
    }
    first = found.isel(seed=0)
    data["way_path"] = (
        ("inputs", "descent", "point", "weight"),
        first["path"].values,
        {"description": "w of the first seed before the first update, and after each"},
    )
    data["way_goal"] = (("weight",), first["goal"].values, {"description": "w* of the first seed"})
    return data
