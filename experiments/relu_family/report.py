"""Tables and figures about dying units, from the records of a run alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.digits import is_synthetic, titled
from experiments.relu_family import units
from experiments.relu_family.design import FAINT
from experiments.relu_family.statements import check, label
from experiments.reporting.cells import range_cell, share_cell, verdict_cell
from experiments.reporting.files import write_tables
from experiments.reporting.samples import Sample, mean_and_interval, paired, plain, sample
from experiments.reporting.tables import Table
from experiments.run_directory import Run
from paramact_jax.figures import BandCurve, curves_in_panels
from paramact_jax.statistics import PairedComparison, holm

_BASE = "relu"


def tables(run: Run) -> list[Table]:
    """Dead units, where they are, test loss beside ReLU's, and the statements."""
    return list(_named_tables(run).values())


def summary(run: Run) -> dict[str, Any]:
    """The statements as plain data."""
    return {
        "config": run.manifest["config"],
        "synthetic": is_synthetic(run),
        "statements": [dataclasses.asdict(found) for found in check(run.records)],
    }


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    heading = titled(run, "# The family of ReLU")
    return write_tables(run.directory, heading, _named_tables(run), figures(run), plain(summary(run)))


def figures(run: Run) -> dict[str, Figure]:
    """Dead units, units as good as dead, and the test loss, by step: a panel for each activation."""
    records = run.records
    shaded = f"mean of {records.sizes['seed']} seeds, without values that are not finite; 95 % interval shaded"
    shares = {
        "dead": (units.dead(records), "units with slope 0 for all probe images"),
        "faint": (units.faint(records), f"units with $|$slope$|$ at most {FAINT:g} for all probe images"),
    }
    found = {
        name: curves_in_panels(
            records["look"].values, _panels(share.mean("layer")), ylabel=what, title=titled(run, shaded), shares=True
        )
        for name, (share, what) in shares.items()
    }
    loss = records["test_loss"].rename(test_step="look")
    at = loss["look"].values
    return found | {"test_loss": curves_in_panels(at, _panels(loss), ylabel="test loss", title=titled(run, shaded))}


def _panels(values: xr.DataArray) -> dict[str, list[BandCurve]]:
    return {
        label(str(name)): [
            BandCurve(
                f"learning rate {rate:g}",
                *mean_and_interval(
                    values.sel(activation=name, learning_rate=rate).transpose("seed", "look").values.astype(np.float64)
                ),
            )
            for rate in values["learning_rate"].values
        ]
        for name in values["activation"].values
    }


def _named_tables(run: Run) -> dict[str, Table]:
    return {
        "units": _units(run),
        "layers": _layers(run),
        "test_loss": _test_loss(run),
        "statements": _statements(run),
    }


def _kinds(records: xr.Dataset) -> list[tuple[str, float]]:
    return [
        (str(name), float(rate)) for name in records["activation"].values for rate in records["learning_rate"].values
    ]


def _units(run: Run) -> Table:
    records = run.records
    dead, faint, high = (of(records).mean("layer") for of in (units.dead, units.faint, units.stuck_high))
    ever, back = units.came_back(records)
    rows = []
    for name, rate in _kinds(records):
        at = {"activation": name, "learning_rate": rate}
        end, weak = sample(dead.sel(at).isel(look=-1).values), sample(faint.sel(at).isel(look=-1).values)
        were, are_back = float(ever.sel(at).sum()), float(back.sel(at).sum())
        rows.append(
            [
                label(name),
                f"{rate:g}",
                _mean(sample(dead.sel(at).isel(look=0).values), ".1%"),
                _mean(end, ".1%"),
                share_cell(end.interval()),
                _mean(sample(high.sel(at).isel(look=-1).values), ".1%"),
                _mean(weak, ".1%"),
                share_cell(weak.interval()),
                f"{were:,.0f}",
                f"{are_back:,.0f}" + (f" ({are_back / were:.0%})" if were else ""),
                str(end.non_finite),
            ]
        )
    return Table(
        title=titled(run, "Dead units before and after training"),
        columns=[
            *("activation", "rate", "before", "dead", "95 % interval", "of these above 0", "as good as dead"),
            *("95 % interval ", "ever dead", "came back", "not finite"),
        ],
        rows=rows,
        note=(
            f"before, dead: share of all units whose slope is 0 for all of {run.manifest['config']['probes']} training "
            f"images, before and after training; of these above 0: dead with a value above 0 (ReLU6 at 6); as good as "
            f"dead: |slope| <= {FAINT:g} for all; below 0 the slope of Leaky ReLU is 0.1, that of PReLU is learned, "
            f"that of ELU exp(y). ever dead: units of all seeds together that were dead at a look; "
            f"came back: of these, not dead at a later look. not finite: trainings left out, whose values were no "
            f"numbers at the end. Intervals are t intervals, cut off at 0 and 1. {_conditions(run)}"
        ),
    )


def _layers(run: Run) -> Table:
    records = run.records
    dead = units.dead(records).isel(look=-1)
    return Table(
        title=titled(run, "Dead units after training, by hidden layer"),
        columns=["activation", "rate", *(f"layer {layer}" for layer in records["layer"].values)],
        rows=[
            [
                label(name),
                f"{rate:g}",
                *(
                    _mean(sample(dead.sel(activation=name, learning_rate=rate, layer=layer).values), ".1%")
                    for layer in records["layer"].values
                ),
            ]
            for name, rate in _kinds(records)
        ],
        note=_conditions(run),
    )


def _test_loss(run: Run) -> Table:
    records = run.records
    loss, accuracy = (records[name].isel(test_step=-1).astype(np.float64) for name in ("test_loss", "test_accuracy"))
    kinds = _kinds(records)
    compared = [_beside_base(loss, name, rate) for name, rate in kinds]
    corrected = iter(holm([found.p_value for found in compared if found is not None]))
    rows = []
    for (name, rate), found in zip(kinds, compared, strict=True):
        at = sample(loss.sel(activation=name, learning_rate=rate).values)
        cells = ["", "", "", ""]
        if found is not None:
            cells = [f"{found.difference:+.4f}", range_cell(found.interval, ".4f"), f"{found.p_value:.2g}"]
            cells.append(f"{next(corrected):.2g}")
        rows.append(
            [
                label(name),
                f"{rate:g}",
                _mean(at, ".4f"),
                range_cell(at.interval(), ".4f"),
                _mean(sample(accuracy.sel(activation=name, learning_rate=rate).values), ".2%"),
                *cells,
                str(at.non_finite),
            ]
        )
    return Table(
        title=titled(run, "Test loss after training"),
        columns=[
            *("activation", "rate", "test loss", "95 % interval", "accuracy", "to ReLU", "95 % interval "),
            *("p", "p (Holm)", "not finite"),
        ],
        rows=rows,
        note=(
            f"Means over the seeds with t intervals; to ReLU: difference on equal seeds at the same learning rate, "
            f"paired t test, Holm's correction over the table; not finite: left out. {_conditions(run)}"
        ),
    )


def _beside_base(loss: xr.DataArray, name: str, rate: float) -> PairedComparison | None:
    if name == _BASE or _BASE not in loss["activation"].values:
        return None
    at_rate = loss.sel(learning_rate=rate)
    return paired(at_rate.sel(activation=name).values, at_rate.sel(activation=_BASE).values, loss["seed"].values)


def _statements(run: Run) -> Table:
    return Table(
        title=titled(run, "What [B1] says of dying units, and what we add"),
        columns=["source", "statement", "verdict", "measured"],
        rows=[[found.source, found.text, verdict_cell(found.holds), found.measured] for found in check(run.records)],
        note=_conditions(run),
        left=["statement", "verdict", "measured"],
    )


def _mean(found: Sample, form: str) -> str:
    return f"{found.mean:{form}}" if found.seeds else ""


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    return (
        f"{config['layers']} hidden layers of {config['width']}, weights N(0, {config['gain']:g}^2 / fan_in), biases "
        f"0, {config['steps']:,} steps on minibatches of {config['batch']}, seeds {seeds.min()} to {seeds.max()}; "
        f"images: {run.records.attrs['source']}."
    )
