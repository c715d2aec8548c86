"""How long a training step takes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from paramact_jax.sweeps import trial_key
from paramact_jax.sweeps.arguments import accepted
from paramact_jax.training import Classifier

_NEVER = 2**31 - 1


def seconds_per_step(
    networks: Iterable[Classifier], seed: int, settings: Mapping[str, Any], *, rounds: int, steps: int
) -> np.ndarray:
    """Wall-clock seconds of one training step of one trial, without scores, measured in turns.

    Args:
      networks: to be timed.
      seed: of the trial.
      settings: of the trainings, as of a sweep.
      rounds: measurements of each.
      steps: of one measurement.

    Returns:
      (networks, rounds).
    """
    settings = jax.tree.map(jnp.asarray, dict(settings))
    prepared = []
    for network in networks:
        # scores are due before step 0 alone: it belongs to the warm-up
        never = dict.fromkeys(network.scores, _NEVER)
        timed = dataclasses.replace(network, steps=1 + (rounds + 1) * steps, scores=never)

        def advance(state: Any, given: Any, begin: int, end: int, timed: Classifier = timed) -> Any:
            return lax.fori_loop(begin, end, lambda i, state: timed.step(state, i, **given), state)

        compiled = jax.jit(advance)
        state, given = timed.init(trial_key(seed), **accepted(timed.init, settings)), accepted(timed.step, settings)
        prepared.append((compiled, given, jax.block_until_ready(compiled(state, given, 0, steps + 1))))
    seconds = np.empty((len(prepared), rounds))
    for i in range(rounds):
        for which, (compiled, given, state) in enumerate(prepared):
            begin = time.perf_counter()
            jax.block_until_ready(compiled(state, given, 1 + steps, 1 + 2 * steps))
            seconds[which, i] = (time.perf_counter() - begin) / steps
    return seconds
