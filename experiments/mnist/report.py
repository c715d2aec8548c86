"""What an MNIST run says about [P, section 4.2], from its records alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments import run_directory
from experiments.mnist import run_facts, statements, time_to_loss
from experiments.mnist.pictures import figures
from experiments.mnist.samples import Sample, inside, plain, sample
from experiments.run_directory import Run
from experiments.tables import Table
from paramact_jax.papers import ko2021

WITHIN = 3.0
"""A published count is met within this many standard deviations over our seeds."""


def tables(run: Run) -> list[Table]:
    """Final test loss, slope counts, statements, and time to a train loss of 0.1."""
    return list(_named_tables(run).values())


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    content = {"summary.json": json.dumps(plain(summary(run)), indent=2, allow_nan=False) + "\n"}
    named = _named_tables(run)
    for name, table in named.items():
        content |= {f"{name}.csv": table.csv(), f"{name}.tex": table.latex()}
    pictures = figures(run)
    links = [f"![{name}]({name}.png)\n" for name in pictures]
    title = run_facts.titled(run, "# MNIST, 8 hidden layers")
    content["report.md"] = "\n".join([f"{title}\n", *(table.markdown() for table in named.values()), *links])
    return run_directory.write_report(run.directory, content, pictures)


def summary(run: Run) -> dict[str, Any]:
    """The tables as plain data; numbers that do not exist are None."""
    records, losses, counts = run.records, run_facts.final_losses(run), run_facts.slope_counts(run)
    times = {row.activation: row for row in _times(run)}
    per_activation = {}
    for name in run_facts.activations(run):
        loss, accuracy, slopes = _final(run, "test_loss", name), _final(run, "test_accuracy", name), _slopes(run, name)
        published, count = losses.get(name), counts.get(name)
        per_activation[name] = {
            "test_loss": _entry(loss)
            | {
                "published": published,
                "published_within_prediction": _inside(published, loss.prediction()),
                "published_within_interval": _inside(published, loss.interval()),
            },
            "test_accuracy": _entry(accuracy),
            "steep_slopes": _entry(slopes)
            | {
                "published": count,
                "deviations_away": None if count is None else deviations_away(slopes, count),
                "published_within": None if count is None else _met(slopes, count),
            },
            "time_to_loss": plain(times[name]),
        }
    return {
        "experiment": run.manifest["experiment"],
        "protocol": run.manifest["config"]["protocol"],
        "source": records.attrs["source"],
        "synthetic": run_facts.is_synthetic(run),
        "seeds": [int(seed) for seed in records["seed"].values],
        "activations": per_activation,
        "statements": [
            plain(statement) | {"interval": statement.difference.interval()} for statement in statements.check(records)
        ],
    }


def deviations_away(found: Sample, published: float) -> float:
    """(published - mean) / s.d. over the seeds: 0 where they are equal, NaN with fewer than 2 seeds."""
    away = published - found.mean
    if math.isnan(found.deviation):
        return math.nan
    if found.deviation == 0:
        return 0.0 if away == 0 else math.copysign(math.inf, away)
    return away / found.deviation


def _named_tables(run: Run) -> dict[str, Table]:
    return {
        "final_test_loss": _final_table(run),
        "slope_counts": _slopes_table(run),
        "statements": _statements_table(run),
        "time_to_loss": _times_table(run),
    }


def _final_table(run: Run) -> Table:
    published = run_facts.final_losses(run)
    printed = {row.activation: row for row in ko2021.MNIST_FINAL_LOSS}
    rows = []
    for name in run_facts.activations(run):
        loss, accuracy = _final(run, "test_loss", name), _final(run, "test_accuracy", name)
        rows.append(
            [
                run_facts.label(name),
                f"{loss.mean:.4f}",
                _range(loss.interval(), ".4f"),
                _range((loss.smallest, loss.largest), ".4f"),
                f"{printed[name].loss:.3f}" if name in printed else "",
                _range(loss.prediction(), ".4f") if name in published else "",
                _yes_no(_inside(published.get(name), loss.prediction())),
                _yes_no(_inside(published.get(name), loss.interval())),
                f"{accuracy.mean:.2%}",
                _range(accuracy.interval(), ".2%"),
            ]
        )
    note = (
        f"{run_facts.conditions(run)} Scored on all test images after the last step. Interval: 95 % t interval of the "
        f"mean over the seeds. Published is one run; one more run of ours would fall into the 95 % prediction interval, "
        f"mean +- t s sqrt(1 + 1/n)."
    )
    if not published:
        why = "the images are not MNIST's" if run_facts.is_synthetic(run) else "it is after another number of steps"
        note += f" What is published is not compared: {why}."
    return Table(
        title=run_facts.titled(run, "Test loss and accuracy at the end [P, Fig. 12]"),
        columns=[
            *("activation", "test loss", "95 % interval", "smallest - largest", "published", "prediction interval"),
            *("published in it", "in interval of mean", "accuracy", "95 % interval of accuracy"),
        ],
        rows=rows,
        note=note + _about_seeds(run) + run_facts.diverged(run, ["test_loss", "test_accuracy"]),
    )


def _slopes_table(run: Run) -> Table:
    printed, comparable = {row.activation: row for row in ko2021.FIG_14}, run_facts.slope_counts(run)
    rows = []
    for name in run_facts.activations(run):
        found, away, met = _slopes(run, name), math.nan, None
        if name in comparable:
            away, met = deviations_away(found, comparable[name]), _met(found, comparable[name])
        rows.append(
            [
                run_facts.label(name),
                f"{found.mean:,.0f}",
                "" if math.isnan(found.deviation) else f"{found.deviation:,.0f}",
                f"{printed[name].count:,}" if name in printed else "",
                "" if math.isnan(away) else f"{away:+.1f}",
                {None: "", True: "within", False: "outside"}[met],
            ]
        )
    return Table(
        title=run_facts.titled(run, "Slopes >= 1 before training, of 65,536 [P, Fig. 14]"),
        columns=["activation", "mean", "s.d.", "published", "s.d. away", "verdict"],
        rows=rows,
        note=(
            f"{run_facts.conditions(run)} Mean and standard deviation over the seeds, of 8 layers x 128 nodes x 64 "
            f"images. Verdict: published within mean +- {WITHIN:g} s.d.; where s.d. is 0, equal."
            + (" What is published is not compared: the images are not MNIST's." if not comparable else "")
            + _about_seeds(run)
        ),
    )


def _statements_table(run: Run) -> Table:
    found = statements.check(run.records)
    note = (
        f"{run_facts.conditions(run)} Judged by the means over the seeds. Seeds: in how many of them alone it is true. "
        f"Difference: mean over the seeds, in pairs, of the two that come closest to deciding otherwise; 95 % t "
        f"interval. Range: largest - smallest entry of dL/dy^(1)."
    )
    steps = run.manifest["config"]["steps"]
    if steps < statements.PLOTTED:
        note += f" The run ends at step {steps:,}, and so does what is said of later steps."
    if left_out := statements.left_out(run.records):
        note += f" Not asked, for want of an activation or of scores: {left_out} of the paper's statements."
    return Table(
        title=run_facts.titled(run, "Statements of [P, section 4.2] on Figs. 12 to 14"),
        columns=["figure", "statement", "verdict", "seeds", "difference", "95 % interval", "of", "means"],
        rows=[
            [
                s.figure,
                s.text,
                {None: "undecided", True: "true", False: "false"}[s.holds],
                f"{s.seeds_true} of {s.seeds}",
                "" if math.isnan(s.difference.mean) else f"{s.difference.mean:.4g}",
                _range(s.difference.interval(), ".4g"),
                s.compared,
                s.measured,
            ]
            for s in found
        ],
        note=note + _about_seeds(run) + run_facts.diverged(run, ["test_loss", "gradient_smallest", "gradient_largest"]),
        left=("statement", "verdict", "of", "means"),
    )


def _times_table(run: Run) -> Table:
    published, seeds = ko2021.MNIST_TIME_SAVED, run.records.sizes["seed"]
    reference = run_facts.label(published.reference)
    found = _times(run)
    rows = []
    for row in found:
        inside_both = [
            _inside(published.share, saved.interval) if saved else None
            for saved in (row.saved_steps, row.saved_seconds)
        ]
        compared = row.activation == published.activation and not run_facts.is_synthetic(run)
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
                " / ".join(_yes_no(met) or "-" for met in inside_both) if compared else "",
            ]
        )
    note = (
        f"{run_facts.conditions(run)} Steps: until the loss over all training images is {published.train_loss:g}, its "
        f"logarithm linear between the steps at which it was scored; mean over the seeds that got there, with its 95 % t "
        f"interval. Seconds: mean steps x median time of a step of one seed, without scoring; on the machine of the "
        f"run. Saved: 1 - steps / steps of {reference}, seed by seed, with the bootstrap 95 % interval of the mean (the "
        f"seeds resampled in pairs; the timing's own error is not in it)."
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
    return Table(
        title=run_facts.titled(run, f"Steps and time to a train loss of {published.train_loss:g} [P, section 4.2]"),
        columns=[
            *("activation", "seeds", "steps", "95 % interval", "smallest - largest", "ms a step", "seconds"),
            *(f"steps saved against {reference}", "time saved", "published", "inside (steps / time)"),
        ],
        rows=rows,
        note=note + _about_seeds(run) + run_facts.diverged(run, ["train_loss"]),
    )


def _times(run: Run) -> list[time_to_loss.Row]:
    """The two of the paper first."""
    published = ko2021.MNIST_TIME_SAVED
    first = (published.reference, published.activation)
    names = sorted(run_facts.activations(run), key=lambda name: first.index(name) if name in first else len(first))
    return time_to_loss.rows(run.records.sel(activation=names), published.train_loss, published.reference)


def _final(run: Run, variable: str, activation: str) -> Sample:
    return sample(run.records[variable].sel(activation=activation).isel(test_step=-1).values)


def _slopes(run: Run, activation: str) -> Sample:
    return sample(run.records["steep_slopes"].sel(activation=activation).sum("layer").values)


def _met(found: Sample, published: float) -> bool | None:
    away = deviations_away(found, published)
    return None if math.isnan(away) else bool(np.abs(away) <= WITHIN)


def _entry(found: Sample) -> dict[str, Any]:
    return plain(found) | {"interval": found.interval(), "prediction": found.prediction()}


def _inside(published: float | None, interval: tuple[float, float] | None) -> bool | None:
    return None if published is None else inside(published, interval)


def _about_seeds(run: Run) -> str:
    return " One seed has no interval and no standard deviation." if run.records.sizes["seed"] == 1 else ""


def _range(bounds: tuple[float, float] | None, form: str) -> str:
    return "" if bounds is None or math.isnan(bounds[0]) else f"{bounds[0]:{form}} - {bounds[1]:{form}}"


def _spread(steps: Sample) -> list[str]:
    return [_range(steps.interval(), ",.0f"), _range((steps.smallest, steps.largest), ",.0f")]


def _saved(saving: time_to_loss.Saving | None) -> str:
    if saving is None or not saving.pairs:
        return ""
    return f"{saving.mean:.1%}" + (f" ({_range(saving.interval, '.1%')})" if saving.interval else "")


def _yes_no(value: bool | None) -> str:
    return {None: "", True: "yes", False: "no"}[value]
