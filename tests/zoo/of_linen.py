"""Networks written with flax.linen."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from tests.zoo.case import Case, classes, mean_square, normal, to_ones


def initial(model, *args, method="__call__", **kwargs):
    """The variables of a model, made by one compiled program."""
    return jax.jit(functools.partial(model.init, method=method))(*args, **kwargs)


class Residual(nn.Module):
    features: int
    act: Callable = nn.relu

    @nn.compact
    def __call__(self, x, train):
        norm = functools.partial(nn.BatchNorm, use_running_average=not train)
        y = norm()(nn.Conv(self.features, (3, 3))(self.act(norm()(x))))
        if x.shape != y.shape:
            x = nn.Conv(self.features, (1, 1))(x)
        return self.act(x + y)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        for features in (4, 6):
            x = Residual(features)(x, train)
        return nn.Dense(3)(nn.avg_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1))


def resnet():
    """Blocks with running averages; one activation after the sum, no layer feeds it alone."""
    model, x = ResNet(), normal(20, 8, 4, 4, 4)
    return Case(
        model=model,
        variables=initial(model, jax.random.key(21), x),
        args=(x,),
        kwargs={"train": False},
        activations=["relu"] * 4,
        loss=classes,
    )


class Generator(nn.Module):
    def setup(self):
        self.hidden, self.out = nn.Dense(7), nn.Dense(4)

    def __call__(self, x):
        mean, log_variance = jnp.split(self.out(nn.silu(self.hidden(x))), 2, axis=-1)
        noise = jax.random.normal(self.make_rng("draw"), mean.shape)
        return mean + jnp.exp(0.5 * log_variance) * noise, nn.tanh(mean)


def generator():
    """Two results, and a stream of random numbers; an exponential is no activation."""
    model, x = Generator(), normal(22, 8, 5)
    keys = {"params": jax.random.key(23), "draw": jax.random.key(24)}
    return Case(
        model=model,
        variables=initial(model, keys, x),
        args=(x,),
        kwargs={"rngs": {"draw": jax.random.key(25)}},
        activations=["silu", "tanh"],
        loss=mean_square,
    )


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(5)(jnp.square(nn.relu(nn.Dense(6)(x)))), None


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        layers = nn.scan(nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = layers(name="layers")(x, None)
        return nn.Dense(2)(x)


def scanned():
    """A scan over layers that are computed again for the derivative; the square of a ReLU."""
    model, x = Scanned(), normal(26, 8, 5)
    return Case(
        model=model, variables=initial(model, jax.random.key(27), x), args=(x,), activations=["relu"], loss=to_ones
    )


class Conditioned(nn.Module):
    @nn.compact
    def score(self, x, *, condition):
        scale, shift = jnp.split(nn.Dense(12)(nn.celu(nn.Dense(4)(condition))), 2, axis=-1)
        return nn.Dense(1)(jax.nn.mish((1 + scale) * nn.Dense(6)(x) + shift))[:, 0]


def conditioned():
    """Entered by another method, with a named array."""
    model, x, condition = Conditioned(), normal(28, 8, 5), normal(29, 8, 2)
    return Case(
        model=model,
        variables=initial(model, jax.random.key(30), x, condition=condition, method="score"),
        args=(x,),
        kwargs={"condition": condition, "method": "score"},
        activations=["celu", "mish"],
        loss=to_ones,
        batched=False,
    )


class Lstm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.RNN(nn.LSTMCell(5))(x)[:, -1])


def lstm():
    """A recurrent network with three gates."""
    model, x = Lstm(), normal(31, 8, 4, 3)
    return Case(
        model=model,
        variables=initial(model, jax.random.key(32), x),
        args=(x,),
        activations=["tanh", "tanh"],
        gates=3,
        loss=to_ones,
    )


CASES = [resnet, generator, scanned, conditioned, lstm]
