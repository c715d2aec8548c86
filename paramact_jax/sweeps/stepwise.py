"""Long trainings in compiled chunks of iterations, driven by a loop on the host."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a chunked run has come.

    Attributes:
      done, total: iterations; in `sweep` trials, in `long_sweep` iterations times trials.
      seconds: since the run's first chunk started.
      found: what of `done` had been done before: a resumed run found it in its directory.

    Examples:
      >>> Progress(done=30, total=100, seconds=8.0, found=10).seconds_left
      28.0
    """

    done: int
    total: int
    seconds: float
    found: int = 0

    @property
    def seconds_left(self) -> float:
        """What the rest takes at the pace of this run so far; infinite before anything is done."""
        if self.done == self.total:
            return 0.0
        return (
            self.seconds * (self.total - self.done) / (self.done - self.found) if self.done > self.found else math.inf
        )


def run_in_chunks(
    advance: Callable[[Any, tuple[Any, Any]], Any],
    state: Any,
    settings: Any,
    *,
    iterations: int,
    chunk: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> Any:
    """The state after `iterations` iterations, made in calls of at most `chunk` iterations.

    Every call runs all trials; between calls the host is free to show progress. The number of iterations in a call is
    traced, so all calls share one compiled program. The result does not depend on `chunk`.

    Args:
      advance: maps (state of all trials, (settings, number of iterations)) to the next state.
      state: state of all trials.
      settings: passed on.
      iterations: total, at least 0.
      chunk: iterations a call, at least 1.
      on_progress: called after every chunk, when its results exist; None: nothing is called.

    Raises:
      ValueError: if iterations < 0 or chunk < 1.
    """
    if iterations < 0 or chunk < 1:
        raise ValueError(f"expected iterations >= 0 and chunk >= 1, got iterations={iterations}, chunk={chunk}")
    begin = time.perf_counter()
    done = 0
    while done < iterations:
        steps = min(chunk, iterations - done)
        state = jax.block_until_ready(advance(state, (settings, np.int32(steps))))
        done += steps
        if on_progress is not None:
            on_progress(Progress(done, iterations, time.perf_counter() - begin))
    return state
