"""The labelled records of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from experiments.cnn.search import Round, ranking
from experiments.problems.cnn.images import Images
from experiments.problems.cnn.protocol import SEARCH_GRID, Protocol
from experiments.problems.cnn.records import name_of


def to_dataset(grid: Sequence[Protocol], rounds: Sequence[Round], images: Images) -> xr.Dataset:
    """One row per cell, best first.

    Args:
      grid: all cells.
      rounds: of the search.
      images: that were used, for what they are called.
    """
    order = ranking(rounds)
    place = {cell: i for i, cell in enumerate(order)}
    first = grid[0]
    losses = np.full((len(rounds), len(grid), len(first.combinations), first.trials), np.nan)
    scores = np.full(losses.shape[:2], np.nan)
    for i, one in enumerate(rounds):
        rows = [place[cell] for cell in one.cells]
        losses[i, rows], scores[i, rows] = one.losses, one.scores()
    ranked = [grid[cell] for cell in order]
    columns = {
        name: ("cell", [np.nan if (value := getattr(cell, name)) is None else value for cell in ranked])
        for name in SEARCH_GRID
    }
    return xr.Dataset(
        {
            "loss": (
                ("round", "cell", "combination", "seed"),
                losses,
                {"description": "smallest mean cross-entropy over the held-out images; NaN: not in this round"},
            ),
            "score": (
                ("round", "cell"),
                scores,
                {"description": "mean over combinations and seeds; infinite where a network has no finite loss"},
            ),
            **columns,
        },
        coords={
            "round": [one.iterations for one in rounds],
            "cell": np.arange(1, len(grid) + 1),
            "combination": [name_of(pair) for pair in first.combinations],
            "seed": np.arange(first.trials, dtype=np.int64) + first.first_seed,
        },
        attrs={
            "description": "what [A] leaves open, ranked on held-out images of the training split; NaN as initial_a: "
            "1.5 over the steepest slope",
            "source": images.source,
            "synthetic": int(images.synthetic),
        },
    )
