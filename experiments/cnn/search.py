"""One choice, for all combinations, of what [A] leaves open: successive halving over a declared grid."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from experiments.cnn.images import Images
from experiments.cnn.protocol import Combination, Protocol
from experiments.cnn.records import best
from experiments.cnn.train import classifier, training
from paramact_jax.sweeps import Progress, Training, long_sweep
from paramact_jax.training.classifier import State

SCORES = 5
"""Scores of the held-out images in a round, beside the one before training."""

STEPS_PER_CALL = 50
"""Of every network; a call allocates anew the memory that its steps share."""

Score = Callable[[Sequence[int], int], np.ndarray]
"""Smallest held-out losses (cells, combinations, seeds) of the cells with these indices after so many iterations."""


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a search.

    Attributes:
      iterations: of every network.
      cells: indices of the cells that took part, best first.
      losses: smallest held-out loss, (cells, combinations, seeds) in that order; NaN where there is no finite one.
    """

    iterations: int
    cells: tuple[int, ...]
    losses: np.ndarray

    def scores(self) -> np.ndarray:
        """Mean over combinations and seeds, (cells,); infinite where a network has no finite loss."""
        return mean_scores(self.losses)


def mean_scores(losses: np.ndarray) -> np.ndarray:
    """Mean over all axes but the first; infinite where one of the losses is not finite."""
    means = losses.reshape(len(losses), -1).mean(axis=1)
    return np.where(np.isfinite(means), means, np.inf)


def halving(cells: int, iterations: Sequence[int], keep_one_in: int, score: Score) -> list[Round]:
    """All cells with few iterations, then the best of them with more, each round from the start.

    Args:
      cells: how many there are.
      iterations: of each round, rising.
      keep_one_in: so many cells make room for one that goes on, rounded up.
      score: trains.

    Examples:
      >>> loss = {0: 0.3, 1: 0.1, 2: 0.2}
      >>> rounds = halving(3, [10, 20], 2, lambda cells, n: np.array([[[loss[i]]] for i in cells]))
      >>> [r.cells for r in rounds]
      [(1, 2, 0), (1, 2)]
    """
    rounds: list[Round] = []
    left: Sequence[int] = range(cells)
    for number in iterations:
        losses = score(left, number)
        order = np.argsort(mean_scores(losses), kind="stable")
        rounds.append(Round(number, tuple(int(left[i]) for i in order), losses[order]))
        left = sorted(rounds[-1].cells[: math.ceil(len(left) / keep_one_in)])
    return rounds


def ranking(rounds: Sequence[Round]) -> list[int]:
    """All cells, best first: those that went further, then by the score of the last round that they were in."""
    found: list[int] = []
    for one in reversed(rounds):
        found += [cell for cell in one.cells if cell not in found]
    return found


def train_cells(
    grid: Sequence[Protocol],
    images: Images,
    directory: Path,
    on_progress: Callable[[str, int, Progress], None],
) -> Score:
    """The training of cells: those of one architecture are trials of one program, and differ in traced numbers alone.

    Args:
      grid: all cells; they differ in nothing but what the search grid has.
      images: to train with, and to score on.
      directory: where to go on from after an interruption.
      on_progress: called with a name of what is trained, the number of sweeps of the round, and how far this one is.
    """

    def score(cells: Sequence[int], iterations: int) -> np.ndarray:
        groups: dict[Protocol, list[int]] = {}
        for cell in cells:
            groups.setdefault(_program_of(grid[cell], iterations), []).append(cell)
        combinations = grid[0].combinations
        found = np.empty((len(grid), len(combinations), grid[0].trials))
        for which, pair in enumerate(combinations):
            for protocol, members in groups.items():
                name = "-".join((str(iterations), *pair, f"{protocol.kernel_size}", protocol.padding, protocol.pooling))
                losses = _train(
                    pair,
                    protocol,
                    {cell: grid[cell] for cell in members},
                    images,
                    directory / name,
                    functools.partial(on_progress, name, len(groups) * len(combinations)),
                )
                found[members, which] = best(losses)["best_loss"].transpose("cell", "seed").values
        return found[list(cells)]

    return score


def _program_of(cell: Protocol, iterations: int) -> Protocol:
    """The same for all cells that one program can train."""
    plain = Protocol()
    return dataclasses.replace(
        cell,
        learning_rate=plain.learning_rate,
        activation_learning_rate=plain.activation_learning_rate,
        weight_scale=plain.weight_scale,
        initial_a=plain.initial_a,
        iterations=iterations,
        test_every=math.ceil(iterations / SCORES),
    )


def _train(
    pair: Combination,
    protocol: Protocol,
    cells: Mapping[int, Protocol],
    images: Images,
    directory: Path,
    on_progress: Callable[[Progress], None],
) -> xr.DataArray:
    """Held-out losses (cell, seed, test_step)."""
    functions = classifier(pair, protocol)
    start_values = [math.nan if cell.initial_a is None else cell.initial_a for cell in cells.values()]
    found = long_sweep(
        _of_cells(training(functions)),
        range(protocol.first_seed, protocol.first_seed + protocol.trials),
        axes={"cell": range(len(cells))},
        iterations=protocol.iterations,
        iterations_per_call=STEPS_PER_CALL,
        block=1,
        directory=directory,
        on_progress=on_progress,
        learning_rates=np.array([cell.learning_rate for cell in cells.values()], np.float32),
        weight_scales=np.array([cell.weight_scale for cell in cells.values()], np.float32),
        initial_as=np.array(start_values, np.float32),
        **images.settings(),
    )
    losses = found["test.loss"]
    (steps,) = set(losses.dims) - {"cell", "seed"}
    return losses.rename({steps: "test_step"}).assign_coords(test_step=functions.schedule.test_steps)


def _of_cells(three: Training) -> Training:
    """The same training, its conditions looked up by the number of the cell."""

    def init(
        key: jax.Array,
        train_images: jax.Array,
        train_labels: jax.Array,
        cell: jax.Array,
        weight_scales: jax.Array,
        initial_as: jax.Array,
    ) -> State:
        return three.init(key, train_images, train_labels, weight_scales[cell], initial_as[cell])

    def step(
        state: State,
        iteration: jax.Array,
        train_images: jax.Array,
        train_labels: jax.Array,
        test_images: jax.Array,
        test_labels: jax.Array,
        cell: jax.Array,
        learning_rates: jax.Array,
    ) -> State:
        rate = learning_rates[cell]
        return three.step(state, iteration, train_images, train_labels, test_images, test_labels, rate, np.nan)

    return Training(init, step, three.summarise)
