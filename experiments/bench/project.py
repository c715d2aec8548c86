"""This project: the program that the sweep of `experiments.xor10` runs, called as it calls it."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.bench.contest import CHECKED, Contestant
from experiments.xor10.protocol import Protocol
from experiments.xor10.train import settings_of, trainer
from paramact_jax.activations import Activation
from paramact_jax.networks import Params
from paramact_jax.sweeps import OverTrials
from paramact_jax.training import State, start


def contestant(record: Activation, params: Params, protocol: Protocol, iterations: int, mesh: Mesh) -> Contestant:
    """This project's program, compiled for `params`, which have a leading axis of trials."""
    trials = len(params["out"]["bias"])
    over = trainer(record, mesh=mesh)
    state = over.place(jax.vmap(start)(params))
    settings = settings_of(protocol)
    begin = time.perf_counter()
    advance = over.compile(state, (settings, jnp.int32(0)))
    compile_seconds = time.perf_counter() - begin

    def after(steps: int) -> State:
        return jax.block_until_ready(advance(state, (settings, jnp.int32(steps))))

    def train() -> float:
        begin = time.perf_counter()
        after(iterations)
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        return OverTrials.collect(after(CHECKED + 1).loss, trials)  # an update records the loss it started from

    return Contestant("project", train, losses, trials, iterations, compile_seconds)
