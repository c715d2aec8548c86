"""Trainings as people write them, all trials at once with the trials last, against jax.vmap."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen, nnx
from jax import lax

from tests.programs.agreement import TRIALS, check, keys, normal

pytestmark = pytest.mark.usefixtures("unoptimised")
X, Y = normal(8, 4), normal(8, 1, seed=1)
RATES = jnp.linspace(0.01, 0.1, TRIALS)
slow = pytest.mark.slow


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(4, 9, rngs=rngs), nnx.Linear(9, 1, rngs=rngs)
        self.norm, self.dropout = nnx.BatchNorm(9, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(nnx.relu(self.norm(self.first(x)))))


def batch_norm_and_dropout(key):
    model = Normed(nnx.Rngs(key))
    optimiser = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser):
        loss, gradients = nnx.value_and_grad(lambda model: ((model(X) - Y) ** 2).mean())(model)
        optimiser.update(model, gradients)
        return loss

    losses = [step(model, optimiser) for _ in range(3)]
    model.eval()
    return losses, model(X), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


class Block(linen.Module):
    @linen.compact
    def __call__(self, x, train):
        y = linen.MultiHeadDotProductAttention(2, dropout_rate=0.1, deterministic=not train)(linen.LayerNorm()(x))
        x = x + linen.Dropout(0.1, deterministic=not train)(y)
        return x + linen.Dense(4)(linen.gelu(linen.Dense(8)(linen.LayerNorm()(x))))


def transformer(key):
    model, x, y = Block(), normal(2, 3, 4), normal(2, 3, 4, seed=1)
    params, optimiser = model.init(key, x, False), optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.01))

    def step(carry, key):
        params, state = carry
        loss, gradients = jax.value_and_grad(
            lambda params: ((model.apply(params, x, True, rngs={"dropout": key}) - y) ** 2).mean()
        )(params)
        updates, state = optimiser.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), loss

    carry, losses = lax.scan(step, (params, optimiser.init(params)), jax.random.split(key, 2))
    return losses, model.apply(carry[0], x, False)


def recurrent(key):
    x, y = normal(3, 5, 2), normal(3, 5, 4, seed=1)
    model = nnx.RNN(nnx.LSTMCell(2, 4, rngs=nnx.Rngs(key)))
    optimiser = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    for _ in range(2):
        optimiser.update(model, nnx.grad(lambda model: ((model(x) - y) ** 2).mean())(model))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param)), model(x)


class Recurrent(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.RNN(linen.OptimizedLSTMCell(4))(x)
        return linen.Dense(1)(linen.Bidirectional(linen.RNN(linen.GRUCell(3)), linen.RNN(linen.GRUCell(3)))(x))


def recurrent_linen(key):
    model, x = Recurrent(), normal(3, 5, 2)
    params = model.init(key, x)
    return jax.value_and_grad(lambda params: (model.apply(params, x) ** 2).mean())(params)


def scheduled(rate, key):
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, 2, 6)
    momentum = optax.trace(0.9, nesterov=True), optax.scale_by_schedule(lambda n: -rate * schedule(n))
    inner = optax.chain(optax.clip_by_global_norm(0.5), *momentum)
    optimiser = optax.MultiSteps(inner, 2)
    params = {"w": 0.5 * jax.random.normal(key, (4, 1)), "b": jnp.zeros(())}

    def step(carry, x):
        params, state = carry
        loss, gradients = jax.value_and_grad(lambda p: jnp.mean(optax.huber_loss(x @ p["w"] + p["b"], Y)))(params)
        updates, state = optimiser.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), loss

    return lax.scan(step, (params, optimiser.init(params)), jnp.stack([X, X * 2, -X, X, X]))


def neural_ode(rate, key):
    def flow(w, x):
        return lax.fori_loop(0, 5, lambda i, x: x + 0.1 * jnp.tanh(x @ w) * (i + 1) / 5, x)

    w = jax.random.normal(key, (4, 4))
    for _ in range(2):
        w = w - rate * jax.grad(lambda w: ((flow(w, X) - Y) ** 2).mean())(w)
    steps, end = lax.while_loop(
        lambda c: (c[0] < 20) & (jnp.abs(c[1]).max() < 3), lambda c: (c[0] + 1, c[1] + 0.3 * c[1] @ w), (0, X)
    )
    return w, steps, end


def evolution(rate, key):
    def generation(mean, key):
        noise = jax.random.normal(key, (6, 4))
        scores = jax.vmap(lambda n: -jnp.square(X @ (mean + 0.1 * n) - Y[:, 0]).mean())(noise)
        ranks = jnp.argsort(jnp.argsort(scores))
        best = noise[jnp.argsort(-scores)[:2]].mean(0)
        return mean + rate * (ranks[:, None] * noise).mean(0) + 0.1 * best, scores.max()

    return lax.scan(generation, jnp.zeros(4), jax.random.split(key, 3))


def gaussian_process(rate):
    def likelihood(log_scale):
        distances = jnp.square(X[:, None] - X[None]).sum(-1)
        factor = jnp.linalg.cholesky(jnp.exp(-distances * jnp.exp(log_scale)) + 0.1 * jnp.eye(8))
        whitened = jax.scipy.linalg.solve_triangular(factor, Y[:, 0], lower=True)
        return 0.5 * whitened @ whitened + jnp.log(jnp.diag(factor)).sum()

    step = lambda s, _: (s - rate * jax.grad(likelihood)(s), likelihood(s))  # noqa: E731
    return lax.scan(step, jnp.float32(0.1), None, 3)


def k_means(key):
    centres = X[jax.random.choice(key, 8, (3,), replace=False)]

    def step(carry):
        centres, _, count = carry
        nearest = jnp.square(X[:, None] - centres[None]).sum(-1).argmin(1)
        sizes = jnp.zeros(3).at[nearest].add(1.0)
        new = jnp.zeros_like(centres).at[nearest].add(X) / jnp.maximum(sizes, 1)[:, None]
        return new, jnp.abs(new - centres).max(), count + 1

    return lax.while_loop(lambda c: (c[1] > 1e-4) & (c[2] < 9), step, (centres, jnp.float32(1), 0))


def graph_network(key):
    senders, receivers = jnp.asarray([0, 1, 2, 3, 0, 5]), jnp.asarray([1, 2, 3, 4, 6, 7])
    ws = tuple(jax.random.normal(k, (4, 4)) for k in jax.random.split(key))

    def run(ws):
        x = X
        for w in ws:
            messages = jax.nn.silu(x[senders] @ w)
            weights = jax.nn.softplus(jax.ops.segment_max(messages, receivers, 8).max(1, initial=0.0))
            x = x + jax.ops.segment_sum(messages, receivers, 8) * weights[:, None]
        return (x**2).mean()

    return jax.tree.map(lambda w, g: w - 0.1 * g, ws, jax.grad(run)(ws))


class Images(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.out = nnx.Conv(1, 3, (3, 3), rngs=rngs), nnx.Linear(12, 2, rngs=rngs)
        self.table = nnx.Embed(5, 2, rngs=rngs)

    def __call__(self, x, classes):
        x = nnx.max_pool(nnx.gelu(self.conv(x)), (2, 2), strides=(2, 2))
        return self.out(x.reshape(x.shape[0], -1)) + self.table(classes)


def images_and_embeddings(key):
    graph, params = nnx.split(Images(nnx.Rngs(key)))
    x, classes = normal(4, 4, 4, 1), jnp.asarray([0, 3, 3, 1])

    def loss(params):
        logits = nnx.merge(graph, params)(x, classes)
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes % 2).mean()

    return jax.value_and_grad(loss)(params)[0], nnx.to_pure_dict(jax.grad(loss)(params))


def minibatches(key, rate):
    """Shuffled minibatches in nested loops, the best weights kept, stopped early."""

    def epoch(carry):
        key, w, best, count, _ = carry
        key, own = jax.random.split(key)
        order = jax.random.permutation(own, 8).reshape(4, 2)

        def step(w, rows):
            return w - rate * jax.grad(lambda w: jnp.square(X[rows] @ w - Y[rows]).mean())(w), None

        w = lax.scan(step, w, order)[0]
        loss = jnp.square(X @ w - Y).mean()
        better = loss < best[0]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (loss, w), best)
        return key, w, best, count + 1, better

    start = key, jnp.zeros((4, 1)), (jnp.float32(jnp.inf), jnp.zeros((4, 1))), 0, jnp.bool_(True)
    return lax.while_loop(lambda c: c[4] & (c[3] < 6), epoch, start)[1:]


@pytest.mark.parametrize(
    "train",
    [
        *(graph_network, k_means, recurrent_linen, images_and_embeddings),
        *(pytest.param(train, marks=slow) for train in (batch_norm_and_dropout, transformer, recurrent)),
    ],
)
def test_trainings_of_many_seeds(train):
    check(train, keys(), tolerance=2e-4)


@pytest.mark.parametrize("train", [scheduled, neural_ode, evolution])
def test_trainings_of_many_rates(train):
    check(train, RATES, keys(), tolerance=2e-4)
    check(train, RATES, jax.random.key(1), own=[True, False], tolerance=2e-4)


def test_a_gaussian_process():
    check(gaussian_process, RATES, tolerance=1e-3)


def test_minibatches_in_loops_that_end_early():
    check(minibatches, keys(), RATES * 5, tolerance=2e-4)
    check(minibatches, jax.random.key(0), RATES * 5, own=[False, True], tolerance=2e-4)
