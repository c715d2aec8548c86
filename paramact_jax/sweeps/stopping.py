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
"""Name of the variable with the number of iterations that each trial made."""
STOP = "stop"
STOPS: Mapping[str, jax.ShapeDtypeStruct] = {STOP: jax.ShapeDtypeStruct((), np.bool_)}
"""Shape of what `stop` returns for a trial."""
WORTHWHILE = 7 / 8
"""Trials move if at most this share of the blocks is then left to compute."""


def check_stop(found: Any) -> dict[str, jax.Array]:
    """Returns what `stop` returned for a trial, by its name.

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
    """The trials of a part during training. The trials of each choice of the static settings are one piece.

    The state of a stopped trial stays as it is, even if its block is computed. On a CPU, running trials move into the
    first blocks from time to time, so that the other blocks need not be computed. Nothing is compiled for that. On an
    accelerator, a trial's last digits may depend on its place, so every trial keeps its place.

    Attributes:
      blocks: {"state", "axes"} of each piece in blocks, with `STOPPED` if trials can stop.
      counts: number of trials of each piece.
      running: number of trials of each piece, from the first, that have to be computed.
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
          place: puts the trials of each piece in blocks.
          blocks: for each piece, the number of trials in one block of every device; None: trials do not move.
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
        """Returns the state and axes of all trials in blocks."""
        return [{name: x for name, x in piece.items() if name != STOPPED} for piece in self.blocks]

    def states(self) -> list[Any]:
        """Returns the state of all trials of each piece, on the host."""
        found = Together.collect([piece["state"] for piece in self.blocks], self.counts)
        return [_taken(state, np.argsort(order)) for state, order in zip(found, self._order, strict=True)]

    def in_order(self, found: Arrays) -> Arrays:
        """Returns results in the order of the trials, from results in the order of the blocks."""
        begins = np.cumsum([0, *self.counts[:-1]])
        places = np.argsort(np.concatenate([begin + order for begin, order in zip(begins, self._order, strict=True)]))
        taken: Arrays = _taken(found, places)
        return taken

    def stop(self, which: np.ndarray, done: int) -> None:
        """Stops those of the trials that have not stopped yet, after `done` iterations."""
        if self.stopped_at is None or not (which := which & (self.stopped_at == RUNNING)).any():
            return
        self.stopped_at[which] = done
        running = [int((~stopped).sum()) for stopped in self._stopped()]
        if self._sizes and self._computed(running) <= WORTHWHILE * self._computed(self.running):
            self._put(self.states())
        else:
            self._mark()

    def _put(self, states: Sequence[Any]) -> None:
        """Puts these states in blocks, those of running trials first."""
        if self.stopped_at is not None and self._sizes is not None:
            self._order = [np.argsort(stopped, kind="stable") for stopped in self._stopped()]
            self.running = [int((~stopped).sum()) for stopped in self._stopped()]
        self.blocks: list[dict[str, Any]] = []  # frees the old blocks before the new ones are made
        several = zip(states, self._axes, self._order, strict=True)
        self.blocks = self._place([_taken({"state": state, "axes": axes}, order) for state, axes, order in several])
        if self.stopped_at is not None:
            self._mark()

    def _mark(self) -> None:
        """Writes into the blocks which trials have stopped."""
        stopped = [{STOPPED: x[order]} for x, order in zip(self._stopped(), self._order, strict=True)]
        self.blocks = [piece | own for piece, own in zip(self.blocks, self._place(stopped), strict=True)]

    def _stopped(self) -> list[np.ndarray]:
        return np.split(self.stopped_at != RUNNING, np.cumsum(self.counts)[:-1])

    def _computed(self, counts: Sequence[int]) -> int:
        """Returns the number of trials in the blocks that hold these numbers of trials of each piece."""
        return sum(-(-count // size) * size for count, size in zip(counts, self._sizes or counts, strict=True))


def _taken(tree: Any, order: np.ndarray) -> Any:
    """Returns the trials of these numbers."""
    return tree if (order == np.arange(len(order))).all() else jax.tree.map(lambda x: x[order], tree)
