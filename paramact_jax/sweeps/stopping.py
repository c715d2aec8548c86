"""The trials of a part while they are trained, and which of them have stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.trials import Together

RUNNING = -1
"""`Standing.stopped_at` of a trial that has not stopped."""
STOPPED_AT = "stopped_at"
"""Name of `Standing.stopped_at` in a file of states."""
STOPPED = "stopped"
"""Part of a trial in blocks, a boolean: whether its state stays as it is."""
ITERATIONS = "iterations"
"""Variable of how many iterations each trial made."""
STOP = "stop"
STOPS: Mapping[str, jax.ShapeDtypeStruct] = {STOP: jax.ShapeDtypeStruct((), np.bool_)}
"""What `stop` returns of a trial."""
WORTHWHILE = 7 / 8
"""Trials move when that leaves at most such a share of the blocks to compute."""


def check_stop(found: Any) -> dict[str, jax.Array]:
    """Returns what `stop` returned of a trial, by its name.

    Raises:
      ValueError: in one line, if it is not one boolean.
    """
    leaves = jax.tree.leaves(found)
    shape, dtype = (np.shape(leaves[0]), jnp.result_type(leaves[0])) if len(leaves) == 1 else ((), None)
    if shape or dtype != np.bool_:
        got = f"{dtype}{list(shape)}" if dtype else f"{len(leaves)} values"
        raise ValueError(f"stop: expected one boolean for a trial, got {got}; combine them, with jnp.any or jnp.all")
    return {STOP: jnp.asarray(leaves[0])}


class Standing:
    """The trials of a part as they stand. The trials of each choice of the axes of names are a piece of it.

    The state of a trial that has stopped stays as it is, though its block is computed. On a CPU, those that run move
    into the first blocks from time to time, so that the others need not be computed. Nothing is compiled for it. On an
    accelerator, where a trial's last digits may depend on its place, every trial keeps its own.

    Attributes:
      blocks: {"state", "axes"} of each piece in blocks, with `STOPPED` if trials can stop.
      counts: trials of each piece.
      running: of these the first so many are to be computed.
      stopped_at: after how many iterations each trial has stopped, or `RUNNING`; None: no trial can stop.
    """

    def __init__(
        self,
        trials: Sequence[dict[str, Any]],
        counts: Sequence[int],
        stopped_at: np.ndarray | None,
        place: Callable[[Sequence[Any]], list[Any]],
        blocks: Sequence[int] | None,
    ) -> None:
        """Places all trials.

        Args:
          trials: {"state", "axes"} of each piece, arrays on the host.
          counts: see above.
          stopped_at: see above.
          place: puts as many trials of each piece in blocks.
          blocks: trials of each piece in a block of every device; None: trials do not move.
        """
        self.counts, self.running = list(counts), list(counts)
        self.stopped_at = stopped_at
        self._axes = [piece["axes"] for piece in trials]
        self._place, self._sizes = place, blocks
        self._order = [np.arange(count) for count in counts]
        self._put([piece["state"] for piece in trials])

    @property
    def ended(self) -> bool:
        """Whether all trials have stopped."""
        return self.stopped_at is not None and not (self.stopped_at == RUNNING).any()

    def trials(self) -> list[Any]:
        """State and axes of all trials in blocks."""
        return [{name: x for name, x in piece.items() if name != STOPPED} for piece in self.blocks]

    def states(self) -> list[Any]:
        """The state of all trials of each piece, on the host."""
        found = Together.collect([piece["state"] for piece in self.blocks], self.counts)
        return [_taken(state, np.argsort(order)) for state, order in zip(found, self._order, strict=True)]

    def in_order(self, found: Arrays) -> Arrays:
        """The trials' results in the order of the trials, from that of the blocks."""
        begins = np.cumsum([0, *self.counts[:-1]])
        places = np.argsort(np.concatenate([begin + order for begin, order in zip(begins, self._order, strict=True)]))
        taken: Arrays = _taken(found, places)
        return taken

    def stop(self, which: np.ndarray, done: int) -> None:
        """Has trials stop that have not yet, after so many iterations."""
        if self.stopped_at is None or not (which := which & (self.stopped_at == RUNNING)).any():
            return
        self.stopped_at[which] = done
        running = [int((~stopped).sum()) for stopped in self._stopped()]
        if self._sizes and self._computed(running) <= WORTHWHILE * self._computed(self.running):
            self._put(self.states())
        else:
            self._mark()

    def _put(self, states: Sequence[Any]) -> None:
        """Puts these states in blocks, those of trials that run first."""
        if self.stopped_at is not None and self._sizes is not None:
            self._order = [np.argsort(stopped, kind="stable") for stopped in self._stopped()]
            self.running = [int((~stopped).sum()) for stopped in self._stopped()]
        self.blocks: list[dict[str, Any]] = []  # before their successors come
        several = zip(states, self._axes, self._order, strict=True)
        self.blocks = self._place([_taken({"state": state, "axes": axes}, order) for state, axes, order in several])
        if self.stopped_at is not None:
            self._mark()

    def _mark(self) -> None:
        """Tells the blocks which trials have stopped."""
        stopped = [{STOPPED: x[order]} for x, order in zip(self._stopped(), self._order, strict=True)]
        self.blocks = [piece | own for piece, own in zip(self.blocks, self._place(stopped), strict=True)]

    def _stopped(self) -> list[np.ndarray]:
        return np.split(self.stopped_at != RUNNING, np.cumsum(self.counts)[:-1])

    def _computed(self, counts: Sequence[int]) -> int:
        """The trials in the blocks that hold so many of each piece."""
        return sum(-(-count // size) * size for count, size in zip(counts, self._sizes or counts, strict=True))


def _taken(tree: Any, order: np.ndarray) -> Any:
    """The trials of these numbers."""
    return tree if (order == np.arange(len(order))).all() else jax.tree.map(lambda x: x[order], tree)
