"""XOR(10) by every optimiser at every learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.optimisers.design import Protocol
from experiments.side_by_side import Sweep, one_after_another
from experiments.xor10.protocol import LOSS_SCALE, PROTOCOLS
from experiments.xor10.train import CHUNK, initial_params, settings_for
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import Params, forward
from paramact_jax.sweeps import Progress, Training, long_sweep
from paramact_jax.training import optimiser

if TYPE_CHECKING:
    import xarray as xr

CONDITIONS = PROTOCOLS["recovered"]
"""Initial weights, loss and threshold."""


def training(record: Activation, name: str) -> Training:
    """The training of one trial of an activation by an optimiser, see `training.optimiser`; its result is `loss`.

    Its settings are the `std` and `starts` of `settings_for`, and `learning_rate`.
    """
    inputs, targets = map(jnp.asarray, xor())

    def error(params: Params) -> jax.Array:
        return jnp.mean((forward(params, inputs, record) - targets) ** 2)

    def init(key: jax.Array, std: Any, starts: Any) -> tuple[Params, Any]:
        params = initial_params(record, key, std, starts)
        return params, optimiser(name, params, 1.0).init(params)

    def step(state: tuple[Params, Any], learning_rate: jax.Array) -> tuple[Params, Any]:
        params, kept = state
        gradient = jax.grad(lambda params: LOSS_SCALE[CONDITIONS.loss] * error(params))(params)
        changes, kept = optimiser(name, params, learning_rate).update(gradient, kept, params)
        return optax.apply_updates(params, changes), kept

    return Training(init, step, lambda state: {"loss": error(state[0])})


def run(
    protocol: Protocol,
    *,
    on_compiled: Callable[[str, float], None] = lambda name, seconds: None,
    on_progress: Callable[[str, Progress], None] = lambda name, progress: None,
) -> xr.Dataset:
    """All seeds by every optimiser at every rate, under every activation.

    Args:
      protocol: the conditions, already checked.
      on_compiled: called with a name and the seconds its tracing and compilation took.
      on_progress: called with a name after every chunk of iterations, which are counted times trials.
    """

    def sweep_of(activation: str, name: str) -> Sweep[xr.Dataset]:
        record = catalogue.get(activation)
        given = settings_for(CONDITIONS, record)
        return lambda on_plan, report: long_sweep(
            training(record, name),
            protocol.seed_range(),
            iterations=protocol.steps,
            axes={"learning_rate": protocol.rates},
            iterations_per_call=CHUNK,
            on_plan=on_plan,
            on_progress=report,
            std=given["std"],
            starts=given["starts"],
        )

    cells = [(activation, name) for activation in protocol.activations for name in protocol.optimisers]
    found = one_after_another(
        {", ".join(cell): sweep_of(*cell) for cell in cells}, on_compiled=on_compiled, on_progress=on_progress
    )
    loss = np.array([results["loss"].values for results in found.values()])
    return protocol.to_dataset(
        {
            "final_loss": (loss, "mean squared error over the 4 points after the last update"),
            "converged": (loss < CONDITIONS.threshold, f"final_loss < {CONDITIONS.threshold:g}"),
        },
        problem="xor10",
    )
