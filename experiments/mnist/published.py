"""Final losses and slope counts beside the published ones: [P, Figs. 12 and 14]."""

from __future__ import annotations

import math

import numpy as np

from experiments.mnist import run_facts
from experiments.problems.digits import is_synthetic, titled
from experiments.study.cells import range_cell, yes_no_cell
from experiments.study.run_directory import Run
from experiments.study.samples import Sample, inside, sample
from experiments.study.tables import Table
from paramact_jax.papers import ko2021

WITHIN = 3.0
"""A published count is met within this many standard deviations over our seeds."""


def final_table(run: Run) -> Table:
    """Test loss and accuracy after the last step."""
    published = run_facts.final_losses(run)
    printed = {row.activation: row for row in ko2021.MNIST_FINAL_LOSS}
    rows = []
    for name in run_facts.activations(run):
        loss, accuracy = final(run, "test_loss", name), final(run, "test_accuracy", name)
        rows.append(
            [
                run_facts.label(name),
                f"{loss.mean:.4f}",
                range_cell(loss.interval(), ".4f"),
                range_cell((loss.smallest, loss.largest), ".4f"),
                f"{printed[name].loss:.3f}" if name in printed else "",
                range_cell(loss.prediction(), ".4f") if name in published else "",
                yes_no_cell(inside(published.get(name), loss.prediction())),
                yes_no_cell(inside(published.get(name), loss.interval())),
                f"{accuracy.mean:.2%}",
                range_cell(accuracy.interval(), ".2%"),
            ]
        )
    note = (
        f"{run_facts.conditions(run)} Scored on all test images after the last step. Interval: 95 % t interval of the "
        f"mean over the seeds. Published is one run; one more of ours would fall into the 95 % prediction interval, "
        f"mean +- t s sqrt(1 + 1/n)."
    )
    if not published:
        why = "the images are not MNIST's" if is_synthetic(run) else "it is of another training"
        note += f" What is published is not compared: {why}."
    return Table(
        title=titled(run, "Test loss and accuracy at the end [P, Fig. 12]"),
        columns=[
            *("activation", "test loss", "95 % interval", "smallest - largest", "published", "prediction interval"),
            *("published in it", "in interval of mean", "accuracy", "95 % interval of accuracy"),
        ],
        rows=rows,
        note=note + run_facts.about_seeds(run) + run_facts.diverged(run, ["test_loss", "test_accuracy"]),
    )


def slopes_table(run: Run) -> Table:
    """Slopes >= 1 before training."""
    printed, comparable = {row.activation: row for row in ko2021.FIG_14}, run_facts.slope_counts(run)
    why = "the images are not MNIST's" if is_synthetic(run) else "it is of other minibatches or another start"
    rows = []
    for name in run_facts.activations(run):
        found, away, verdict = slopes(run, name), math.nan, None
        if name in comparable:
            away, verdict = deviations_away(found, comparable[name]), met(found, comparable[name])
        rows.append(
            [
                run_facts.label(name),
                f"{found.mean:,.0f}",
                "" if math.isnan(found.deviation) else f"{found.deviation:,.0f}",
                f"{printed[name].count:,}" if name in printed else "",
                "" if math.isnan(away) else f"{away:+.2f}",
                {None: "", True: "within", False: "outside"}[verdict],
            ]
        )
    return Table(
        title=titled(run, f"Slopes >= 1 before training, of {run_facts.slopes_counted(run):,} [P, Fig. 14]"),
        columns=["activation", "mean", "s.d.", "published", "s.d. away", "verdict"],
        rows=rows,
        note=(
            f"{run_facts.conditions(run)} Mean and standard deviation over the seeds, of 8 layers x 128 nodes x the "
            f"images of the first minibatch. Verdict: published within mean +- {WITHIN:g} s.d.; where s.d. is 0, equal."
            + (f" What is published is not compared: {why}." if not comparable else "")
            + run_facts.about_seeds(run)
        ),
    )


def final(run: Run, variable: str, activation: str) -> Sample:
    """A test score after the last step, over the seeds."""
    return sample(run.records[variable].sel(activation=activation).isel(test_step=-1).values)


def slopes(run: Run, activation: str) -> Sample:
    """Number of slopes >= 1 before training, of all layers, over the seeds."""
    return sample(run.records["steep_slopes"].sel(activation=activation).sum("layer").values)


def deviations_away(found: Sample, published: float) -> float:
    """(published - mean) / s.d. over the seeds: 0 where they are equal, NaN with fewer than 2 seeds."""
    away = published - found.mean
    if math.isnan(found.deviation):
        return math.nan
    if found.deviation == 0:
        return 0.0 if away == 0 else math.copysign(math.inf, away)
    return away / found.deviation


def met(found: Sample, published: float) -> bool | None:
    """Whether the published count is within `WITHIN` standard deviations; None with fewer than 2 seeds."""
    away = deviations_away(found, published)
    return None if math.isnan(away) else bool(np.abs(away) <= WITHIN)
