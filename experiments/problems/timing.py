"""Measures how long things take, in turns."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from paramact_jax.sweeps import trial_key
from paramact_jax.sweeps.arguments import accepted
from paramact_jax.training import Classifier

T = TypeVar("T")
PAUSE = 0.02  # seconds; idle threads of one run spin for some milliseconds on the cores that the next run needs


def seconds_of(call: Callable[[], Any]) -> float:
    """Returns the seconds of a call until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def timed(function: Callable[..., Any], *arguments: Any) -> Callable[[], float]:
    """Compiles a function for its arguments; returns what runs it once and returns the seconds."""
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: seconds_of(lambda: compiled(*arguments))


def in_turns(
    runs: Mapping[str, Callable[[], T]], rounds: int, *, pause: float = PAUSE, warm_up: bool = True
) -> dict[str, list[T]]:
    """Returns what each function returns in every round, after a first run that is not measured (`warm_up`).

    The functions take turns, so that a machine that slows down or is shared slows all of them. Another function begins
    in each round. There are `pause` seconds before each run.
    """
    for run in runs.values() if warm_up else ():
        run()
    found: dict[str, list[T]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        first = i % len(names)
        for name in [*names[first:], *names[:first]]:
            time.sleep(pause)
            found[name].append(runs[name]())
    return found


def without_scores(network: Classifier, steps: int) -> Classifier:
    """Returns a training of `steps` steps that scores before step 0 alone; a run from a later step never scores."""
    return dataclasses.replace(network, steps=steps, scores=dict.fromkeys(network.scores, 2**31 - 1))


def seconds_per_step(
    networks: Iterable[Classifier], seed: int, settings: Mapping[str, Any], *, rounds: int, steps: int
) -> np.ndarray:
    """Measures the wall-clock seconds of one training step of one trial, without scores, in turns.

    Args:
      networks: the trainings to be timed.
      seed: the seed of the trial.
      settings: the settings of the trainings, as for a sweep.
      rounds: the number of measurements of each training.
      steps: the number of steps of one measurement.

    Returns:
      (networks, rounds).
    """
    settings = jax.tree.map(jnp.asarray, dict(settings))
    runs = {}
    for i, network in enumerate(networks):
        own = without_scores(network, 1 + steps)

        def advance(state: Any, given: Any, begin: int, end: int, own: Classifier = own) -> Any:
            return lax.fori_loop(begin, end, lambda step, state: own.step(state, step, **given), state)

        compiled, given = jax.jit(advance), accepted(own.step, settings)
        state = compiled(own.init(trial_key(seed), **accepted(own.init, settings)), given, 0, 1)
        runs[str(i)] = functools.partial(seconds_of, functools.partial(compiled, state, given, 1, 1 + steps))
    return np.array(list(in_turns(runs, rounds).values())) / steps
