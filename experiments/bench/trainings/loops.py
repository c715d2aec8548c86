"""Three trainings with loops inside an iteration, or derivatives of derivatives, as users write them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.bench.trainings.networks import Results, TrainOne


def recurrent(iterations: int) -> TrainOne:
    """Make Adam on a gated recurrent cell of 8 nodes that says the sum of the marked two of 16 numbers."""

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        of_values, of_marks, *keys = jax.random.split(key, 6)
        values = jax.random.uniform(of_values, (16, 16, 1))  # sequences, times, 1
        marks = jax.vmap(lambda key: jax.random.permutation(key, jnp.arange(16) < 2))(jax.random.split(of_marks, 16))
        x = jnp.concatenate([values, marks[..., None].astype(values.dtype)], -1)
        targets = (values[..., 0] * marks).sum(1)
        params = {
            gate: {"w": jax.random.normal(k, (10, 8)) / 3, "b": jnp.zeros(8)}
            for gate, k in zip("rzn", keys[:3], strict=True)
        }
        params["out"] = {"w": jax.random.normal(keys[3], (8, 1)) / 3, "b": jnp.zeros(1)}
        optimiser = optax.adam(learning_rate)

        def cell(params: Any, h: jax.Array, x: jax.Array) -> jax.Array:
            def gate(name: str, h: jax.Array) -> jax.Array:
                return jnp.concatenate([x, h], -1) @ params[name]["w"] + params[name]["b"]

            r, z = jax.nn.sigmoid(gate("r", h)), jax.nn.sigmoid(gate("z", h))
            return (1 - z) * jnp.tanh(gate("n", r * h)) + z * h

        def loss_of(params: Any) -> jax.Array:
            h, _ = lax.scan(lambda h, x: (cell(params, h, x), None), jnp.zeros((16, 8)), x.swapaxes(0, 1))
            return jnp.mean(((h @ params["out"]["w"] + params["out"]["b"])[:, 0] - targets) ** 2)

        def update(_: jax.Array, carry: Any) -> Any:
            params, moments = carry
            updates, moments = optimiser.update(jax.grad(loss_of)(params), moments)
            return optax.apply_updates(params, updates), moments

        params, _ = lax.fori_loop(0, iterations, update, (params, optimiser.init(params)))
        return {"loss": loss_of(params), "w": params["out"]["w"][:, 0]}

    return train_one


def pinn(iterations: int) -> TrainOne:
    """Make Adam on a network of two layers of 16 tanh nodes that solves u'' + pi^2 sin(pi x) = 0, u(0) = u(1) = 0."""
    points = np.linspace(0, 1, 32, dtype=np.float32)

    def u(params: Any, x: Any) -> jax.Array:
        h = jnp.tanh(x * params["w1"] + params["b1"])
        return jnp.tanh(h @ params["w2"] + params["b2"]) @ params["w3"]

    def loss_of(params: Any) -> jax.Array:
        def residual(x: Any) -> jax.Array:
            return jax.grad(jax.grad(u, 1), 1)(params, x) + jnp.pi**2 * jnp.sin(jnp.pi * x)

        return jnp.mean(jax.vmap(residual)(points) ** 2) + 10 * (u(params, 0.0) ** 2 + u(params, 1.0) ** 2)

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        k1, k2, k3 = jax.random.split(key, 3)
        params = {
            "w1": 2 * jax.random.normal(k1, (16,)),
            "b1": jnp.zeros(16),
            "w2": jax.random.normal(k2, (16, 16)) / 4,
            "b2": jnp.zeros(16),
            "w3": jax.random.normal(k3, (16,)) / 4,
        }
        optimiser = optax.adam(learning_rate)

        def update(carry: Any, _: None) -> Any:
            params, moments = carry
            loss, gradient = jax.value_and_grad(loss_of)(params)
            updates, moments = optimiser.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), loss

        (params, _), losses = lax.scan(update, (params, optimiser.init(params)), length=iterations)
        return {"loss": losses[-1], "u": jax.vmap(u, (None, 0))(params, points)}

    return train_one


def episodes(iterations: int) -> TrainOne:
    """Make policy gradient updates, one after each episode in which a pole on a cart falls or 200 steps are over."""
    limit = 200

    def logit(policy: Any, seen: jax.Array) -> jax.Array:
        return jnp.tanh(seen @ policy["w"] + policy["b"]) @ policy["v"]

    def chance(policy: Any, seen: jax.Array, right: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid(jnp.where(right, 1.0, -1.0) * logit(policy, seen))

    def move(seen: jax.Array, force: float) -> jax.Array:
        x, v, angle, spin = seen
        push = (force + 0.05 * spin**2 * jnp.sin(angle)) / 1.1
        turn = (9.8 * jnp.sin(angle) - jnp.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * jnp.cos(angle) ** 2 / 1.1))
        faster = push - 0.05 * turn * jnp.cos(angle) / 1.1
        return jnp.array([x + 0.02 * v, v + 0.02 * faster, angle + 0.02 * spin, spin + 0.02 * turn])

    def episode(policy: Any, key: jax.Array) -> Any:
        of_start, of_actions = jax.random.split(key)

        def stands(carry: Any) -> jax.Array:
            seen, steps, _ = carry
            return (steps < limit) & (jnp.abs(seen[0]) < 2.4) & (jnp.abs(seen[2]) < 0.21)

        def step(carry: Any) -> Any:
            seen, steps, trace = carry
            right = jax.random.bernoulli(jax.random.fold_in(of_actions, steps), jax.nn.sigmoid(logit(policy, seen)))
            trace = jax.tree.map(jnp.add, trace, jax.grad(chance)(policy, seen, right))
            seen = lax.cond(right, lambda seen: move(seen, 10.0), lambda seen: move(seen, -10.0), seen)
            return seen, steps + 1, trace

        start = jax.random.uniform(of_start, (4,), minval=-0.05, maxval=0.05), 0, jax.tree.map(jnp.zeros_like, policy)
        _, steps, trace = lax.while_loop(stands, step, start)
        return steps, trace

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        k1, k2, of_episodes = jax.random.split(key, 3)
        policy = {"w": jax.random.normal(k1, (4, 8)) / 2, "b": jnp.zeros(8), "v": jax.random.normal(k2, (8,)) / 3}

        def update(i: jax.Array, carry: Any) -> Any:
            policy, usual, lengths = carry
            steps, trace = episode(policy, jax.random.fold_in(of_episodes, i))
            better = (steps - usual) / limit
            policy = jax.tree.map(lambda w, g: w + learning_rate * better * g, policy, trace)
            return policy, 0.9 * usual + 0.1 * steps, lengths.at[i].set(steps)

        start = policy, 20.0, jnp.zeros(iterations, jnp.int32)
        policy, usual, lengths = lax.fori_loop(0, iterations, update, start)
        return {"usual": usual, "lengths": lengths, "w": policy["w"]}

    return train_one
