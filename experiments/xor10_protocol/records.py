"""The labelled records of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from experiments.problems.xor10.protocol import ACTIVATIONS
from experiments.xor10_protocol.grid import Cell, Grid
from experiments.xor10_protocol.scores import log_likelihoods
from experiments.xor10_protocol.search import Tallies, Tally, tallies_of
from paramact_jax.papers import ko2021

AXES = ("scale", "bias_std", "gradient_scale", "batch", "kink")


def to_dataset(grid: Grid, tallies: Tallies) -> xr.Dataset:
    """Counts and log likelihoods of every cell; dims are the grid's axes, and the activation."""
    cells, scales = grid.cells(), grid.distinct_scales()
    shape = (len(scales), len(grid.bias_stds), len(grid.gradient_scales), len(grid.batches), len(grid.kinks))

    def of_each(value: Callable[[Tally], int]) -> np.ndarray:
        rows = [[value(tally) for tally in tallies_of(cell, tallies).values()] for cell in cells]
        return np.array(rows, np.int64).reshape(*shape, len(ACTIVATIONS))

    def likelihood(rows: Any) -> np.ndarray:
        def own(cell: Cell) -> dict[str, tuple[int, int]]:
            return {name: (tally.converged, tally.trials) for name, tally in tallies_of(cell, tallies).items()}

        return np.array([list(log_likelihoods(own(cell), rows).values()) for cell in cells])

    table_5 = likelihood(ko2021.TABLE_5).reshape(*shape, len(ACTIVATIONS))
    table_4 = likelihood(ko2021.TABLE_4).sum(axis=1).reshape(shape)
    each = (*AXES, "activation")
    return xr.Dataset(
        {
            "converged": (each, of_each(lambda t: t.converged), {"description": "trials that reached loss 0"}),
            "trials": (each, of_each(lambda t: t.trials), {"description": "trials trained"}),
            "non_finite": (each, of_each(lambda t: t.non_finite), {"description": "trials whose final loss is not"}),
            "log_likelihood": (each, table_5, {"description": "of the published count of Table 5, beta-binomial"}),
            "total_log_likelihood": (AXES, table_5.sum(axis=-1), {"description": "sum over the activations"}),
            "table_4_log_likelihood": (AXES, table_4, {"description": "of both counts of Table 4, not in the total"}),
        },
        coords={
            "scale": [scale.name for scale in scales],
            "bias_std": list(grid.bias_stds),
            "gradient_scale": list(grid.gradient_scales),
            "batch": list(grid.batches),
            "kink": list(grid.kinks),
            "activation": list(ACTIVATIONS),
            "weight_std": ("scale", [scale.hidden for scale in scales]),
            "output_weight_std": ("scale", [scale.output for scale in scales]),
        },
        attrs={"description": "Which training conditions give the counts of [P, Table 5]"},
    )
