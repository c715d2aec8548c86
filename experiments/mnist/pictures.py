"""Figs. 12 to 14 from the records of a run."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from experiments.mnist.run_facts import activations, final_losses, label, slope_counts
from experiments.mnist.statements import CLOSEUP, PLOTTED
from experiments.problems.digits import titled
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval, sample
from paramact_jax.figures import BandCurve, CountBar, RangeHistory, count_bars, curves_with_bands, range_panels


def figures(run: Run) -> dict[str, Figure]:
    """The three figures by name."""
    return {"figure_12": _test_loss(run), "figure_13": _gradient_ranges(run), "figure_14": _slope_counts(run)}


def _test_loss(run: Run) -> Figure:
    losses = run.records["test_loss"].astype(np.float64)
    published = final_losses(run)
    curves = []
    for name in activations(run):
        mean, low, high = mean_and_interval(losses.sel(activation=name).transpose("seed", "test_step").values)
        curves.append(BandCurve(label(name), mean, low, high, published.get(name)))
    seeds = run.records.sizes["seed"]
    of = f"mean of {seeds} seeds, 95 % interval shaded" if seeds > 1 else "one seed"
    return curves_with_bands(
        run.records["test_step"].values,
        curves,
        closeup=CLOSEUP if run.manifest["config"]["steps"] > CLOSEUP else None,
        ylabel="test loss",
        title=titled(run, f"Test loss: {of}"),
    )


def _gradient_ranges(run: Run) -> Figure:
    histories = [
        RangeHistory(
            label(name),
            *(
                run.records[variable].sel(activation=name).transpose("seed", "step").values.astype(np.float64)
                for variable in ("gradient_smallest", "gradient_largest")
            ),
        )
        for name in activations(run)
    ]
    seeds = run.records["seed"].values
    shown = f"seed {seeds[0]} as lines" + (f", {len(seeds)} seeds shaded" if len(seeds) > 1 else "")
    return range_panels(
        run.records["step"].values,
        histories,
        until=PLOTTED,
        ylabel=r"smallest and largest entry of $\partial L/\partial y^{(1)}$",
        title=titled(run, f"Gradient at the first hidden layer: {shown}"),
    )


def _slope_counts(run: Run) -> Figure:
    published = slope_counts(run)
    bars = []
    for name in activations(run):
        found = sample(run.records["steep_slopes"].sel(activation=name).sum("layer").values)
        bars.append(CountBar(label(name), found.mean, found.deviation, published.get(name)))
    seeds = run.records.sizes["seed"]
    return count_bars(
        bars,
        ylabel=r"slopes $|\partial z/\partial y| \geq 1$ before training",
        title=titled(run, f"Mean of {seeds} seeds" if seeds > 1 else "One seed"),
    )
