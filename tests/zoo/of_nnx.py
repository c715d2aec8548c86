"""Networks written with flax.nnx."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from tests.zoo.case import Case, classes, normal, to_ones


class Inline(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(n, m, rngs=rngs) for n, m in [(5, 9), (9, 7), (7, 6), (6, 1)]])

    def __call__(self, x):
        x = nnx.relu(self.layers[0](x))
        x = jnp.tanh(self.layers[1](x))
        x = jnp.maximum(self.layers[2](x), 0)
        return nnx.sigmoid(self.layers[3](x).squeeze(-1))


def inline():
    """Activations where they are used; the last sees the batch alone."""
    return Case(
        model=Inline(nnx.Rngs(0)),
        args=(normal(1, 8, 5),),
        activations=["relu", "tanh", "relu", "sigmoid"],
        loss=to_ones,
    )


def sequential():
    """A Sequential of functions: named, partial, a lambda."""
    rngs = nnx.Rngs(2)
    model = nnx.Sequential(
        *(nnx.Linear(4, 9, rngs=rngs), nnx.gelu),
        *(nnx.Linear(9, 8, rngs=rngs), functools.partial(nnx.leaky_relu, negative_slope=0.2)),
        *(nnx.Linear(8, 7, rngs=rngs), lambda y: y * nnx.sigmoid(1.5 * y)),
        *(nnx.Linear(7, 6, rngs=rngs), nnx.hard_swish, nnx.Linear(6, 3, rngs=rngs)),
    )
    names = ["gelu", "leaky_relu", "function of sigmoid", "hard_silu"]
    return Case(model=model, args=(normal(3, 8, 4),), activations=names, loss=classes)


class Unit(nnx.Module):
    def __init__(self, n, m, act, rngs):
        self.conv, self.norm, self.act = nnx.Conv(n, m, (3, 3), rngs=rngs), nnx.BatchNorm(m, rngs=rngs), act

    def __call__(self, x):
        return self.act(self.norm(self.conv(x)))


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.units = nnx.List([Unit(2, 6, nnx.relu, rngs), Unit(6, 5, nnx.elu, rngs)])
        self.drop, self.out = nnx.Dropout(0.3, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        for unit in self.units:
            x = unit(x)
        return self.out(self.drop(x.mean((1, 2))))


def classifier():
    """A CNN in evaluation mode: norms and dropout hold state."""
    model = Classifier(nnx.Rngs(4))
    model(normal(5, 8, 6, 6, 2))
    model.eval()
    return Case(model=model, args=(normal(6, 8, 6, 6, 2),), activations=["relu", "elu"], loss=classes)


class Attention(nnx.Module):
    def __init__(self, rngs):
        self.embed, self.place = nnx.Embed(11, 8, rngs=rngs), nnx.Param(0.1 * rngs.params.normal((1, 5, 8)))
        self.norms = nnx.List([nnx.LayerNorm(8, rngs=rngs), nnx.RMSNorm(8, rngs=rngs)])
        self.attention = nnx.MultiHeadAttention(2, 8, dtype=jnp.bfloat16, decode=False, rngs=rngs)
        self.wide, self.gate = (nnx.Linear(8, 12, dtype=jnp.bfloat16, rngs=rngs) for _ in range(2))
        self.narrow = nnx.Linear(12, 8, dtype=jnp.bfloat16, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens) + self.place[...]
        x = x + self.attention(self.norms[0](x))
        y = self.norms[1](x)
        return self.head((x + self.narrow(nnx.silu(self.gate(y)) * self.wide(y))).mean(1))


def attention():
    """A transformer block on integers, with a gated layer, computing in bfloat16."""
    tokens = (jnp.arange(40).reshape(8, 5) * 7) % 11
    return Case(model=Attention(nnx.Rngs(7)), args=(tokens,), activations=["silu"], loss=classes)


class Reader(nnx.Module):
    def __init__(self, rngs):
        self.rnn = nnx.RNN(nnx.GRUCell(3, 6, rngs=rngs), rngs=rngs)
        self.out = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, series):
        return self.out(nnx.soft_sign(self.rnn(series)[:, -1]))


def reader():
    """A recurrent network; a call moves its random stream on."""
    return Case(
        model=Reader(nnx.Rngs(8)),
        args=(normal(9, 8, 5, 3),),
        activations=["tanh", "soft_sign"],
        gates=2,
        loss=to_ones,
    )


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm, self.linear = nnx.LayerNorm(6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return x + self.linear(nnx.gelu(self.norm(x), approximate=False))


class Stacked(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.split_rngs(splits=3)(nnx.vmap(Block, in_axes=0, out_axes=0))(rngs)
        self.last = nnx.remat(lambda block, x: block(x))
        self.block, self.out = Block(rngs), nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)
        return self.out(self.last(self.block, x))


def stacked():
    """Blocks stacked for a scan, and one that is computed again for the derivative."""
    return Case(model=Stacked(nnx.Rngs(10)), args=(normal(11, 8, 6),), activations=["gelu", "gelu"], loss=to_ones)


class Coder(nnx.Module):
    def __init__(self, rngs):
        self.a, self.b = nnx.Linear(5, 4, rngs=rngs), nnx.Linear(4, 5, rngs=rngs)
        self.noise = nnx.Rngs(3)

    def encode(self, x, *, scale):
        y = nnx.softplus(self.a(x))
        return {"code": scale * (y + 0.1 * jax.random.normal(self.noise.draw(), y.shape)), "size": None}

    def __call__(self, x):
        return jnp.arctan(self.b(self.encode(x, scale=1.0)["code"]))


def coder():
    """Entered by another method, with a named number and a dict as its result; draws random numbers."""
    return Case(
        model=Coder(nnx.Rngs(12)),
        args=(normal(13, 8, 5),),
        kwargs={"method": "encode", "scale": 0.5},
        activations=["softplus"],
        loss=lambda result: to_ones(result["code"]),
    )


CASES = [inline, sequential, classifier, attention, reader, stacked, coder]
