"""Train every trial of one activation, for every activation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from experiments.side_by_side import compile_side_by_side
from experiments.xor10 import gradients
from experiments.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, Params, params_of, with_activation
from paramact_jax.sweeps import OverTrials, Progress, run_in_chunks, trial_key
from paramact_jax.sweeps.mlp import mlp_trainer
from paramact_jax.training import Settings, State, final, start

CHUNK = 1_000
"""Iterations between two looks at the progress."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training one activation gave; arrays have a leading axis of trials.

    Attributes:
      loss: final mean squared error.
      reached_at: updates made when the loss was first below the threshold, -1 if never.
      initial, learned: params.
      seconds: wall-clock time of the training alone.
      gradients: what was kept of looks at the gradients on the way, a leading axis of looks each, see `gradients.py`;
        empty if nobody looked.
    """

    loss: np.ndarray
    reached_at: np.ndarray
    initial: Params
    learned: Params
    seconds: float
    gradients: Mapping[str, np.ndarray]


def model(
    activation: str | Activation, seed: int | jax.Array, *, weight_std: Any, bias_std: Any, initial_a: Any = None
) -> MLP:
    """The network of [P, Fig. 6] as an ordinary Flax model, with the initial params of trial `seed`.

    Args:
      activation: record, or name in the catalogue.
      seed: the trial. Its initial weights are the same under every activation.
      weight_std: standard deviation of the normal initial weights.
      bias_std: standard deviation of the normal initial biases.
      initial_a: start value of a, if the activation has one; None: the record's.
    """
    record = catalogue.resolve(activation)

    def normal(std: Any) -> jax.nn.initializers.Initializer:
        return lambda key, shape, dtype=jnp.float32, out_sharding=None: std * jax.random.normal(key, shape, dtype)

    return MLP(
        2,
        [WIDTH] * HIDDEN_LAYERS,
        1,
        record,
        initial=start_values(record, initial_a),
        kernel_init=normal(weight_std),
        bias_init=normal(bias_std),
        param_dtype=jnp.result_type(float),
        rngs=nnx.Rngs(params=trial_key(seed)),
    )


def settings_of(protocol: Protocol) -> Settings:
    """The protocol's numbers as the training takes them, traced."""
    return Settings(
        *(
            jnp.asarray(value, jnp.result_type(float))
            for value in (
                protocol.learning_rate,
                protocol.activation_learning_rate,
                LOSS_SCALE[protocol.loss],
                protocol.threshold,
            )
        )
    )


def one_state(seed: int | jax.Array, weight_std: Any, bias_std: Any) -> State:
    """The state of trial `seed` before its first update, without parameters of an activation yet."""
    return start(params_of(model("identity", seed, weight_std=weight_std, bias_std=bias_std)))


def initial_states(protocol: Protocol, mesh: Mesh | None = None) -> State:
    """States of all trials before their first update, in blocks, without parameters of an activation yet."""
    over = OverTrials(lambda seed, shared: one_state(seed, *shared), mesh=mesh)
    seeds = np.arange(protocol.trials, dtype=np.uint32) + np.uint32(protocol.first_seed)
    dtype = jnp.result_type(float)
    deviations = np.asarray(protocol.weight_std, dtype), np.asarray(protocol.bias_std, dtype)
    return over(over.place(seeds), over.share(deviations))


def trainer(activation: str | Activation, *, mesh: Mesh | None = None) -> OverTrials:
    """Makes `(state, (settings, steps)) -> state` of all trials of one activation; see `gradient_descent`."""
    record = catalogue.resolve(activation)
    return mlp_trainer(record, [WIDTH] * HIDDEN_LAYERS, *xor(), mesh=mesh)


def train(
    protocol: Protocol,
    *,
    chunk: int = CHUNK,
    gradients_every: int = 0,
    mesh: Mesh | None = None,
    on_compiled: Callable[[str, float], None] = lambda activation, seconds: None,
    on_progress: Callable[[str, Progress], None] = lambda activation, progress: None,
) -> dict[str, Trained]:
    """Train all trials of every activation of the protocol.

    Args:
      protocol: the conditions, checked here.
      chunk: iterations a compiled call; decides how often progress is reported, not the results.
      gradients_every: iterations between two looks at the gradients of all trials, beginning with the initial params
        and ending with the learned ones; 0: none.
      mesh: devices, by default all.
      on_compiled: called with the activation and the seconds its compilation took, tracing not included.
      on_progress: called with the activation after every chunk.

    Raises:
      ValueError: if the protocol's values are not usable, an activation is unknown, or none of them has the
        parameter that `initial_a` is for.
    """
    protocol.check()
    records = protocol.records()
    trainers = {name: trainer(record, mesh=mesh) for name, record in records.items()}
    settings = next(iter(trainers.values())).share(settings_of(protocol))
    blank = initial_states(protocol, mesh)

    def begin(record: Activation) -> State:
        initial = start_values(record, protocol.initial_a)
        return blank._replace(params=with_activation(blank.params, record, initial))

    programs = compile_side_by_side(
        ((name, trainers[name].compiler(begin(record), (settings, np.int32(0)))) for name, record in records.items()),
        on_compiled=on_compiled,
    )
    marks = gradients.looks(protocol.iterations, gradients_every)
    results = {}
    for name, record in records.items():
        advance, state = programs[name], begin(record)
        look = gradients.look(model(record, 0, weight_std=1, bias_std=0), LOSS_SCALE[protocol.loss], mesh)
        initial = state.params

        def seen_now(state: State, look: OverTrials = look) -> list[dict[str, np.ndarray]]:
            return [gradients.keep(OverTrials.collect(look(state, None), protocol.trials))] if marks else []

        seen = seen_now(state)
        seconds = 0.0
        for done, until in pairwise(marks or [0, protocol.iterations]):

            def report(chunk: Progress, name: str = name, done: int = done, seconds: float = seconds) -> None:
                on_progress(name, Progress(done + chunk.done, protocol.iterations, seconds + chunk.seconds))

            begin_at = time.perf_counter()
            state = run_in_chunks(advance, state, settings, iterations=until - done, chunk=chunk, on_progress=report)
            seconds += time.perf_counter() - begin_at
            seen += seen_now(state)
        begin_at = time.perf_counter()
        state = jax.block_until_ready(final(state, advance(state, (settings, np.int32(1)))))
        seconds += time.perf_counter() - begin_at
        loss, reached_at, initial, learned = OverTrials.collect(
            (state.loss, state.reached_at, initial, state.params), protocol.trials
        )
        history = {variable: np.stack([part[variable] for part in seen]) for variable in (seen or [{}])[0]}
        results[name] = Trained(loss, reached_at, initial, learned, seconds, history)
    return results


def start_values(record: Activation, initial_a: Any) -> Mapping[str, Any]:
    """The start values that the protocol overrides: that of a, if there is an a."""
    return {"a": initial_a} if initial_a is not None and "a" in record.params else {}
