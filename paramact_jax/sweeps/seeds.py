"""The seeds of a sweep."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from paramact_jax.sweeps.arguments import check_concrete
from paramact_jax.sweeps.memory import bytes_on_host, check_host

MAX_SEED = 2**32 - 1

Seeds = np.ndarray[tuple[int], np.dtype[np.uint32]]


def check_seeds(seeds: Iterable[int]) -> Seeds:
    """Returns the seeds as a uint32 array; raises ValueError as `sweep` does."""
    if isinstance(seeds, range) and len(seeds):  # may be long; its two ends are enough
        _check_seed(seeds[0]), _check_seed(seeds[-1])
        needed = bytes_on_host(seeds=len(seeds), results=0, per_call=0)
        check_host(needed, f"{len(seeds)} seeds", "sweep fewer at a time")
        found = np.arange(len(seeds), dtype=np.uint32)
        found *= np.uint32(seeds.step % 2**32)
        found += np.uint32(seeds.start)
        return found
    try:
        if isinstance(seeds, np.ndarray) and seeds.dtype.kind in "iu" and seeds.ndim == 1 and seeds.size:
            _check_seed(seeds.min()), _check_seed(seeds.max())
            found = seeds.astype(np.uint32)
        else:
            found = np.fromiter((_check_seed(seed) for seed in seeds), np.uint32)
    except TypeError as error:
        check_concrete("seeds", seeds)
        raise ValueError(f"expected seeds as a range or a list of integers, got {seeds!r}") from error
    if not len(found):
        raise ValueError("expected at least one seed, got none")
    if (twice := first_repeated(found)) is not None:
        raise ValueError(f"expected each seed once, got {twice} again: one seed is one trial")
    return found


def _check_seed(seed: Any) -> int:
    try:
        value = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)
    except TypeError:
        check_concrete("seeds", seed)
        value = -1
    if not 0 <= value <= MAX_SEED:
        raise ValueError(f"expected seeds that are integers within 0..{MAX_SEED}, got {seed!r}")
    return value


def first_repeated(values: np.ndarray) -> Any:
    """Returns the smallest value that occurs twice; None if there is none."""
    ordered = np.sort(values)
    again = ordered[1:] == ordered[:-1]
    return ordered[1:][again][0] if again.any() else None
