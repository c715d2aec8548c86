"""What happened on the way: a training that notes something of its state every so many updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from paramact_jax.training.gradient_descent import Advance, Settings, State

Observe = Callable[[State], Any]
Recorded = Callable[[State, Settings], tuple[State, Any]]


def with_history(advance: Advance, observe: Observe, *, every: int, records: int) -> Recorded:
    """The function that makes `records` times an observation, then `every` updates, and returns all observations.

    The observations are made inside the compiled loop, so that what is kept is as small as what `observe` returns:
    see `history_bytes`. Called again with the state that it returned, it goes on.

    Args:
      advance: makes updates of one trial, see `gradient_descent`.
      observe: what to note of a trial's state: a tree of arrays.
      every: updates between two observations.
      records: observations a call.

    Returns:
      A pure function of one trial's state and settings, to be vmapped over trials; the observations have a leading
      axis of `records`.

    Raises:
      ValueError: if `every` or `records` is below 1.
    """
    if every < 1 or records < 1:
        raise ValueError(f"expected every >= 1 and records >= 1, got every={every}, records={records}")

    def run(state: State, settings: Settings) -> tuple[State, Any]:
        def step(state: State, _: None) -> tuple[State, Any]:
            return advance(state, settings, jnp.int32(every)), observe(state)

        return lax.scan(step, state, length=records)

    return run


def history_bytes(observe: Observe, state: State) -> int:
    """Bytes of one observation of one trial. Nothing is computed.

    Examples:
      >>> from paramact_jax.training import start
      >>> state = start({"w": jnp.zeros((2, 3))})
      >>> history_bytes(lambda state: (state.loss, state.params), state)
      28
    """
    leaves = jax.tree.leaves(jax.eval_shape(observe, state))
    return sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves)
