"""Which conditions does [A] leave open, and which suit its networks? One choice for all combinations of activations.

Successive halving over a declared grid, scored on images of the training split that are not trained on. Result: the
best of 24 cells has max pooling, a learning rate of 0.3, initial weights of deviation sqrt(2/fan_in) and a from 1: a
loss of 0.23, where average pooling has 0.43. These are the defaults of `cnn`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.cnn.protocol import (
    Combinations,
    Conditions,
    Draw,
    Protocol,
    TrainingImages,
    combinations,
    label,
)
from experiments.problems.digits import Data, DataDir, images_of, source_of
from experiments.study.imports import at_once
from experiments.study.options import Batch, Constraint, Out, Seeds, also, at_least, seeds_of
from experiments.study.study import Study, Work
from experiments.study.tables import Cell, Column, Table

if TYPE_CHECKING or at_once(__name__):
    import numpy as np
    import xarray as xr

    from experiments.problems.cnn.networks import drawn, load
    from experiments.problems.cnn.train import classifier, conditions
    from experiments.study.run_directory import Run
    from paramact_jax.datasets import Digits

GRID: dict[str, tuple[Any, ...]] = {
    "pooling": ("max", "average"),
    "learning_rate": (0.1, 0.3, 1.0),
    "weight_scale": (1.0, math.sqrt(2)),
    "initial_a": (None, 1.0),
}
"""The values tried. a and b learn at the rate of the weights; windows are 2 x 2. Not searched are the filters' size,
since 5 x 5 takes 2.6 times as long as 3 x 3, and the padding: without it three layers of 3 x 3 leave one pixel of four
filters to tell ten digits by."""
SCORES = 5
"""Scores of the held-out images in a round, without the one before training."""
STEPS_PER_CALL = 50
"""Steps of every network in one call, which allocates anew the memory that its steps share."""
RISING = Constraint("rising numbers, one a round", lambda x: bool(x) and list(x) == sorted(set(x)), whole=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnSearch(Study):
    """Search what [A] leaves open, one choice for all combinations: a declared grid, nothing tuned per row.

    24 cells: pooling, learning rate, initial weights, initial a. Each trains on the 5,000 images of `cnn` and is scored
    on 5,000 others of the training split, never on a test image: mean over the combinations of the smallest loss. All
    cells get few steps, the best quarter gets more, and the best quarter of that quarter the most. About 12 minutes on
    2 cores. Writes runs/cnn-search-DATE-TIME/: records, summary, report, the ranking.
    Example: python -m experiments cnn-search --combinations sigmoid/relu parametric_relu/relu
    """

    name: ClassVar[str] = "cnn-search"
    heading: ClassVar[str] = "What [A] leaves open"
    renamed: ClassVar[Mapping[str, str]] = Conditions.renamed

    combinations: Combinations = (
        "sigmoid/relu",
        "parametric_sigmoid/parametric_sigmoid",
        "relu/relu",
        "parametric_relu/parametric_sigmoid",
    )
    """Activation of the convolutional layers / of the dense hidden layer; by default every one of the convolutional
    layers once, with a dense layer without and with parameters."""
    steps: Annotated[tuple[int, ...], at_least(1), RISING, also("--iterations")] = (200, 600, 2_000)
    """Steps of each round."""
    keep_one_in: Annotated[int, at_least(2)] = 4
    """One of this many cells goes on to the next round."""
    seeds: Seeds = 1
    """Networks of each combination in every cell, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    training_images: TrainingImages = 5_000
    """Images to train with, the same number of each digit; as many others are scored."""
    subset_seed: Draw = 0
    """Seed of the draw of images."""
    batch: Batch = 100
    """Images of one step."""
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def load(self) -> Digits:
        """Loads the images; those to be scored take the place of test images."""
        return for_search(load(self.data, self.data_dir, self.training_images), self.training_images, self.subset_seed)

    def check(self, data: Digits) -> None:
        """Refuses numbers that do not fit each other."""
        cells(self)[0].check(data)

    def config(self, data: Digits) -> dict[str, Any]:
        """Adds the grid."""
        return super().config(data) | {"grid": GRID}

    def train(self, data: Digits, work: Work) -> xr.Dataset:
        """Trains round after round."""
        grid = cells(self)

        def losses(which: Sequence[int], steps: int) -> np.ndarray:
            return smallest_losses(self, [grid[i] for i in which], data, steps, work)

        order, losses_of, scores = halving(len(grid), self.steps, self.keep_one_in, losses)
        described = "smallest mean cross-entropy over the held-out images; NaN: not in this round"
        of_scores = "mean over combinations and seeds; infinite where a network has no finite loss"
        values = {name: [getattr(grid[i], name) for i in order] for name in GRID}
        return xr.Dataset(
            {
                "loss": (("round", "cell", "combination", "seed"), losses_of[:, order], {"description": described}),
                "score": (("round", "cell"), scores[:, order], {"description": of_scores}),
                **{name: ("cell", [np.nan if x is None else x for x in own]) for name, own in values.items()},
            },
            coords={
                "round": list(self.steps),
                "cell": np.arange(1, len(grid) + 1),
                "combination": list(self.combinations),
                "seed": list(seeds_of(self)),
            },
            attrs=source_of(data),
        )

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the ranking, and the losses of the best cell."""
        records, config = run.records, run.manifest["config"]
        seeds, own, rows = records.sizes["seed"], Cell(None, "own"), []
        for rank, cell in enumerate(ranking(records), start=1):
            values = [cell[name] for name in GRID]
            rows.append([rank, *(own if x != x else x for x in values), *cell["scores"].values()])
        columns: list[str | Column] = [
            "rank",
            Column("pooling", left=True),
            *(Column(name.replace("_", " "), ".4g") for name in [*GRID][1:]),
            *(Column(f"after {steps:,}", ".4f", key=f"after_{steps}") for steps in records["round"].values),
        ]
        note = (
            f"Smallest loss on held-out images of the training split within so many steps, mean over "
            f"{records.sizes['combination']} combinations and {seeds} seed{'s' * (seeds > 1)}; "
            f"{config['training_images']:,} images to train, as many held out. One of {config['keep_one_in']} cells "
            f"goes on to the next round. Initial a own: 1.5 over the steepest slope. Images: {records.attrs['source']}."
        )
        yield "ranking", Table("What [A] leaves open, best first", columns, rows, note)
        losses = records["loss"].isel(cell=0, round=-1).mean("seed", skipna=False)
        yield (
            "best_cell",
            Table(
                "Held-out loss of the combinations in the best cell",
                ["convolutional / dense", Column("loss", ".4f")],
                [[label(name), float(losses.sel(combination=name))] for name in combinations(run)],
                "Mean over the seeds, after the last round.",
            ),
        )

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the cells as plain data."""
        return {"cells": ranking(run.records)}


def ranking(records: xr.Dataset) -> list[dict[str, Any]]:
    """Returns the cells, best first: values by name (an initial a of NaN: 1.5 / steepest slope), scores by round."""
    rounds = [f"{steps}" for steps in records["round"].values]
    return [
        {name: cell[name].item() for name in GRID}
        | {"scores": dict(zip(rounds, cell["score"].values.ravel().tolist(), strict=True))}
        for _, cell in records.groupby("cell")
    ]


def cells(study: CnnSearch) -> list[Protocol]:
    """Returns the conditions of the cells.

    Examples:
      >>> found = cells(CnnSearch())
      >>> len(found), found[0].learning_rate, found[0].activation_learning_rate
      (24, 0.1, None)
    """
    names = ("training_images", "subset_seed", "batch", "seeds", "first_seed")
    base = Protocol(**{name: getattr(study, name) for name in names})
    chosen = (dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values()))
    return [dataclasses.replace(base, **values) for values in chosen]


def for_search(digits: Digits, training_images: int, seed: int) -> Digits:
    """Returns the training images of `cnn`, and as many others of the training split to score on; no test image.

    Raises:
      ValueError: in one line, if a digit has too few images.
    """
    chosen = drawn(digits, training_images, seed)
    # a smaller draw lies inside a larger one of the same seed
    held_out = np.setdiff1d(drawn(digits, 2 * training_images, seed), chosen)
    images, labels = digits.train_images, digits.train_labels
    source = f"{digits.source}, training split alone"
    return Digits(images[chosen], labels[chosen], images[held_out], labels[held_out], source, digits.synthetic)


def halving(
    cells: int, rounds: Sequence[int], keep_one_in: int, train: Callable[[Sequence[int], int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trains all cells with few steps, then the best of them with more, each round from the start.

    Args:
      cells: how many there are.
      rounds: the steps of each, rising.
      keep_one_in: one of this many cells goes on, rounded up.
      train: losses (cells, combinations, seeds) of the cells with these indices after this number of steps.

    Returns:
      The cells, best first: those of later rounds first, then by the score of their last round. The losses
      (rounds, cells, combinations, seeds), and the scores (rounds, cells): means of the losses, infinite where one is
      not finite. Both are NaN for a cell that was not in a round.
    """
    left = np.arange(cells)
    losses, scores = [], np.full((len(rounds), cells), np.nan)
    for steps, own in zip(rounds, scores, strict=True):
        found = train(left.tolist(), steps)
        losses.append(np.full((cells, *found.shape[1:]), np.nan))
        losses[-1][left] = found
        means = found.reshape(len(left), -1).mean(axis=1)
        own[left] = np.where(np.isfinite(means), means, np.inf)
        best = np.argsort(own[left], kind="stable")[: math.ceil(len(left) / keep_one_in)]
        left = np.sort(left[best])
    went = (~np.isnan(scores)).sum(axis=0)
    return np.lexsort((scores[went - 1, np.arange(cells)], -went)), np.stack(losses), scores


def smallest_losses(
    study: CnnSearch, protocols: Sequence[Protocol], digits: Digits, steps: int, work: Work
) -> np.ndarray:
    """Returns the smallest scored losses of cells, (cells, combinations, seeds); NaN without a finite one."""
    protocol = dataclasses.replace(protocols[0], steps=steps, test_every=math.ceil(steps / SCORES))
    found = work.sweep(
        study,
        lambda combination, pooling: classifier(combination, dataclasses.replace(protocol, pooling=pooling)),
        [f"{len(protocols)} cells"],
        directory=f"{steps}",
        static_axes={"combination": study.combinations},
        points=[{"pooling": cell.pooling, **conditions(cell)} for cell in protocols],
        static_argnames="pooling",
        iterations=steps,
        iterations_per_call=STEPS_PER_CALL,
        chunk=len(protocols) * study.seeds,  # all of a program at most
        block=1,
        data=images_of(digits),
    )
    losses = found["test.loss"]
    smallest = losses.where(np.isfinite(losses)).min(str(losses.dims[-1]))
    return smallest.transpose("point", "combination", "seed").values.astype(float)
