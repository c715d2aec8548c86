"""What an existing model costs once its activations are trainable, and what it costs to attribute its gradient."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.bench.activations import in_turns
from experiments.study.tables import Table
from paramact_jax.gradients import attribute
from paramact_jax.layers import parametrise

TARGET = 1.3
"""A step of the changed model is to take at most this many times as long as one of the model as it was."""
ATTRIBUTION_TARGET = 3.0
"""So many times as long as such a step may the attribution of the gradient take."""


class ResidualBlock(nn.Module):
    """Two convolutions behind norms and activations, around which the input goes."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the block's output."""
        y = x
        for _ in range(2):
            y = nn.Conv(self.features, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(8)(y)))
        return x + y


class ResNet(nn.Module):
    """A stem and residual blocks."""

    features: int
    blocks: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the block's output."""
        x = nn.Conv(self.features, (3, 3))(x)
        for _ in range(self.blocks):
            x = ResidualBlock(self.features)(x)
        return nn.Dense(10)(x.mean((1, 2)))


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each behind a norm."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the block's output."""
        x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
        return x + nn.Dense(self.features)(nn.gelu(nn.Dense(4 * self.features)(nn.LayerNorm()(x))))


@dataclasses.dataclass(frozen=True)
class Model:
    """A model and an input."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]


MODELS = (
    Model("ResNet, 2 blocks of 64 channels", ResNet(64), (32, 16, 16, 3)),
    Model("transformer block of 256", TransformerBlock(256), (16, 64, 256)),
)
TINY = (Model("tiny ResNet", ResNet(8, 1), (2, 4, 4, 3)),)


def measure(
    *, rounds: int, models: Sequence[Model] = MODELS, on_progress: Callable[[str], None] = lambda message: None
) -> list[dict[str, Any]]:
    """Returns milliseconds of a gradient step of each model, as it was and with trainable activations.

    And of `attribute`. They take turns. Compilation is not counted, nor is tracing.

    Args:
      rounds: measured steps of each.
      models: what is measured.
      on_progress: called with a line for people for each model.
    """
    rows = []
    for model in models:
        on_progress(f"{model.name}, before and after parametrise, and attribute")
        x = jax.random.normal(jax.random.key(0), model.shape)
        variables = model.module.init(jax.random.key(1), x)
        retrofit = parametrise(model.module, variables, x)
        runs = {
            "plain": _step(model.module.apply, variables, x),
            "changed": _step(retrofit.apply, retrofit.variables, x),
            "attributed": _timed(functools.partial(_look, model.module, x), variables),
        }
        times = in_turns(runs, rounds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio, of_look = (
            statistics.median(b / a for a, b in zip(times["plain"], times[name], strict=True))
            for name in ("changed", "attributed")
        )
        row = {"model": model.name, "activations": len(retrofit.changed), **medians, "ratio": ratio}
        looked = {"attribution_ratio": of_look, "attribution_met": of_look <= ATTRIBUTION_TARGET}
        rows.append({**row, "met": ratio <= TARGET, **looked})
    return rows


def _step(apply: Any, variables: Any, x: jax.Array) -> Callable[[], float]:
    """A function that takes a step and returns its milliseconds."""

    def loss(variables: Any) -> jax.Array:
        return jnp.mean(apply(variables, x) ** 2)

    def step(variables: Any) -> Any:
        return jax.tree.map(lambda v, g: v - 1e-3 * g, variables, jax.grad(loss)(variables))

    return _timed(step, variables)


def _look(module: nn.Module, x: jax.Array, variables: Any) -> Any:
    return attribute(module, variables, x, loss=lambda output: jnp.mean(output**2))


def _timed(function: Callable[[Any], Any], variables: Any) -> Callable[[], float]:
    """A function that runs a compiled function once and returns its milliseconds."""
    compiled = jax.jit(function).lower(variables).compile()

    def run() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(variables))
        return 1e3 * (time.perf_counter() - begin)

    return run


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Returns the rows of `measure` for people."""
    cells = [
        [
            *(row["model"], str(row["activations"])),
            *(f"{row[name]:.1f}" for name in ("plain", "changed")),
            f"{row['ratio']:.2f}",
            *(f"{row['attributed']:.1f}", f"{row['attribution_ratio']:.2f}"),
        ]
        for row in rows
    ]
    return Table(
        title="A gradient step of a model",
        columns=[
            *("model", "activations", "as it was, ms", "parametrised, ms", "ratio", "attributed, ms", "ratio of this"),
        ],
        rows=cells,
        note=f"Compiled; the ratios are to be at most {TARGET:g} and {ATTRIBUTION_TARGET:g}.",
    )
