"""This project: the program that the sweep of `experiments.xor10` runs, called as it calls it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.xor10.protocol import PROTOCOLS, Protocol
from experiments.problems.xor10.train import settings_of, training
from paramact_jax.activations import Activation
from paramact_jax.networks import Params
from paramact_jax.programs.program import shapes_of, trace
from paramact_jax.sweeps import OverTrials
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import choose
from paramact_jax.training import Settings, start

Trials = dict[str, Any]
"""The states of all trials, in blocks."""


def program(record: Activation, params: Params, mesh: Mesh | None = None) -> tuple[OverTrials, Trials]:
    """The repeated step of an activation's training, in the form that a sweep chooses, and the states it begins with.

    Args:
      record: the activation.
      params: initial params, with a leading axis of trials.
      mesh: devices, by default all.

    Returns:
      The compiled function of states and (settings, steps), and states.
    """
    mesh = trial_mesh() if mesh is None else mesh
    step: Callable[..., Any] = training(record).step

    def advance(state: Any, shared: tuple[Settings, jax.Array]) -> Any:
        return jax.lax.fori_loop(0, shared[1], lambda _, state: step(state, shared[0]), state)

    states = {"now": jax.vmap(start)(params)}
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
    traced = trace(advance, one, shapes_of((settings_of(PROTOCOLS["recovered"]), np.int32(0))))
    over = OverTrials(traced, form=choose([traced], mesh.devices.flat[0].platform), mesh=mesh)
    return over, over.place(states)


def contestant(record: Activation, params: Params, protocol: Protocol, iterations: int, mesh: Mesh) -> Contestant:
    """This project's program, compiled for `params`, which have a leading axis of trials."""
    trials = len(params["out"]["bias"])
    settings = settings_of(protocol)
    begin = time.perf_counter()
    over, states = program(record, params, mesh)
    advance = over.compile(states, (settings, np.int32(0)))
    compile_seconds = time.perf_counter() - begin

    def after(steps: int) -> Trials:
        return jax.block_until_ready(advance(states, (settings, np.int32(steps))))

    def train() -> float:
        begin = time.perf_counter()
        after(iterations)
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        return OverTrials.collect(after(CHECKED + 1)["now"].loss, trials)  # an update records the loss it started from

    return Contestant("project", train, losses, trials, iterations, compile_seconds)
