"""The table of `time_to_loss`, and the paper's statement about it."""

from __future__ import annotations

import math

from experiments.mnist import run_facts, time_to_loss
from experiments.problems.digits import is_synthetic, titled
from experiments.study.cells import range_cell, yes_no_cell
from experiments.study.run_directory import Run
from experiments.study.samples import Sample, inside
from experiments.study.tables import Table
from paramact_jax.papers import ko2021


def times_table(run: Run) -> Table:
    """Steps and seconds to the published train loss, and what they save against the published reference."""
    published, seeds = ko2021.MNIST_TIME_SAVED, run.records.sizes["seed"]
    reference = run_facts.label(published.reference)
    found = times(run)
    rows = []
    for row in found:
        inside_both = [
            inside(published.share, saved.interval) if saved else None for saved in (row.saved_steps, row.saved_seconds)
        ]
        compared = row.activation == published.activation and not is_synthetic(run)
        rows.append(
            [
                run_facts.label(row.activation),
                f"{row.steps.seeds} of {seeds}",
                *(["never", "", ""] if not row.steps.seeds else [f"{row.steps.mean:,.0f}", *_spread(row.steps)]),
                "" if math.isnan(row.seconds_per_step) else f"{1e3 * row.seconds_per_step:.3g}",
                "" if math.isnan(row.seconds) else f"{row.seconds:.3g}",
                _saved(row.saved_steps),
                _saved(row.saved_seconds),
                "about 2/3" if row.activation == published.activation else "",
                " / ".join(yes_no_cell(met) or "-" for met in inside_both) if compared else "",
            ]
        )
    note = (
        f"{run_facts.conditions(run)} Steps: until the loss over all training images is {published.train_loss:g}, its "
        f"logarithm linear between the steps at which it was scored; mean over the seeds that got there, with its 95 % "
        f"t interval. Seconds: mean steps x median time of a step of one seed, without scoring, on the machine of the "
        f"run. Saved: 1 - steps / steps of {reference}, seed by seed, with the 95 % t interval of the mean (the "
        f"timing's own error is not in it). Inside: whether the published 2/3 is."
    )
    if late := [
        f"{row.steps.non_finite} of {seeds} of {run_facts.label(row.activation)}"
        for row in found
        if row.steps.non_finite
    ]:
        note += (
            f" Never got there within {run.manifest['config']['steps']:,} steps, and left out: {', '.join(late)}. A "
            f"saving is over the seeds in which both got there."
        )
    for row in found:
        steps, seconds = row.saved_steps, row.saved_seconds
        if row.activation == published.activation and steps and steps.alone:
            of_time = f", {seconds.at_least:.1%} of the time" if seconds and seconds.alone else ""
            note += (
                f" In {steps.alone} of {seeds} seeds {run_facts.label(row.activation)} got there and {reference} did "
                f"not: there it saves more than {steps.at_least:.1%} of the steps{of_time}."
            )
    return Table(
        title=titled(run, f"Steps and time to a train loss of {published.train_loss:g} [P, section 4.2]"),
        columns=[
            *("activation", "seeds", "steps", "95 % interval", "smallest - largest", "ms a step", "seconds"),
            *(f"steps saved against {reference}", "time saved", "published", "inside (steps / time)"),
        ],
        rows=rows,
        note=note + run_facts.about_seeds(run) + run_facts.diverged(run, ["train_loss"]),
    )


def times(run: Run) -> list[time_to_loss.Row]:
    """All activations of the run, the two of the paper first."""
    published = ko2021.MNIST_TIME_SAVED
    first = (published.reference, published.activation)
    names = sorted(run_facts.activations(run), key=lambda name: first.index(name) if name in first else len(first))
    return time_to_loss.rows(run.records.sel(activation=names), published.train_loss, published.reference)


def _spread(steps: Sample) -> list[str]:
    return [range_cell(steps.interval(), ",.0f"), range_cell((steps.smallest, steps.largest), ",.0f")]


def _saved(saving: time_to_loss.Saving | None) -> str:
    if saving is None or not saving.pairs:
        return ""
    return f"{saving.mean:.1%}" + (f" ({range_cell(saving.interval, '.1%')})" if saving.interval else "")
