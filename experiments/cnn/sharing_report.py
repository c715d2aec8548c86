"""What a comparison of what shares an a and a b says, from its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.cnn.pictures import band, shown
from experiments.cnn.run_facts import about_seeds, combinations, conditions, diverged, label
from experiments.problems.digits import is_synthetic, titled
from experiments.study.cells import number_cell, range_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import paired, plain, sample
from experiments.study.tables import Table
from paramact_jax.figures import curves_in_panels
from paramact_jax.statistics import PairedComparison, holm


def tables(run: Run) -> list[Table]:
    """One table: loss, parameters and time."""
    return [_table(run)]


def write(run: Run) -> list[Path]:
    """Write summary, table and figure into the run's directory; returns the files."""
    heading = titled(run, "# What has an a and b of its own")
    tables, pictures = {"sharing": _table(run)}, {"loss": _figure(run)}
    return write_tables(run.directory, heading, tables, pictures, plain(summary(run)))


def summary(run: Run) -> dict[str, Any]:
    """The table as plain data, by combination and sharing."""
    rows: dict[str, Any] = {}
    compared = differences(run)
    for name in combinations(run):
        rows[name] = {}
        for sharing in _sharings(run):
            of = run.records.sel(combination=name, sharing=sharing)
            loss = sample(of["best_loss"].values)
            against, corrected = compared.get((name, sharing), (None, None))
            rows[name][sharing] = {
                "best_loss": plain(loss) | {"interval": loss.interval()},
                "best_iteration": sample(of["best_iteration"].values),
                "difference": against,
                "p_value_holm": corrected,
                "parameters_of_activations": int(of["parameters_of_activations"]),
                "seconds_per_step": float(of["seconds_per_step"].median()),
            }
    return {"experiment": "cnn-sharing", "synthetic": is_synthetic(run), "combinations": rows}


def differences(run: Run) -> dict[tuple[str, str], tuple[PairedComparison, float]]:
    """Smallest test loss against the first sharing's, seed by seed, by combination and sharing.

    Returns:
      The comparison, and its p value by Holm's correction over all of them. Nothing for the first sharing, nor where
      fewer than 2 seeds have finite losses under both.
    """
    reference, *others = _sharings(run)
    found = {}
    for name in combinations(run):
        losses = run.records["best_loss"].sel(combination=name)
        second = losses.sel(sharing=reference).values
        for sharing in others:
            against = paired(losses.sel(sharing=sharing).values, second, losses["seed"].values)
            if against is not None:
                found[name, sharing] = against
    corrected = holm([against.p_value for against in found.values()])
    return {key: (against, p_value) for (key, against), p_value in zip(found.items(), corrected, strict=True)}


def _sharings(run: Run) -> list[str]:
    return [str(name) for name in run.records["sharing"].values]


def _table(run: Run) -> Table:
    rows = []
    reference, compared = _sharings(run)[0], differences(run)
    for name in combinations(run):
        for sharing in _sharings(run):
            of = run.records.sel(combination=name, sharing=sharing)
            loss, at = sample(of["best_loss"].values), sample(of["best_iteration"].values)
            cells = ["", "", "", ""]
            if (name, sharing) in compared:
                against, corrected = compared[name, sharing]
                cells = [
                    f"{against.difference:+.4f}",
                    range_cell(against.interval, "+.4f"),
                    f"{against.p_value:.2g}",
                    f"{corrected:.2g}",
                ]
            rows.append(
                [
                    label(name),
                    sharing,
                    f"{int(of['parameters_of_activations']):,}",
                    f"{loss.mean:.4f}",
                    range_cell(loss.interval(), ".4f"),
                    *cells,
                    number_cell(at.mean),
                    f"{1000 * float(of['seconds_per_step'].median()):.2f}",
                ]
            )
    return Table(
        title=titled(run, "What has an a and b of its own in the convolutional layers"),
        columns=[
            *("convolutional / dense", "own a and b", "a and b", "loss", "95 % interval"),
            *(f"loss - {reference}'s", "95 % interval of it", "p", "p (Holm)", "iterations", "ms a step"),
        ],
        rows=rows,
        note=(
            f"{conditions(run)} Loss: smallest test loss, mean over the seeds, t interval; difference on equal seeds, "
            f"t interval, paired t test, Holm's correction over the table; iterations: where the loss was smallest; "
            f"ms: median, one trial, without scores. The a and b of the dense layer, one for every node, are counted."
        )
        + about_seeds(run)
        + diverged(run),
        left=("own a and b",),
    )


def _figure(run: Run) -> Figure:
    panels = {
        label(name): [
            band(sharing, run.records["test_loss"].sel(combination=name, sharing=sharing)) for sharing in _sharings(run)
        ]
        for name in combinations(run)
    }
    return curves_in_panels(
        run.records["test_step"].values,
        panels,
        xlabel="iteration",
        ylabel="test loss",
        title=titled(run, f"Own a and b: {shown(run)}"),
    )
