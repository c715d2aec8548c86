"""XOR(10) by every optimiser at every learning rate: networks side by side on the last axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax

from experiments.optimisers.design import Protocol
from experiments.side_by_side import compile_side_by_side
from experiments.xor10 import protocol as xor10
from experiments.xor10.train import CHUNK, one_state
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import Params, forward, with_activation
from paramact_jax.sweeps import OverTrials, Progress, run_in_chunks
from paramact_jax.training import optimiser

CONDITIONS = xor10.PROTOCOLS["recovered"]
"""Initial weights, loss and threshold."""
SIDE_BY_SIDE = 64
"""Networks of one group: they share a learning rate and what an optimiser counts, so that these stay scalars."""


class Group(NamedTuple):
    """Where the training of one group stands; arrays of params have a last axis of networks.

    Attributes:
      params: of the networks.
      optimiser: what the optimiser keeps, with a learning rate of 1.
      rate: learning rate.
    """

    params: Params
    optimiser: Any
    rate: jax.Array


class Trainer:
    """The program of one activation and optimiser, for every learning rate.

    Args:
      activation: name in the catalogue.
      optimiser_name: see `training.optimiser`. Its steps are proportional to the learning rate, which is applied to
        them here.
    """

    def __init__(self, activation: str, optimiser_name: str) -> None:
        self._record, self._name = catalogue.get(activation), optimiser_name
        # a group is one trial to the sweep: its networks are vectorised here
        self._first = OverTrials(lambda blank, _: self._start(*blank), block=1)
        self._advance = OverTrials(self._steps, fused=True, block=1)

    def begin(self, blank: tuple[Params, jax.Array]) -> Group:
        """All groups before the first update, from `blank_groups`."""
        blocks: Group = self._first(blank, None)
        return blocks

    def compiler(self, begun: Group) -> Callable[[], Callable[[Any, Any], Any]]:
        """A function that compiles the training in any thread."""
        return self._advance.compiler(begun, (None, np.int32(0)))

    def losses(self, ended: Group, protocol: Protocol) -> np.ndarray:
        """Mean squared errors, (rates, seeds)."""
        errors = OverTrials.collect(_errors(self._record)(ended.params, None), _groups(protocol) * len(protocol.rates))
        found: np.ndarray = errors.reshape(len(protocol.rates), -1)[:, : protocol.seeds]
        return found

    def _start(self, blank: Params, rate: jax.Array) -> Group:
        params = with_activation(blank, self._record)
        return Group(params, optimiser(self._name, params, 1.0).init(params), rate)

    def _steps(self, group: Group, shared: tuple[None, jax.Array]) -> Group:
        def objective(params: Params) -> jax.Array:
            # networks are independent: one gradient of their sum
            return jnp.sum(xor10.LOSS_SCALE[CONDITIONS.loss] * _squared_error(self._record, params))

        def update(_: jax.Array, group: Group) -> Group:
            rule = optimiser(self._name, group.params, 1.0)
            changes, kept = rule.update(jax.grad(objective)(group.params), group.optimiser, group.params)
            params = jax.tree.map(lambda p, change: p + group.rate * change, group.params, changes)
            return Group(params, kept, group.rate)

        return lax.fori_loop(0, shared[1], update, group)


def blank_groups(protocol: Protocol) -> tuple[Params, jax.Array]:
    """Params without an activation's, and learning rates: of every rate all seeds, in groups filled up with more."""

    def blank(trial: dict[str, jax.Array], _: None) -> tuple[Params, jax.Array]:
        deviations = CONDITIONS.weight_std, CONDITIONS.bias_std
        params = jax.vmap(lambda seed: one_state(seed, *deviations).params, out_axes=-1)(trial["seeds"])
        return params, trial["rate"]

    groups = _groups(protocol)
    seeds = np.uint32(protocol.first_seed) + np.arange(groups * SIDE_BY_SIDE, dtype=np.uint32)
    over = OverTrials(blank, block=1)
    trials = {
        "seeds": np.tile(seeds.reshape(groups, SIDE_BY_SIDE), (len(protocol.rates), 1)),
        "rate": np.repeat(np.asarray(protocol.rates, jnp.result_type(float)), groups),
    }
    blocks: tuple[Params, jax.Array] = over(over.place(trials), None)
    return blocks


def run(
    protocol: Protocol,
    *,
    on_compiled: Callable[[str, float], None] = lambda name, seconds: None,
    on_progress: Callable[[str, Progress], None] = lambda name, progress: None,
) -> xr.Dataset:
    """All seeds by every optimiser at every rate, under every activation.

    Args:
      protocol: the conditions, already checked.
      on_compiled: called with a name and the seconds its compilation took, tracing not included.
      on_progress: called with a name after every chunk of iterations.
    """
    cells = [(activation, name) for activation in protocol.activations for name in protocol.optimisers]
    trainers = {cell: Trainer(*cell) for cell in cells}
    blank = blank_groups(protocol)
    begun = {cell: trainer.begin(blank) for cell, trainer in trainers.items()}
    programs = compile_side_by_side(
        ((cell, trainers[cell].compiler(begun[cell])) for cell in cells),
        on_compiled=lambda cell, seconds: on_compiled(_named(cell), seconds),
    )
    losses = []
    for cell in cells:

        def report(chunk: Progress, cell: tuple[str, str] = cell) -> None:
            on_progress(_named(cell), chunk)

        ended = run_in_chunks(
            programs[cell], begun.pop(cell), None, iterations=protocol.steps, chunk=CHUNK, on_progress=report
        )
        losses.append(trainers[cell].losses(ended, protocol))
    loss = np.array(losses).reshape(len(protocol.activations), len(protocol.optimisers), *losses[0].shape)
    dims = ("activation", "optimiser", "learning_rate", "seed")
    return xr.Dataset(
        {
            "final_loss": (dims, loss, {"description": "mean squared error over the 4 points after the last update"}),
            "converged": (dims, loss < CONDITIONS.threshold, {"description": f"final_loss < {CONDITIONS.threshold:g}"}),
        },
        coords={
            "activation": list(protocol.activations),
            "optimiser": list(protocol.optimisers),
            "learning_rate": list(protocol.rates),
            "seed": np.arange(protocol.seeds, dtype=np.int64) + protocol.first_seed,
        },
        attrs={"problem": "xor10"},
    )


@functools.lru_cache(maxsize=64)
def _errors(record: Activation) -> OverTrials:
    return OverTrials(lambda params, _: _squared_error(record, params), block=1)


def _squared_error(record: Activation, params: Params) -> jax.Array:
    """Over the 4 points, (networks,)."""
    inputs, targets = xor()
    outputs = forward(params, jnp.asarray(inputs), record)
    return jnp.mean((outputs - jnp.asarray(targets)[..., None]) ** 2, axis=(0, 1))


def _groups(protocol: Protocol) -> int:
    return -(-protocol.seeds // SIDE_BY_SIDE)


def _named(cell: tuple[str, str]) -> str:
    return f"{cell[0]}, {cell[1]}"
