"""Draws mean counts as bars, with their spread: [P, Fig. 14]."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from paramact_jax.figures.colours import colour
from paramact_jax.figures.layout import titled


@dataclasses.dataclass(frozen=True)
class CountBar:
    """A count over several trials.

    Attributes:
      label: text below the bar.
      mean: over the trials.
      deviation: standard deviation over the trials, NaN if there is only one trial.
      published: the published count; None if there is none.
    """

    label: str
    mean: float
    deviation: float
    published: int | None = None


def count_bars(bars: Sequence[CountBar], *, ylabel: str, title: str = "") -> Figure:
    """Draws one bar for each count, with an error bar of one standard deviation and a diamond at a published count.

    Args:
      bars: from left to right.
      ylabel: name of the counts.
      title: of the figure.

    Raises:
      ValueError: if there are no bars.
    """
    if not bars:
        raise ValueError("expected at least one bar, got none")
    figure = Figure(figsize=(max(4.0, 1.15 * len(bars) + 0.8), 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for i, bar in enumerate(bars):
        axes.bar(i, bar.mean, 0.7, color=colour(i), alpha=0.55)
        axes.errorbar(i, bar.mean, bar.deviation, color="0.2", capsize=4, linewidth=1.2)
        if bar.published is not None:
            axes.plot(i + 0.22, bar.published, "D", color=colour(i), markeredgecolor="black", clip_on=False)
        axes.annotate(
            f"{bar.mean:,.0f}",
            (i, max(bar.mean, bar.published or 0)),
            textcoords="offset points",
            xytext=(0, 9),
            ha="center",
            fontsize=8,
        )
    axes.errorbar([], [], [], color="0.2", capsize=4, linewidth=1.2, label="one standard deviation")
    if any(bar.published is not None for bar in bars):
        axes.plot([], [], "D", color="0.7", markeredgecolor="black", linestyle="", label="published")
    axes.set_xticks(range(len(bars)), [bar.label.replace(" ", "\n") for bar in bars], fontsize=9)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(ylabel=ylabel, ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    titled(figure, title)
    return figure
