"""What a search says, from its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.cnn.run_facts import combinations, label
from experiments.problems.cnn.protocol import SEARCH_GRID
from experiments.problems.digits import is_synthetic, titled
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import plain
from experiments.study.tables import Table


def tables(run: Run) -> list[Table]:
    """The ranking, and the losses of the best cell."""
    return list(_named_tables(run).values())


def write(run: Run) -> list[Path]:
    """Write summary and tables into the run's directory; returns the files."""
    heading = titled(run, "# What [A] leaves open")
    return write_tables(run.directory, heading, _named_tables(run), {}, plain(summary(run)))


def summary(run: Run) -> dict[str, Any]:
    """The cells as plain data, best first; an initial a of None is 1.5 over the steepest slope."""
    cells = []
    for at in range(run.records.sizes["cell"]):
        cell = run.records.isel(cell=at)
        cells.append(
            {name: cell[name].item() for name in SEARCH_GRID}
            | {"scores": {str(int(n)): float(cell["score"].sel(round=n)) for n in run.records["round"].values}}
        )
    return {"experiment": "cnn-search", "synthetic": is_synthetic(run), "cells": cells}


def _named_tables(run: Run) -> dict[str, Table]:
    return {"ranking": _ranking(run), "best_cell": _best_cell(run)}


def _ranking(run: Run) -> Table:
    rounds = run.records["round"].values
    rows = []
    for at in range(run.records.sizes["cell"]):
        cell = run.records.isel(cell=at)
        scores = [float(cell["score"].sel(round=n)) for n in rounds]
        rows.append(
            [
                f"{at + 1}",
                *(_value(cell[name].item()) for name in SEARCH_GRID),
                *("" if np.isnan(score) else f"{score:.4f}" for score in scores),
            ]
        )
    config, seeds = run.manifest["config"], run.records.sizes["seed"]
    return Table(
        title=titled(run, "What [A] leaves open, best first"),
        columns=["rank", *(name.replace("_", " ") for name in SEARCH_GRID), *(f"after {n:,}" for n in rounds)],
        rows=rows,
        note=(
            f"Smallest loss on held-out images of the training split within so many iterations, mean over "
            f"{run.records.sizes['combination']} combinations and {seeds} seed{'s' * (seeds > 1)}; "
            f"{config['training_images']:,} images to train, as many held out. One of {config['keep_one_in']} cells "
            f"goes on to the next round. Initial a {_value(np.nan)}: 1.5 over the steepest slope. Images: "
            f"{run.records.attrs['source']}."
        ),
        left=("pooling",),
    )


def _best_cell(run: Run) -> Table:
    losses = run.records["loss"].isel(cell=0, round=-1)
    return Table(
        title=titled(run, "Held-out loss of the combinations in the best cell"),
        columns=["convolutional / dense", "loss"],
        rows=[[label(name), f"{float(losses.sel(combination=name).mean()):.4f}"] for name in combinations(run)],
        note="Mean over the seeds, after the last round.",
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return "own" if np.isnan(value) else f"{value:.4g}"
    return str(value)
