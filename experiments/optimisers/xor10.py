"""XOR(10) by every optimiser at every learning rate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import xarray as xr

from experiments.optimisers.design import Protocol
from experiments.problems.xor10.protocol import LOSS_SCALE, PROTOCOLS
from experiments.problems.xor10.train import CHUNK, initial_params
from experiments.study.progress import SweepProgress
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import Params, forward
from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.training import optimiser as rule_of

CONDITIONS = PROTOCOLS["recovered"]
"""Initial weights, loss and threshold."""


def training(activation: str, optimiser: str) -> Training:
    """The training of one trial; its settings are a learning rate and the `std` of `initial_params`."""
    record, (inputs, targets) = catalogue.get(activation), map(jnp.asarray, xor())

    def error(params: Params) -> jax.Array:
        return jnp.mean((forward(params, inputs, record) - targets) ** 2)

    def init(key: jax.Array, std: Any) -> tuple[Params, Any]:
        params = initial_params(record, key, std, {})
        return params, rule_of(optimiser, params, 1.0).init(params)

    def step(state: tuple[Params, Any], learning_rate: jax.Array) -> tuple[Params, Any]:
        params, kept = state
        gradient = jax.grad(lambda params: LOSS_SCALE[CONDITIONS.loss] * error(params))(params)
        changes, kept = rule_of(optimiser, params, learning_rate).update(gradient, kept, params)
        return optax.apply_updates(params, changes), kept

    return Training(init, step, lambda state: {"loss": error(state[0])})


def run(protocol: Protocol, *, progress: SweepProgress) -> xr.Dataset:
    """All seeds by every optimiser at every rate, under every activation.

    Args:
      protocol: the conditions, already checked.
      progress: is told of every chunk of iterations.
    """
    loss = long_sweep(
        training,
        protocol.seed_range(),
        iterations=protocol.steps,
        static_axes={"activation": protocol.activations, "optimiser": protocol.optimisers},
        axes={"learning_rate": protocol.rates},
        chunk=len(protocol.rates) * protocol.seeds,
        iterations_per_call=CHUNK,
        on_plan=progress.planned,
        on_progress=progress.swept,
        std={"weight": float(CONDITIONS.weight_std), "bias": float(CONDITIONS.bias_std)},
    )["loss"]
    converged = (loss < CONDITIONS.threshold).assign_attrs(description=f"final_loss < {CONDITIONS.threshold:g}")
    final = loss.assign_attrs(description="mean squared error over the 4 points after the last update")
    return xr.Dataset({"final_loss": final, "converged": converged}, attrs={"problem": "xor10"})
