"""Train the trials of many conditions side by side: each is a point of one sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.problems.xor10.train import CHUNK, initial_params, settings_of
from experiments.xor10_protocol.grid import Batch
from experiments.xor10_protocol.search import Tally, Trained
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import forward
from paramact_jax.sweeps import Progress, Training, long_sweep
from paramact_jax.training import Settings, State, final, gradient_descent, start

MOST_AT_ONCE = 1_024
"""Trials in one call on a CPU: calls of one shape share a compilation, and a short last one wastes little."""

LEARNING_RATE = PROTOCOLS["recovered"].learning_rate
THRESHOLD = PROTOCOLS["recovered"].threshold


def init(
    key: jax.Array, activation: str, weight_std: jax.Array, output_weight_std: jax.Array, bias_std: jax.Array
) -> State:
    """The state before the first update."""
    std = {"weight": weight_std, "bias": bias_std, "output": output_weight_std}
    record = catalogue.get(activation)
    return start(initial_params(record, key, std, record.params))


def step(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> State:
    """One update on all points, or a pass over the points."""
    record = catalogue.get(activation)
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, record), *xor(), point_by_point=batch == "point"
    )
    return advance(state, settings._replace(loss_scale=loss_scale), 1)


def summarise(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> dict[str, Any]:
    """The final mean squared error."""
    return {"loss": final(state, step(state, settings, activation, batch, loss_scale)).loss}


def losses(
    work: Sequence[Trained],
    seeds: range,
    *,
    iterations: int,
    at_once: int = MOST_AT_ONCE,
    directory: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> np.ndarray:
    """Final mean squared errors, (work, seeds). A trial is that of xor10 under the same seed and conditions.

    Args:
      work: conditions and records, each trained on all seeds.
      seeds: of the trials.
      iterations: updates on all points, or passes over the points.
      at_once: trials in one call on a CPU. On an accelerator a call costs its launches, not its trials.
      directory: where to go on from after an interruption.
      on_progress: called now and then, with iterations times trials.
    """
    points = [
        {
            "activation": activation,
            "batch": conditions.batch,
            "weight_std": conditions.scale.hidden,
            "output_weight_std": conditions.scale.output,
            "bias_std": conditions.bias_std,
            "loss_scale": conditions.loss_scale,
        }
        for conditions, activation in work
    ]
    found = long_sweep(
        Training(init, step, summarise),
        seeds,
        points=points,
        iterations=iterations,
        iterations_per_call=CHUNK,
        chunk=at_once if jax.default_backend() == "cpu" else None,
        directory=directory,
        on_progress=on_progress,
        settings=settings_of(PROTOCOLS["recovered"]),
    )
    return found["loss"].values


def counts_of(losses: np.ndarray) -> list[Tally]:
    """Outcomes of each row of losses."""
    return [
        Tally(len(own), converged=int((own < THRESHOLD).sum()), non_finite=int((~np.isfinite(own)).sum()))
        for own in losses
    ]
