"""Eight trainings as users write them, to time ways to run their trials.

Each is a pure function `train_one(key, **settings)` of one trial, which does not depend on this project's sweeps.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
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


@dataclasses.dataclass(frozen=True)
class Training:
    """A training and the trials to time it on.

    Attributes:
      name: its label.
      make: makes the function for a number of iterations, epochs or episodes. Its docstring says what it is.
      iterations: how many `fn` makes.
      trials: how many are timed together.
      settings: what `fn` takes other than the key.
      result: the number in the results of `fn` that says how well it went.
    """

    name: str
    make: Callable[[int], TrainOne]
    iterations: int
    trials: int
    settings: Mapping[str, Any]
    result: str = "loss"

    @functools.cached_property
    def fn(self) -> TrainOne:
        """Makes the function of one trial."""
        return self.make(self.iterations)

    @property
    def what(self) -> str:
        """Says the model, the data and the optimiser in a few words."""
        return inspect.getdoc(self.make) or ""

    def small(self) -> Training:
        """Returns the same training so short that it takes no time, for tests."""
        return self.of(iterations=3, trials=8)

    def of(self, *, iterations: int, trials: int) -> Training:
        """Returns the same training with another number of iterations and trials."""
        return dataclasses.replace(self, iterations=iterations, trials=trials)


def step_of(optimiser: optax.GradientTransformation, loss_of: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Makes the step of a scan: (params, moments) and a batch -> the same after it, and the loss before it.

    Args:
      optimiser: from optax.
      loss_of: (params, *batch) -> a number.
    """

    def step(carry: Any, batch: Any) -> Any:
        params, moments = carry
        loss, gradient = jax.value_and_grad(loss_of)(params, *batch)
        updates, moments = optimiser.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    return step


def deep_narrow(iterations: int) -> TrainOne:
    """Makes the training of `python -m experiments xor10` for PPNS, with nnx and optax."""
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

        step, start = step_of(optimiser, loss_of), (state, optimiser.init(state))
        state, _ = lax.fori_loop(0, iterations, lambda _, carry: step(carry, ())[0], start)
        return {"loss": 2 * loss_of(state), "outputs": nnx.merge(graphdef, state)(inputs)[:, 0]}

    return train_one


def logistic_regression(iterations: int) -> TrainOne:
    """Makes gradient descent of a linear classifier of 16 points with 3 features."""

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
    """Makes full-batch Adam on a linen network of two hidden layers of 32 nodes, and two interleaved half-circles."""
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

        start = params, optimiser.init(params)
        (params, _), losses = lax.scan(step_of(optimiser, loss_of), start, (), iterations)
        return {"loss": loss_of(params), "losses": losses}

    return train_one


def minibatches(iterations: int) -> TrainOne:
    """Makes `iterations` epochs of SGD with momentum, each in a new order, on 128 points and batches of 16."""
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

        def loss_of(params: Any, batch: jax.Array) -> jax.Array:
            xb, yb = jnp.asarray(x)[batch], jnp.asarray(y)[batch]
            return jnp.mean((predict(params, xb) - yb) ** 2)

        def epoch(carry: Any, key: jax.Array) -> Any:
            order = jax.random.permutation(key, 128).reshape(8, 16)
            carry, losses = lax.scan(step_of(optimiser, loss_of), carry, (order,))
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
        """Returns logits of shape (batch, 2)."""
        x = nnx.avg_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.out(x.reshape(len(x), -1))


def small_cnn(iterations: int) -> TrainOne:
    """Makes `iterations` epochs of Adam on 64 images of bars that stand or lie, in batches of 16."""
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

        def epoch(carry: Any, _: None) -> Any:
            carry, losses = lax.scan(step_of(optimiser, loss_of), carry, batches)
            return carry, losses.mean()

        (state, _), losses = lax.scan(epoch, (state, optimiser.init(state)), length=iterations)
        return {"loss": loss_of(state, images, labels), "losses": losses}

    return train_one


def recurrent(iterations: int) -> TrainOne:
    """Makes Adam on a gated recurrent cell of 8 nodes that says the sum of the marked two of 16 numbers."""

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

        step, start = step_of(optimiser, loss_of), (params, optimiser.init(params))
        params, _ = lax.fori_loop(0, iterations, lambda _, carry: step(carry, ())[0], start)
        return {"loss": loss_of(params), "w": params["out"]["w"][:, 0]}

    return train_one


def pinn(iterations: int) -> TrainOne:
    """Makes Adam on a network of two layers of 16 tanh nodes that solves u'' + pi^2 sin(pi x) = 0, u(0) = u(1) = 0."""
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
        start = params, optimiser.init(params)
        (params, _), losses = lax.scan(step_of(optimiser, loss_of), start, (), iterations)
        return {"loss": losses[-1], "u": jax.vmap(u, (None, 0))(params, points)}

    return train_one


def episodes(iterations: int) -> TrainOne:
    """Makes policy gradient updates, one after each episode in which a pole on a cart falls or 200 steps are over."""
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


TRAININGS = {
    training.name: training
    for training in (
        Training("deep narrow network", deep_narrow, 1_500, 1_024, {"learning_rate": 0.05}),
        Training("logistic regression", logistic_regression, 6_000, 1_024, {"learning_rate": 0.1}),
        Training("MLP of 32 nodes with Adam", adam_mlp, 200, 256, {"learning_rate": 0.01}),
        Training("shuffled minibatches", minibatches, 75, 512, {"learning_rate": 0.05}),
        Training("small CNN", small_cnn, 5, 128, {"learning_rate": 0.003}),
        Training("recurrent network", recurrent, 30, 256, {"learning_rate": 0.02}),
        Training("PINN", pinn, 150, 256, {"learning_rate": 0.01}),
        Training("episode with while and cond", episodes, 100, 1_024, {"learning_rate": 0.5}, "usual"),
    )
}
"""By name."""
