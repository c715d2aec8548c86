"""Five trainings of classifiers and regressions, as users write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx
from jax import lax

import paramact_jax as pa

Results = dict[str, jax.Array]
TrainOne = Callable[..., Results]


def deep_narrow(iterations: int) -> TrainOne:
    """Make the training of `python -m experiments xor10` for PPNS, with nnx and optax."""
    inputs, targets = pa.datasets.xor()
    normal = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        rngs = nnx.Rngs(params=key)
        layers: list[Any] = []
        for _ in range(10):
            layers += [nnx.Linear(2, 2, kernel_init=normal, rngs=rngs), pa.nnx.Parametric("ppns", features=2)]
        model = nnx.Sequential(*layers, nnx.Linear(2, 1, kernel_init=normal, rngs=rngs))
        graphdef, state = nnx.split(model)
        optimiser = optax.sgd(learning_rate)

        def loss_of(state: Any) -> jax.Array:
            return 0.5 * jnp.mean((nnx.merge(graphdef, state)(inputs) - targets) ** 2)

        def update(_: jax.Array, carry: Any) -> Any:
            state, moments = carry
            updates, moments = optimiser.update(jax.grad(loss_of)(state), moments, state)
            return optax.apply_updates(state, updates), moments

        state, _ = lax.fori_loop(0, iterations, update, (state, optimiser.init(state)))
        return {"loss": 2 * loss_of(state), "outputs": nnx.merge(graphdef, state)(inputs)[:, 0]}

    return train_one


def logistic_regression(iterations: int) -> TrainOne:
    """Make gradient descent of a linear classifier of 16 points with 3 features."""

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        of_points, of_labels = jax.random.split(key)
        x = jax.random.normal(of_points, (16, 3))
        labels = jnp.where(x.sum(1) + jax.random.normal(of_labels, (16,)) > 0, 1.0, -1.0)

        def loss_of(w: jax.Array) -> jax.Array:
            return jnp.mean(jax.nn.softplus(-labels * (x @ w)))

        w = lax.fori_loop(0, iterations, lambda _, w: w - learning_rate * jax.grad(loss_of)(w), jnp.zeros(3))
        return {"loss": loss_of(w), "w": w}

    return train_one


def adam_mlp(iterations: int) -> TrainOne:
    """Make full-batch Adam on a linen network of two hidden layers of 32 nodes, and two interleaved half-circles."""
    angles = np.linspace(0, np.pi, 32)
    moons = [np.stack([np.cos(angles), np.sin(angles)], 1), np.stack([1 - np.cos(angles), 0.5 - np.sin(angles)], 1)]
    points, labels = np.concatenate(moons).astype(np.float32), np.repeat([0, 1], 32)
    model = linen.Sequential([linen.Dense(32), linen.relu, linen.Dense(32), linen.relu, linen.Dense(2)])

    def loss_of(params: Any) -> jax.Array:
        logits = model.apply(params, points)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        params = model.init(key, points)
        optimiser = optax.adam(learning_rate)

        def update(carry: Any, _: None) -> Any:
            params, moments = carry
            loss, gradient = jax.value_and_grad(loss_of)(params)
            updates, moments = optimiser.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), loss

        (params, _), losses = lax.scan(update, (params, optimiser.init(params)), length=iterations)
        return {"loss": loss_of(params), "losses": losses}

    return train_one


def minibatches(iterations: int) -> TrainOne:
    """Make `iterations` epochs of SGD with momentum, each in a new order, on 128 points and batches of 16."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 4)).astype(np.float32)
    y = np.sin(x[:, :1] * x[:, 1:2]) + 0.1 * x[:, 2:3]

    def predict(params: Any, x: Any) -> jax.Array:
        return jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        k1, k2, of_order = jax.random.split(key, 3)
        params = {
            "w1": jax.random.normal(k1, (4, 16)) / 2,
            "b1": jnp.zeros(16),
            "w2": jax.random.normal(k2, (16, 1)) / 4,
            "b2": jnp.zeros(1),
        }
        optimiser = optax.sgd(learning_rate, momentum=0.9)

        def step(carry: Any, batch: jax.Array) -> Any:
            params, moments = carry
            xb, yb = jnp.asarray(x)[batch], jnp.asarray(y)[batch]
            loss, gradient = jax.value_and_grad(lambda params: jnp.mean((predict(params, xb) - yb) ** 2))(params)
            updates, moments = optimiser.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), loss

        def epoch(carry: Any, key: jax.Array) -> Any:
            carry, losses = lax.scan(step, carry, jax.random.permutation(key, 128).reshape(8, 16))
            return carry, losses.mean()

        carry = params, optimiser.init(params)
        (params, _), losses = lax.scan(epoch, carry, jax.random.split(of_order, iterations))
        return {"loss": jnp.mean((predict(params, x) - y) ** 2), "losses": losses}

    return train_one


class SmallCNN(nnx.Module):
    """A convolution of 8 channels, relu, the mean of 2 x 2 and a linear layer, for images of 8 x 8."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.out = nnx.Linear(8 * 4 * 4, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits of shape (batch, 2)."""
        x = nnx.avg_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.out(x.reshape(len(x), -1))


def small_cnn(iterations: int) -> TrainOne:
    """Make `iterations` epochs of Adam on 64 images of bars that stand or lie, in batches of 16."""
    rng = np.random.default_rng(0)
    images, labels = rng.normal(scale=0.7, size=(64, 8, 8, 1)).astype(np.float32), np.arange(64) % 2
    for image, label in zip(images, labels, strict=True):
        (image if label else image.swapaxes(0, 1))[rng.integers(8)] += 1
    batches = images.reshape(4, 16, 8, 8, 1), labels.reshape(4, 16)

    def train_one(key: jax.Array, learning_rate: Any) -> Results:
        graphdef, state = nnx.split(SmallCNN(nnx.Rngs(params=key)))
        optimiser = optax.adam(learning_rate)

        def loss_of(state: Any, x: Any, y: Any) -> jax.Array:
            logits = nnx.merge(graphdef, state)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        def step(carry: Any, batch: Any) -> Any:
            state, moments = carry
            loss, gradient = jax.value_and_grad(loss_of)(state, *batch)
            updates, moments = optimiser.update(gradient, moments, state)
            return (optax.apply_updates(state, updates), moments), loss

        def epoch(carry: Any, _: None) -> Any:
            carry, losses = lax.scan(step, carry, batches)
            return carry, losses.mean()

        (state, _), losses = lax.scan(epoch, (state, optimiser.init(state)), length=iterations)
        return {"loss": loss_of(state, images, labels), "losses": losses}

    return train_one
