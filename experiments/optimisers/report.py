"""Tables and the figure of a comparison of optimisers, from its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.optimisers.findings import Cell, Outcome, answers, cells, conclusion, outcome
from experiments.study.cells import number_cell, range_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval, plain, sample
from experiments.study.tables import Table
from paramact_jax.figures import BandCurve, curves_over_rates
from paramact_jax.statistics import wilson_interval


def tables(run: Run) -> list[Table]:
    """Each optimiser at its best rate, all rates, and the comparisons."""
    return list(_named_tables(run).values())


def summary(run: Run) -> dict[str, Any]:
    """The comparisons as plain data."""
    of = outcome(run.records)
    return {
        "experiment": run.manifest["experiment"],
        "config": run.manifest["config"],
        "synthetic": bool(run.records.attrs.get("synthetic", 0)),
        "outcome": of.name,
        "conclusion": conclusion(of),
        "cells": [_summed_up(of, cell) for cell in cells(of)],
        "answers": [
            plain(
                {
                    "question": answer.question,
                    "first": answer.first.name,
                    "second": answer.second.name,
                    "comparison": answer.comparison,
                    "p_value_holm": answer.p_value_holm,
                    "verdict": answer.verdict,
                }
            )
            for answer in answers(of)
        ],
    }


def write(run: Run) -> list[Path]:
    """Write summary, tables and figure into the run's directory; returns the files."""
    heading = f"# Optimiser or activation? {_problem(run)}\n\n{conclusion(outcome(run.records))}"
    named = _named_tables(run)
    return write_tables(run.directory, heading, named, {"rates": _figure(run)}, summary(run))


def _named_tables(run: Run) -> dict[str, Table]:
    found = {"best": _best(run), "rates": _rates(run)}
    if answers(outcome(run.records)):
        found["comparisons"] = _comparisons(run)
    return found


def _best(run: Run) -> Table:
    of = outcome(run.records)
    rows = []
    for cell in cells(of):
        rate = f"{cell.rate:g}" + "*" * cell.at_end
        rows.append([cell.activation, cell.optimiser, rate, *_level(of, cell.values), *_accuracy(run, cell)])
    interval = "Wilson's, of the share, per 1,000" if of.counted else "t interval of the mean over the seeds"
    return Table(
        title=f"{_problem(run)}: {of.name} at the best learning rate",
        columns=[
            *("activation", "optimiser", "rate", "per 1,000" if of.counted else "mean", "95 % interval"),
            *([] if of.counted else ["test accuracy"]),
        ],
        rows=rows,
        note=(
            f"{_conditions(run)} rate: the best for the first {_seeds(of.choosing)}{_chosen_by(of)}, of equally good "
            f"ones the smallest; *: the smallest or largest tried. All else is of the other "
            f"{of.reported.sizes['seed']} seeds. "
            f"Interval: {interval}."
        ),
        left=["optimiser"],
    )


def _rates(run: Run) -> Table:
    of = outcome(run.records)
    rows = []
    for activation in map(str, of.values["activation"].values):
        for optimiser in map(str, of.values["optimiser"].values):
            own = of.values.sel(activation=activation, optimiser=optimiser).transpose("learning_rate", "seed").values
            rows.append([activation, optimiser, *(_level(of, values)[0] for values in own)])
    return Table(
        title=f"{_problem(run)}: {of.name}{', per 1,000,' if of.counted else ''} by learning rate",
        columns=["activation", "optimiser", *(f"{rate:g}" for rate in of.values["learning_rate"].values)],
        rows=rows,
        note=f"{_conditions(run)} All seeds{'' if of.counted else '; means of those that are finite'}.",
        left=["optimiser"],
    )


def _comparisons(run: Run) -> Table:
    of = outcome(run.records)
    scale, form = (1000, ".0f") if of.counted else (1, ".4f")
    rows = []
    for answer in answers(of):
        found = answer.comparison
        numbers = ["0", "", "", "", ""]
        if found is not None:
            numbers = [
                f"{found.pairs}",
                f"{scale * found.difference:+{form}}",
                range_cell((scale * found.interval[0], scale * found.interval[1]), form),
                f"{found.p_value:.2g}",
                "" if answer.p_value_holm is None else f"{answer.p_value_holm:.2g}",
            ]
        better = {"first": answer.first.name, "second": answer.second.name}.get(answer.verdict, answer.verdict)
        rows.append([answer.question, f"{answer.first.name} - {answer.second.name}", *numbers, better])
    test = "bootstrap interval; McNemar's exact test" if of.counted else "t interval; paired t test"
    return Table(
        title=f"{_problem(run)}: who has {'more' if of.counted else 'the lower'} {of.name}",
        columns=["question", "difference of", "seeds", "mean", "95 % interval", "p", "p (Holm)", "better"],
        rows=rows,
        note=(
            f"{conclusion(of)} Each at its best rate, and the best optimiser, are those of the first "
            f"{_seeds(of.choosing)}{_chosen_by(of)}; differences on the others{', per 1,000' if of.counted else ''}; "
            f"{test}, Holm's correction over the {len(rows)} rows."
        ).strip(),
        left=["difference of", "better"],
    )


def _level(of: Outcome, values: np.ndarray) -> list[str]:
    if of.counted:
        count, trials = int(values.sum()), len(values)
        low, high = wilson_interval(count, trials)
        return [f"{1000 * count / trials:.0f}", f"{1000 * low:.1f} to {1000 * high:.1f}"]
    found = sample(values)
    left_out = f" ({found.non_finite} not finite)" if found.non_finite else ""
    return [f"{number_cell(found.mean)}{left_out}", range_cell(found.interval(), ".3f")]


def _accuracy(run: Run, cell: Cell) -> list[str]:
    if "test_accuracy" not in run.records:
        return []
    own = run.records["test_accuracy"].sel(
        activation=cell.activation, optimiser=cell.optimiser, learning_rate=cell.rate
    )
    return [number_cell(sample(own.isel(seed=slice(outcome(run.records).choosing, None)).values).mean)]


def _summed_up(of: Outcome, cell: Cell) -> dict[str, Any]:
    level, interval = _level(of, cell.values)
    return {
        "activation": cell.activation,
        "optimiser": cell.optimiser,
        "rate": cell.rate,
        "at_end": cell.at_end,
        "seeds": len(cell.values),
        "level": level,
        "interval": interval,
    }


def _figure(run: Run) -> Figure:
    of = outcome(run.records)
    panels = {}
    for activation in map(str, of.values["activation"].values):
        panels[activation] = [
            BandCurve(optimiser, *_band(of, of.values.sel(activation=activation, optimiser=optimiser)))
            for optimiser in map(str, of.values["optimiser"].values)
        ]
    seeds = of.values.sizes["seed"]
    return curves_over_rates(
        of.values["learning_rate"].values,
        panels,
        ylabel="share of trials that converge" if of.counted else of.name,
        title=f"{_problem(run)}: all {seeds} seeds, 95 % interval shaded",
        log=not of.counted,
    )


def _band(of: Outcome, values: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, lower and upper end by learning rate."""
    by_seed = values.transpose("seed", "learning_rate").values
    if not of.counted:
        return mean_and_interval(by_seed)
    ends = np.array([wilson_interval(int(count), len(by_seed)) for count in by_seed.sum(axis=0)])
    return by_seed.mean(axis=0), ends[:, 0], ends[:, 1]


def _seeds(number: int) -> str:
    return f"{number:,} seeds" if number > 1 else "seed"


def _chosen_by(of: Outcome) -> str:
    return "" if of.counted else ", by the loss over the training images held out"


def _problem(run: Run) -> str:
    if run.records.attrs["problem"] == "xor10":
        return "XOR(10)"
    return "SYNTHETIC IMAGES, NOT MNIST" if run.records.attrs["synthetic"] else "MNIST"


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    images = f"; images: {run.records.attrs['source']}" if "source" in run.records.attrs else ""
    return (
        f"Recovered protocol, {config['steps']:,} updates, the rate that of a and b too, seeds {seeds.min()} to "
        f"{seeds.max()}{images}."
    )
