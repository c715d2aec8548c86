"""Measures an existing model before and after its activations are trainable, and the attribution of its gradient."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.bench.contest import ratios, say
from experiments.problems.timing import in_turns, timed
from experiments.study.tables import Column, Table
from paramact_jax.gradients import attribute
from paramact_jax.layers import parametrise

TARGET = 1.3
"""Target: a step of the changed model takes at most this many times as long as a step of the model as it was."""
ATTRIBUTION_TARGET = 3.0
"""Target: the attribution of the gradient takes at most this many times as long as such a step."""


class ResNet(nn.Module):
    """A stem, and residual blocks of two convolutions, each behind a norm and an activation."""

    features: int
    blocks: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the outputs."""
        x = nn.Conv(self.features, (3, 3))(x)
        for _ in range(self.blocks):
            y = x
            for _ in range(2):
                y = nn.Conv(self.features, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(8)(y)))
            x = x + y
        return nn.Dense(10)(x.mean((1, 2)))


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each behind a norm."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the block's output."""
        x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
        return x + nn.Dense(self.features)(nn.gelu(nn.Dense(4 * self.features)(nn.LayerNorm()(x))))


Models = dict[str, tuple[nn.Module, tuple[int, ...]]]
MODELS: Models = {
    "ResNet, 2 blocks of 64 channels": (ResNet(64), (32, 16, 16, 3)),
    "transformer block of 256": (TransformerBlock(256), (16, 64, 256)),
}
"""Each with the shape of an input."""
TINY: Models = {"tiny ResNet": (ResNet(8, 1), (2, 4, 4, 3))}


def measure(*, rounds: int, models: Models = MODELS) -> list[dict[str, Any]]:
    """Measures the milliseconds of a gradient step of each model, as it was and with trainable activations.

    Also measures `attribute`. The three take turns. Compilation and tracing are not counted.
    """
    rows = []
    for name, (module, shape) in models.items():
        say(f"{name}, before and after parametrise, and attribute")
        x = jax.random.normal(jax.random.key(0), shape)
        variables = module.init(jax.random.key(1), x)
        retrofit = parametrise(module, variables, x)
        runs = {
            "plain": timed(functools.partial(_step, module.apply, x), variables),
            "changed": timed(functools.partial(_step, retrofit.apply, x), retrofit.variables),
            "attributed": timed(functools.partial(_look, module, x), variables),
        }
        times = in_turns(runs, rounds, pause=0)
        medians = {way: 1e3 * statistics.median(values) for way, values in times.items()}
        changed, attributed = (ratios(times[way], times["plain"])["median"] for way in ("changed", "attributed"))
        row = {"model": name, "activations": len(retrofit.changed), **medians}
        row |= {"ratio": changed, "met": changed <= TARGET}
        rows.append(row | {"attribution_ratio": attributed, "attribution_met": attributed <= ATTRIBUTION_TARGET})
    return rows


def _mean_square(output: jax.Array) -> jax.Array:
    return jnp.mean(output**2)


def _step(apply: Any, x: jax.Array, variables: Any) -> Any:
    gradient = jax.grad(lambda variables: _mean_square(apply(variables, x)))(variables)
    return jax.tree.map(lambda v, g: v - 1e-3 * g, variables, gradient)


def _look(module: nn.Module, x: jax.Array, variables: Any) -> Any:
    return attribute(module, variables, x, loss=_mean_square)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Returns the rows of `measure` for people."""
    columns = {
        "plain": Column("as it was, ms", ".1f"),
        "changed": Column("parametrised, ms", ".1f"),
        "ratio": Column("ratio", ".2f"),
        "attributed": Column("attributed, ms", ".1f"),
        "attribution_ratio": Column("ratio of this", ".2f"),
    }
    return Table(
        "A gradient step of a model",
        ["model", "activations", *columns.values()],
        [[row["model"], row["activations"], *(row[name] for name in columns)] for row in rows],
        f"Compiled; the ratios are to be at most {TARGET:g} and {ATTRIBUTION_TARGET:g}.",
    )
