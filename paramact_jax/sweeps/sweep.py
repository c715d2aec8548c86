"""Sweep any training function over seeds."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.trials import OverTrials

MAX_SEED = 2**32 - 1


def trial_key(seed: jax.Array | int, root: int = 0) -> jax.Array:
    """The random key of a trial: fold_in(key(root), seed). One seed is one trial, whatever runs beside it."""
    return jax.random.fold_in(jax.random.key(root), seed)


def sweep(train_one: Callable[..., Any], seeds: Iterable[int], *, fused: bool = False, **settings: Any) -> Any:
    """Run `train_one(key, **settings)` for every seed, all in one jitted call on all devices.

    Args:
      train_one: a pure, vmappable function of one trial's random key and the settings. Returns any tree of arrays.
      seeds: integers within 0..2**32 - 1; a trial's key is `trial_key(seed)`.
      fused: see `OverTrials`; for networks with few nodes a layer.
      settings: numbers or arrays, the same for every trial. They are traced: calling again with the same `train_one`
        and other values of the same types and shapes does not recompile, and `train_one` cannot branch on them in
        Python.

    Returns:
      The tree that `train_one` returns, as NumPy arrays with a leading axis in the order of `seeds`.

    Raises:
      ValueError: if there are no seeds, or one is not an integer within 0..2**32 - 1.

    Examples:
      >>> import jax
      >>> def train_one(key, learning_rate):
      ...     w = jax.random.normal(key, ())
      ...     return {"w": jax.lax.fori_loop(0, 100, lambda _, w: w - learning_rate * 2 * (w - 3), w)}
      >>> results = sweep(train_one, seeds=range(1000), learning_rate=0.1)
      >>> results["w"].shape, bool(abs(results["w"] - 3).max() < 1e-5)
      ((1000,), True)
    """
    checked = check_seeds(seeds)
    over = _over_trials(train_one, fused)
    arrays = {name: jax.tree.map(_strongly_typed, value) for name, value in settings.items()}
    return over.collect(over(over.place(checked), arrays), len(checked))


@functools.lru_cache(maxsize=64)
def _over_trials(train_one: Callable[..., Any], fused: bool) -> OverTrials:
    return OverTrials(lambda seed, shared: train_one(trial_key(seed), **shared), fused=fused)


def _strongly_typed(x: Any) -> jax.Array:
    """An array of a dtype of its own: 0.1 and np.float32(0.1) are then one type, and share one compiled program."""
    dtype = jnp.result_type(float) if isinstance(x, float | np.floating) else None
    return jnp.asarray(x, dtype)


def check_seeds(seeds: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The seeds as a uint32 array; raises ValueError as `sweep` does."""
    try:
        found = list(seeds)
    except TypeError as error:
        raise ValueError(f"expected seeds as a range or a list of integers, got {seeds!r}") from error
    if not found:
        raise ValueError("expected at least one seed, got none")
    return np.array([_check_seed(seed) for seed in found], np.uint32)


def _check_seed(seed: Any) -> int:
    try:
        value = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value <= MAX_SEED:
        raise ValueError(f"expected seeds that are integers within 0..{MAX_SEED}, got {seed!r}")
    return value
