"""A sweep's store as all processes see it: process 0 reads and writes, everybody goes on from the same state."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paramact_jax.sweeps.distributed import first_does, from_first
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import Configuration
from paramact_jax.sweeps.storage.store import Store


class Begun(NamedTuple):
    """A part of the trials on which work had been stopped: its iterations done, and its state after them."""

    part: range
    iteration: int
    state: Arrays


class Checkpoints:
    """Every method is called by every process, with the same arguments.

    Args:
      store: gives the store, in process 0; None: nothing is kept, and nothing is found.
      seconds_between_saves: of the state of an unfinished part.
    """

    def __init__(self, store: Callable[[], Store] | None, seconds_between_saves: float) -> None:
        self._store = store
        self._period = seconds_between_saves
        self._saved_at = time.perf_counter()

    def finished(self) -> Iterator[tuple[range, Arrays]]:
        """Parts of the trials that are stored, and their results."""
        if self._store is None:
            return
        store = self._store
        parts = from_first(lambda: {"parts": np.array([[p.start, p.stop] for p in store().parts()], np.int64)})
        for begin, end in parts["parts"].reshape(-1, 2).tolist():
            part = range(begin, end)
            if arrays := from_first(functools.partial(_load_part, store, part)):
                yield part, arrays

    def begun(self) -> Begun | None:
        """The part that was begun and is not finished."""
        if self._store is None:
            return None
        store = self._store

        def load() -> Arrays:
            found = store().load_state()
            if found is None:
                return {}
            part, iteration, arrays = found
            return {"at": np.array([part.start, part.stop, iteration], np.int64), **arrays}

        arrays = from_first(load)
        if not arrays:
            return None
        begin, end, iteration = arrays.pop("at").tolist()
        return Begun(range(begin, end), iteration, arrays)

    def save_part(self, part: range, arrays: Arrays) -> None:
        """Keep the results of a part."""
        if self._store is not None:
            store = self._store
            first_does(lambda: store().save_part(part, arrays))

    def save_state(self, part: range, iteration: int, state: Callable[[], Arrays], *, at_once: bool = False) -> None:
        """Keep the state of a part if it is time to, by process 0's clock; `state` gathers it from all processes."""
        if self._store is None:
            return
        store = self._store
        due = from_first(lambda: {"due": np.array(at_once or time.perf_counter() - self._saved_at >= self._period)})
        if due["due"]:
            arrays = state()
            first_does(lambda: store().save_state(part, iteration, arrays))
            self._saved_at = time.perf_counter()

    def withdraw(self) -> None:
        """Leave a directory as it was that nothing has been kept in."""
        if self._store is not None:
            store = self._store
            first_does(lambda: store().withdraw())


@contextlib.contextmanager
def open_checkpoints(
    directory: Path | str | None, configuration: Configuration, seconds_between_saves: float
) -> Iterator[Checkpoints]:
    """The checkpoints in a directory, which is this sweep's alone meanwhile; None: nothing is kept.

    Raises:
      ValueError, OSError: as `Store`, in every process.
    """
    if directory is None:
        yield Checkpoints(None, seconds_between_saves)
        return
    opened: list[Store] = []

    first_does(lambda: opened.append(Store(Path(directory), *configuration)))
    try:
        yield Checkpoints(lambda: opened[0], seconds_between_saves)
    finally:
        for store in opened:
            store.close()


def _load_part(store: Callable[[], Store], part: range) -> Arrays:
    return store().load_part(part) or {}
