"""Tables and figures of the study, from its records alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.initial_scale.findings import (
    comparable,
    conclusion,
    decades_lost,
    he_runs,
    small_runs,
    statements,
    stays,
)
from experiments.initial_scale.pictures import figures
from experiments.initial_scale.protocol import described
from experiments.problems.digits import titled
from experiments.study.cells import number_cell, range_cell, yes_no_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import plain, sample
from experiments.study.tables import Table
from paramact_jax.papers import student_report


def tables(run: Run) -> list[Table]:
    """The grid at the end of its training and before, the runs of [R] made again, and what [R] says."""
    return list(_named_tables(run).values())


def summary(run: Run) -> dict[str, Any]:
    """The verdicts as plain data."""
    return {
        "experiment": run.manifest["experiment"],
        "config": run.manifest["config"],
        "synthetic": bool(run.records.attrs["synthetic"]),
        "conclusion": conclusion(run.records),
        "small": [plain(found) for found in small_runs(run.records)],
        "he": [plain(found) | {"fits": found.fits} for found in he_runs(run.records)],
        "statements": [plain(found) for found in statements(run.records)],
    }


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    named = _named_tables(run)
    return write_tables(run.directory, titled(run, "# The initial scale"), named, figures(run), summary(run))


def _named_tables(run: Run) -> dict[str, Table]:
    found = {"overview": _overview(run), "cells": _cells(run), "small": _small(run), "he": _he(run)}
    if statements(run.records):
        found["statements"] = _statements(run)
    return found


def _overview(run: Run) -> Table:
    records = run.records
    names = [str(name) for name in records["activation"].values]
    stuck, accuracy = stays(records), records["test_accuracy"].isel(step=-1)
    rows = []
    for scale in map(str, records["scale"].values):
        row = [described(scale)]
        for name in names:
            values, stay = (x.sel(activation=name, scale=scale).values for x in (accuracy, stuck))
            found = sample(values)
            marks = "*" * bool(stay.any()) + "!" * bool(found.non_finite)
            row.append("one label" if stay.all() else (number_cell(found.mean) or "diverged") + marks)
        rows.append(row)
    return Table(
        title=titled(run, f"Test accuracy after {int(records['step'][-1]):,} steps, by initial standard deviation"),
        columns=["standard deviation", *names],
        rows=rows,
        note=(
            f"{_conditions(run)} one label: all images are given the same one, in every seed; *: in some; !: the loss "
            f"of some seeds is not finite, and they are left out."
        ),
    )


def _cells(run: Run) -> Table:
    records = run.records
    stuck, lost = stays(records), decades_lost(records)
    rows = []
    for name in map(str, records["activation"].values):
        for scale in map(str, records["scale"].values):
            own = records.sel(activation=name, scale=scale)
            accuracy, loss = (sample(own[f"test_{kind}"].isel(step=-1).values) for kind in ("accuracy", "loss"))
            diverged = accuracy.non_finite
            by_weights, by_activation = (
                _mean(-own[f"before_{part}"].astype(np.float64).sum("hidden_layer").values / math.log(10))
                for part in ("linear", "activation")
            )
            rows.append(
                [
                    name,
                    scale,
                    number_cell(accuracy.mean) + (f" ({diverged} not finite)" if diverged else ""),
                    range_cell(accuracy.interval(), ".3f"),
                    number_cell(loss.mean),
                    range_cell(loss.interval(), ".3f"),
                    f"{int(stuck.sel(activation=name, scale=scale).sum())} of {records.sizes['seed']}",
                    _mean(lost.sel(activation=name, scale=scale).values),
                    by_weights,
                    by_activation,
                    *(
                        f"{float(own[f'before_{what}'].isel(hidden_layer=-1).mean()):.2g}"
                        for what in ("size", "spread")
                    ),
                ]
            )
    return Table(
        title=titled(run, f"Each cell before training and after {int(records['step'][-1]):,} steps"),
        columns=[
            *("activation", "scale", "test accuracy", "95 % interval", "test loss", "95 % interval", "one label"),
            *("decades lost", "by weights", "by activation", "size", "spread"),
        ],
        rows=rows,
        note=(
            f"{_conditions(run)} Means over the seeds with their t intervals. one label: networks that give all images "
            f"the same. Before training: decades that the gradient's norm loses from the output to the first layer, "
            f"by the weights and by the activation (type 1 and type 2 of [P, section 3.1]; inf: it is 0); of the last "
            f"hidden layer's values the size (root mean square), and the spread over images (standard deviation): "
            f"where that is far below the size the output hardly depends on the image."
        ),
        left=["scale"],
    )


def _small(run: Run) -> Table:
    printed = student_report.SMALL
    labels = {accuracies: label for label, accuracies in student_report.LABEL_SHARES.items()}
    other = sum(labels[line] != 1 for line in printed.lines)
    lines = f"{len(printed.lines)}"
    rows = [["[R]", "", lines, lines, f"{other}", number_cell(printed.test[-1]), ""]]
    for found in small_runs(run.records):
        rows.append(
            [
                found.candidate,
                f"{found.rate:g}",
                f"{found.lines}",
                f"{found.of_one_label}",
                ", ".join(map(str, found.of_another)),
                number_cell(found.final.mean),
                yes_no_cell(found.fits if comparable(run.records) else None),
            ]
        )
    return Table(
        title=titled(run, "The run of [R] from a standard deviation of 0.01, made again"),
        columns=["activation", "rate", "lines", "of one label", "of another", "test accuracy", "fits"],
        rows=rows,
        note=(
            f"{_again(run)} lines: scores of train and test images after the first step, in all seeds. of one "
            f"label: those that are, to the image, the shares of one label; of another: than the most frequent one, "
            f"seed by seed; [R] prints label 1's shares 15 times and label 7's once. fits: all lines are of one label."
        ),
    )


def _he(run: Run) -> Table:
    printed = student_report.HE
    rows = [["[R]", "", number_cell(printed.test[1]), "", number_cell(printed.test[-1]), "", "", ""]]
    for found in he_runs(run.records):
        rows.append(
            [
                found.candidate,
                f"{found.rate:g}",
                number_cell(found.first.mean),
                range_cell(found.first.prediction(), ".3f"),
                number_cell(found.last.mean),
                range_cell(found.last.prediction(), ".3f"),
                number_cell(found.distance),
                yes_no_cell(found.fits if comparable(run.records) else None),
            ]
        )
    step = run.records["printed_step"].values
    at = "test accuracy at {:,}"
    return Table(
        title=titled(run, "The run of [R] from sqrt(2/width) in all layers, made again"),
        columns=[
            *("activation", "rate", at.format(step[min(1, len(step) - 1)]), "95 % prediction"),
            *(at.format(step[-1]) + " steps", "95 % prediction", "distance", "fits"),
        ],
        rows=rows,
        note=(
            f"{_again(run)} prediction: where one more run of ours would fall. distance: mean over [R]'s lines, the "
            f"first left out, of |mean test accuracy - printed|. fits: both printed accuracies lie within. "
            f"{conclusion(run.records)}"
        ),
    )


def _statements(run: Run) -> Table:
    return Table(
        title=titled(run, "What [R] says of its network"),
        columns=["statement", "criterion, in every seed", "activation", "mean", "true"],
        rows=[
            [found.text, found.criterion, found.activation, number_cell(found.value), yes_no_cell(found.holds)]
            for found in statements(run.records)
        ],
        note=f"{_conditions(run)} [R] does not say which activation it used.",
        left=["criterion, in every seed", "activation"],
    )


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    return (
        f"Four hidden layers of {config['width']}, batches of {config['batch']} drawn with replacement, gradient "
        f"descent, learning rate {config['learning_rate']:g}, seeds {seeds.min()} to {seeds.max()}; images: "
        f"{run.records.attrs['source']}."
    )


def _again(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"Width {config['width']}, batches of {config['batch']}, scores every {config['every']} of "
        f"{config['printed_steps']:,} steps, the book's script; [R] prints neither width nor activation nor rate."
    )


def _mean(values: np.ndarray) -> str:
    mean = float(np.mean(values))
    return f"{mean:.2f}" if math.isfinite(mean) else str(mean)
