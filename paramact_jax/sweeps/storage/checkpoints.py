"""A sweep's store as all processes see it: process 0 reads and writes, and all go on from the same state."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paramact_jax.sweeps.distributed import first_does, from_first
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import Configuration
from paramact_jax.sweeps.storage.contents import POSITIONS, Sheet
from paramact_jax.sweeps.storage.layers import Layers
from paramact_jax.sweeps.storage.store import Store


class Begun(NamedTuple):
    """A part of the trials that was begun and stopped: the iterations done, and the state after them."""

    part: range
    iteration: int
    state: Arrays


class Checkpoints:
    """The stored results and states of a sweep. Every process calls every method, with the same arguments.

    Args:
      layers: returns what process 0 has opened; None: nothing is kept, and nothing is found.
      grid: the trials.
      seconds_between_saves: of the state of an unfinished part.
    """

    def __init__(self, layers: Callable[[], Layers] | None, grid: Grid, seconds_between_saves: float) -> None:
        self._layers = layers
        self._store = None if layers is None else lambda: layers().store
        self._grid = grid
        self._starts: list[tuple[int, int, str, int, int]] = []
        self._period = seconds_between_saves
        self._saved_at = time.perf_counter()

    def earlier(self) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Yields finished results of the earlier calls that this one extends, after their positions in the product."""
        if self._layers is None:
            return
        layers = self._layers
        found: list[Iterator[tuple[np.ndarray, Arrays]]] = []
        while arrays := from_first(lambda: _following(found, layers)):
            yield arrays.pop(POSITIONS), arrays

    def own(self, have: Callable[[], np.ndarray]) -> tuple[Grid, dict[range, int]]:
        """Returns the grid with the trials that are to run here, and the parts that go on from earlier final states.

        The parts come with the number of iterations that they have made.

        Args:
          have: which trials of the grid's product earlier calls have finished.
        """
        if self._layers is None:
            return self._grid, {}
        layers, kept = self._layers, self._starts

        def choose() -> Arrays:
            sheet = layers().own(have)
            kept.extend(sheet.starts)
            begins = [(*start[:2], layers().made(start)) for start in sheet.starts]
            selected = sheet.grid.selected
            return {"starts": np.array(begins, np.int64).reshape(-1, 3)} | (
                {} if selected is None else {"selected": selected}
            )

        arrays = from_first(choose)
        grid = self._grid.select(arrays["selected"]) if "selected" in arrays else self._grid
        return grid, {range(begin, end): made for begin, end, made in arrays["starts"].tolist()}

    def start(self, part: range) -> Begun | None:
        """Returns the earlier final state that a part goes on from."""
        if self._layers is None:
            return None
        layers = self._layers

        def load() -> Arrays:
            found = layers().start(part, self._starts)
            return {} if found is None else {"at": np.array(found[0], np.int64), **found[1]}

        arrays = from_first(load)
        return Begun(part, int(arrays.pop("at")), arrays) if arrays else None

    def finished(self) -> Iterator[tuple[range, Arrays]]:
        """Yields the parts of the trials that are stored, and their results."""
        if self._store is None:
            return
        store = self._store
        parts = from_first(lambda: {"parts": np.array([[p.start, p.stop] for p in store().parts()], np.int64)})
        for begin, end in parts["parts"].reshape(-1, 2).tolist():
            part = range(begin, end)
            if arrays := from_first(functools.partial(_load_part, store, part)):
                yield part, arrays

    def begun(self) -> Begun | None:
        """Returns the part that was begun and is not finished; None if there is none."""
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
        """Keeps the results of a part."""
        if self._store is not None:
            store = self._store
            first_does(lambda: store().save_part(part, arrays))

    def save_state(self, part: range, iteration: int, state: Callable[[], Arrays], *, at_once: bool = False) -> None:
        """Keeps the state of a part if it is time to, by process 0's clock; `state` gathers it from all processes."""
        if self._store is None:
            return
        store = self._store
        due = from_first(lambda: {"due": np.array(at_once or time.perf_counter() - self._saved_at >= self._period)})
        if due["due"]:
            arrays = state()
            first_does(lambda: store().save_state(part, iteration, arrays))
            self._saved_at = time.perf_counter()

    def save_final(self, part: range, iteration: int, state: Callable[[], Arrays]) -> None:
        """Keeps the last state of a part; `state` gathers it from all processes."""
        if self._store is not None:
            store, arrays = self._store, state()
            first_does(lambda: store().save_final(part, iteration, arrays))

    def save_kept(self, positions: np.ndarray, arrays: Arrays) -> None:
        """Keeps results of another sweep."""
        if self._store is not None:
            store = self._store
            first_does(lambda: store().save_kept({POSITIONS: positions, **arrays}))

    def withdraw(self) -> None:
        """Removes the configuration again from a directory in which nothing has been kept."""
        if self._store is not None:
            store = self._store
            first_does(lambda: store().withdraw())


@contextlib.contextmanager
def open_checkpoints(
    directory: Path | str | None,
    configuration: Configuration,
    sheet: Sheet,
    *,
    seconds_between_saves: float,
    task: tuple[int, int] | None = None,
    extend: bool = False,
) -> Iterator[Checkpoints]:
    """Opens the checkpoints in a directory, which no other sweep can use meanwhile; None: nothing is kept.

    Raises:
      ValueError, OSError: as `Store`, in every process.
    """
    if directory is None:
        yield Checkpoints(None, sheet.grid, seconds_between_saves)
        return
    opened: list[Layers] = []

    first_does(lambda: opened.append(Layers(Path(directory), configuration, sheet, task=task, extend=extend)))
    try:
        yield Checkpoints(lambda: opened[0], sheet.grid, seconds_between_saves)
    finally:
        for layers in opened:
            layers.store.close()


def _load_part(store: Callable[[], Store], part: range) -> Arrays:
    return store().load_part(part) or {}


def _following(found: list[Iterator[tuple[np.ndarray, Arrays]]], layers: Callable[[], Layers]) -> Arrays:
    """Returns the next finished results; nothing after the last."""
    if not found:
        found.append(layers().earlier())
    positions, arrays = next(found[0], (None, {}))
    return {} if positions is None else {POSITIONS: positions, **arrays}
