"""The usual way: `jax.vmap` over trials of a Flax model, optax, `jax.lax.scan`, default compiler options."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from paramact_jax.activations import Activation
from paramact_jax.datasets import xor
from paramact_jax.layers import ACTIVATION, WEIGHTS, parameter_labels
from paramact_jax.networks import MLP, Params
from paramact_jax.sweeps.devices import TRIALS, trial_mesh

State = nnx.State[Any, Any]


def contestant(
    record: Activation, params: Params, protocol: Protocol, iterations: int, devices: list[jax.Device]
) -> Contestant:
    """The usual program, compiled for `params`, which have a leading axis of trials.

    Args:
      record: the activation.
      params: initial params of all trials.
      protocol: loss and learning rates.
      iterations: in a run, more than are checked.
      devices: the trials are sharded over these; their number has to divide that of the trials.
    """
    inputs, targets = map(jnp.asarray, xor())
    graphdef, initial = nnx.split(MLP(2, [WIDTH] * HIDDEN_LAYERS, 1, record, rngs=nnx.Rngs(0)))
    nnx.replace_by_pure_dict(initial, params)
    initial = jax.device_put(initial, NamedSharding(trial_mesh(devices), PartitionSpec(TRIALS)))
    optimiser = _optimiser(protocol)
    scale = LOSS_SCALE[protocol.loss]

    def objective(state: State) -> jax.Array:
        outputs = nnx.merge(graphdef, state)(inputs)
        return scale * jnp.mean((outputs - targets) ** 2)

    def update(carry: tuple[State, optax.OptState], _: None) -> tuple[tuple[State, optax.OptState], jax.Array]:
        state, moments = carry
        loss, gradient = jax.value_and_grad(objective)(state)
        updates, moments = optimiser.update(gradient, moments, state)
        return (optax.apply_updates(state, updates), moments), loss / scale

    def train_one(state: State) -> tuple[State, jax.Array]:
        (state, _), losses = jax.lax.scan(update, (state, optimiser.init(state)), length=iterations)
        return state, losses

    begin = time.perf_counter()
    program = jax.jit(jax.vmap(train_one)).lower(initial).compile()
    compile_seconds = time.perf_counter() - begin

    def train() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(program(initial))
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        return np.asarray(program(initial)[1])[:, CHECKED]

    name = "usual" if len(devices) == 1 else "usual_sharded"
    return Contestant(name, train, losses, len(params["out"]["bias"]), iterations, compile_seconds)


def _optimiser(protocol: Protocol) -> optax.GradientTransformation:
    if protocol.learning_rate == protocol.activation_learning_rate:
        return optax.sgd(protocol.learning_rate)
    rates = {WEIGHTS: protocol.learning_rate, ACTIVATION: protocol.activation_learning_rate}
    return optax.partition({label: optax.sgd(rate) for label, rate in rates.items()}, parameter_labels)
