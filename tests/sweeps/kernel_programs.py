"""Loops of many kinds, which a kernel of a GPU or TPU can hold: functions of one trial's key."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from paramact_jax.activations import catalogue


def drawn(key, *shape):
    return jax.random.normal(key, shape)


def matrices(key):
    """Gradient descent through products, transposes and sums."""
    w, x = drawn(key, 3, 3), drawn(jax.random.fold_in(key, 1), 4, 3)

    def step(_, w):
        return w - 0.05 * jax.grad(lambda w: jnp.mean((jnp.tanh(x @ w) @ w.T - 0.5) ** 2))(w)

    return lax.fori_loop(0, 30, step, w)


def functions(key):
    """What is written for kernels, and what they have of their own, at large and small numbers."""
    x = 3 * drawn(key, 6)

    def step(i, made):
        y = x * (1 + 0.01 * i)
        values = jnp.stack(
            [
                *(jnp.expm1(y), jnp.log1p(jnp.abs(y) * 1e-4), jnp.floor(3 * y), jnp.ceil(3 * y), jnp.round(3 * y)),
                *(jax.nn.softplus(y), jax.nn.elu(y), jax.nn.gelu(y), jax.nn.silu(y), jnp.arctan(y), jnp.sign(y)),
                *(jnp.abs(y) ** 1.5, (y**2 + 1) ** -2, jnp.sqrt(jnp.abs(y)), lax.rsqrt(1 + y * y), lax.erf(y)),
                *(jnp.sin(y), jnp.cos(y), jnp.exp2(y / 4), jax.nn.sigmoid(9 * y), jnp.logaddexp(y, 2 * y)),
            ]
        )
        return jnp.where(jnp.isfinite(values), values, 7.0)

    return lax.fori_loop(0, 4, step, jnp.zeros((21, 6)))


def branches(key):
    """Selections and branches on a trial's own values; booleans and integers as state."""
    x = drawn(key, 3)

    def step(i, state):
        x, up, ups, least = state
        x = lax.cond(up, lambda x: x * 0.9 - 0.3, lambda x: x + 0.4, x)
        x = lax.switch(i % 3, [lambda x: x, lambda x: -x, lambda x: x * x - 1], x)
        up = x.sum() > 0
        ups = jnp.where(up, ups + 1, ups - 2)
        return x, up, ups, jnp.where(ups < least, ups, least)

    return lax.fori_loop(0, 20, step, (x, x[0] > 0, jnp.int32(0), jnp.int32(5)))


def places(key):
    """Moves of numbers, also at an index that only the loop knows."""
    x = drawn(key, 4, 2)

    def step(i, state):
        x, kept = state
        row = lax.dynamic_index_in_dim(x, i % 4, keepdims=False)
        kept = lax.dynamic_update_slice(kept, row[None], (i % 3, 0))
        x = jnp.roll(jnp.pad(x, ((1, 0), (0, 0)))[:-1] + row, 1, axis=1)[::-1] * 0.5
        x = x.at[1].set(x[jnp.array([2, 0])].mean(0)) + jnp.concatenate([x[2:], x[:2]]).T.reshape(4, 2)
        best = jnp.argmax(x, axis=0)
        return x + 0.01 * best + jnp.cumsum(x, axis=0) * 0.1, kept

    return lax.fori_loop(0, 12, step, (x, jnp.zeros((3, 2))))


def history(key):
    """A scan that is given something at every step and keeps something of every step."""
    given = jnp.linspace(0.0, 1.0, 20)
    own = drawn(key, 20, 2)

    def step(w, at):
        t, y = at
        w = w - 0.1 * (w - y) * t
        return w, {"w": w, "above": w > 0, "loss": jnp.sum((w - y) ** 2)}

    last, kept = lax.scan(step, jnp.zeros(2), (given, own))
    backwards, _ = lax.scan(step, last, (given, own), reverse=True)
    return {"last": last, "backwards": backwards, **kept}


def corners(key):
    """What once was wrong: indices beyond the ends, products of booleans, negative counters, constants as a start."""
    x, on = drawn(key, 4), drawn(key, 3, 3) > 0.5

    def step(i, state):
        x, on, kept, done = state
        filled = jnp.nan_to_num(jnp.take(x, jnp.array([5, 1, 2, 7])), nan=3.0)
        filled = filled + jnp.take(x, jnp.array([9, 0, 0, 1]), mode="fill", fill_value=0)
        x = x * 0.5 + 0.1 * filled + 0.01 * i
        kept = jnp.where(done, kept, kept * 0.5)
        return x, jnp.maximum(on @ on, on), kept, done | (x[0] < 0.1)

    return lax.fori_loop(-3, 4, step, (x, on, jnp.float32(1), jnp.array(False)))


def _optimised(name):
    optimiser = getattr(optax, name)(0.03)

    def train(key):
        params = {"w": 0.5 * drawn(key, 2, 2), "b": jnp.zeros(2)}

        def loss(params):
            hidden = jnp.tanh(jnp.array([[0.0, 1.0], [1.0, 0.5]]) @ params["w"] + params["b"])
            return jnp.mean((hidden.sum(1) - jnp.array([0.3, -0.2])) ** 2)

        def step(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimiser.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = lax.scan(step, (params, optimiser.init(params)), length=25)
        return {"params": params, "losses": losses}

    train.__name__ = name
    return train


def _activated(name):
    record = catalogue.get(name)

    def train(key):
        w = drawn(key, 2, 2)
        own = {parameter: jnp.full(2, start) for parameter, start in record.params.items()}
        points = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])

        def step(_, params):
            def loss(params):
                w, own = params
                return jnp.mean((record.fn(points @ w, **{name: p[None] for name, p in own.items()}) - 0.2) ** 2)

            return jax.tree.map(lambda p, g: p - 0.02 * g, params, jax.grad(loss)(params))

        return lax.fori_loop(0, 10, step, (w, own))

    train.__name__ = name
    return train


OPTIMISERS = [_optimised(name) for name in ("sgd", "adam", "rmsprop", "adagrad", "nadam", "lion")]
ACTIVATIONS = [_activated(name) for name in catalogue.names()]
KINDS = [matrices, functions, branches, places, history, corners]
