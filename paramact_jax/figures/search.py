"""Which cell of a grid of conditions explains published counts best."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

_FAR = 4.0  # standard errors from the published count at which the colour is full


@dataclasses.dataclass(frozen=True)
class GridMap:
    """Log likelihoods over a grid.

    Attributes:
      log_likelihood: shape (rows, columns).
      rows: labels.
      columns: labels.
      row_title: what the rows are.
      column_title: what the columns are.
      marks: (row, column) to the text of a cell that is to be framed.
    """

    log_likelihood: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str
    column_title: str
    marks: Mapping[tuple[int, int], str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The counts of some cells beside the published ones.

    Attributes:
      cells: labels, best first.
      counts: labels of the counts.
      converged: our counts, shape (cells, counts).
      trials: of how many, shape (cells, counts).
      published: the published counts, shape (counts,).
      published_trials: of how many, shape (counts,).
    """

    cells: Sequence[str]
    counts: Sequence[str]
    converged: np.ndarray
    trials: np.ndarray
    published: np.ndarray
    published_trials: np.ndarray

    def deviations(self) -> np.ndarray:
        """Ours minus published, in standard errors of the difference under equal proportions; 0 where both are 0."""
        pooled = (self.converged + self.published) / (self.trials + self.published_trials)
        error = np.sqrt(pooled * (1 - pooled) * (1 / self.trials + 1 / self.published_trials))
        difference = self.converged / self.trials - self.published / self.published_trials
        return np.divide(difference, error, out=np.zeros_like(error), where=error > 0)


def likelihood_search(grid: GridMap, ranking: Ranking) -> Figure:
    """A map of how far each cell's log likelihood is below the best, and the best cells' counts.

    The map's colour is logarithmic beyond 1. The counts are per 1,000, coloured by their deviation from the published
    count: red above, blue below, full colour at 4 standard errors.

    Args:
      grid: the map.
      ranking: the cells to list.

    Raises:
      ValueError: if labels and arrays do not fit, or there is no cell.
    """
    _check("the map", grid.log_likelihood, (len(grid.rows), len(grid.columns)))
    _check("the counts", ranking.converged, (len(ranking.cells), len(ranking.counts)))
    wide = 2.5 + 0.8 * len(grid.columns), 4.2 + 0.85 * len(ranking.counts)
    high = 1.6 + 0.42 * max(len(grid.rows), len(ranking.cells) + 1)
    figure = Figure(figsize=(sum(wide), high), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=wide)
    _draw_map(figure, left, grid)
    _draw_ranking(right, ranking)
    return figure


def _draw_map(figure: Figure, axes: Axes, grid: GridMap) -> None:
    below = grid.log_likelihood.max() - grid.log_likelihood
    norm = SymLogNorm(1.0, vmin=0.0, vmax=max(10.0, float(below.max())))
    image = axes.imshow(below, cmap="viridis_r", norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(below):
        dark = norm(value) > 0.55
        text = f"{value:.1f}" if value < 100 else f"{value:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")
    for (row, column), text in grid.marks.items():
        axes.add_patch(_frame(row, column))
        label = axes.text(column, row - 0.33, text, ha="center", va="center", fontsize=6, color="C3", weight="bold")
        label.set_bbox({"facecolor": "w", "edgecolor": "none", "pad": 0.8})
    axes.set_xticks(range(len(grid.columns)), grid.columns, fontsize=7)
    axes.set_yticks(range(len(grid.rows)), grid.rows, fontsize=7)
    axes.set(xlabel=grid.column_title, ylabel=grid.row_title)
    axes.set_title("log likelihood below the best cell's", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)


def _draw_ranking(axes: Axes, ranking: Ranking) -> None:
    colours = np.vstack([np.zeros(len(ranking.counts)), ranking.deviations()])
    published = 1000 * ranking.published / ranking.published_trials
    shown = np.vstack([published, 1000 * ranking.converged / ranking.trials])
    axes.imshow(colours, cmap="RdBu_r", vmin=-_FAR, vmax=_FAR, aspect="auto", alpha=0.8)
    for (row, column), value in np.ndenumerate(shown):
        axes.text(
            column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, weight="bold" if row == 0 else None
        )
    axes.axhline(0.5, color="k", linewidth=1)
    axes.set_xticks(range(len(ranking.counts)), [name.replace(" ", "\n") for name in ranking.counts], fontsize=7)
    axes.set_yticks(range(len(ranking.cells) + 1), ["published", *ranking.cells], fontsize=7)
    axes.set_title("trials that reach loss 0, per 1,000 (colour: standard errors from published)", fontsize=9)


def _frame(row: int, column: int) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="C3", linewidth=2)


def _check(what: str, values: np.ndarray, shape: tuple[int, int]) -> None:
    if values.shape != shape or 0 in shape:
        raise ValueError(f"expected {what} of shape {shape}, as many as there are labels, got {values.shape}")
