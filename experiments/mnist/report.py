"""What an MNIST run says about [P, section 4.2], from its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.mnist import published, run_facts, statements
from experiments.mnist.pictures import figures
from experiments.mnist.time_table import times, times_table
from experiments.problems.digits import is_synthetic, titled
from experiments.study.cells import number_cell, verdict_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import Sample, inside, plain
from experiments.study.tables import Table


def tables(run: Run) -> list[Table]:
    """Final test loss, slope counts, statements, and time to a train loss of 0.1."""
    return list(_named_tables(run).values())


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    heading = titled(run, "# MNIST, 8 hidden layers")
    return write_tables(run.directory, heading, _named_tables(run), figures(run), plain(summary(run)))


def summary(run: Run) -> dict[str, Any]:
    """The tables as plain data; numbers that do not exist are None."""
    losses, counts = run_facts.final_losses(run), run_facts.slope_counts(run)
    to_loss = {row.activation: row for row in times(run)}
    per_activation = {}
    for name in run_facts.activations(run):
        loss, slopes = published.final(run, "test_loss", name), published.slopes(run, name)
        printed, count = losses.get(name), counts.get(name)
        per_activation[name] = {
            "test_loss": _entry(loss)
            | {
                "published": printed,
                "published_within_prediction": inside(printed, loss.prediction()),
                "published_within_interval": inside(printed, loss.interval()),
            },
            "test_accuracy": _entry(published.final(run, "test_accuracy", name)),
            "steep_slopes": _entry(slopes)
            | {
                "published": count,
                "deviations_away": None if count is None else published.deviations_away(slopes, count),
                "published_within": None if count is None else published.met(slopes, count),
            },
            "time_to_loss": to_loss[name],
        }
    return {
        "experiment": run.manifest["experiment"],
        "protocol": run.manifest["config"]["protocol"],
        "source": run.records.attrs["source"],
        "synthetic": is_synthetic(run),
        "seeds": [int(seed) for seed in run.records["seed"].values],
        "activations": per_activation,
        "statements": [
            plain(statement) | {"interval": statement.difference.interval()}
            for statement in statements.check(run.records)
        ],
    }


def _named_tables(run: Run) -> dict[str, Table]:
    return {
        "final_test_loss": published.final_table(run),
        "slope_counts": published.slopes_table(run),
        "statements": _statements_table(run),
        "time_to_loss": times_table(run),
    }


def _statements_table(run: Run) -> Table:
    found = statements.check(run.records)
    note = (
        f"{run_facts.conditions(run)} Judged by the means over the seeds. Seeds: in how many of them alone it is true. "
        f"Difference: mean over the seeds, in pairs, of the two that come closest to deciding otherwise; 95 % t "
        f"interval. Mean test loss over steps: linear between those scored. Range: largest - smallest entry of "
        f"dL/dy^(1)."
    )
    steps = run.manifest["config"]["steps"]
    if steps < statements.PLOTTED:
        note += f" The run ends at step {steps:,}, and so does what is said of later steps."
    if left_out := statements.left_out(run.records):
        note += f" Not asked, for want of an activation or of scores: {left_out} of the paper's statements."
    return Table(
        title=titled(run, "Statements of [P, section 4.2] on Figs. 12 to 14"),
        columns=["figure", "statement", "verdict", "seeds", "difference", "95 % interval", "of", "means"],
        rows=[
            [
                s.figure,
                s.text,
                verdict_cell(s.holds),
                f"{s.seeds_true} of {s.seeds}",
                number_cell(s.difference.mean),
                " to ".join(map(number_cell, s.difference.interval() or ())),
                s.compared,
                s.measured,
            ]
            for s in found
        ],
        note=note
        + run_facts.about_seeds(run)
        + run_facts.diverged(run, ["test_loss", "gradient_smallest", "gradient_largest"]),
        left=("statement", "verdict", "of", "means"),
    )


def _entry(found: Sample) -> dict[str, Any]:
    return plain(found) | {"interval": found.interval(), "prediction": found.prediction()}
