"""Tables and figures about the sigmoid's faults, from the records of a run alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.bench.activations import REFERENCE
from experiments.sigmoid_faults.networks import AFTER, BEFORE
from experiments.sigmoid_faults.statements import check, usual_gain
from experiments.study.cells import range_cell, verdict_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval, plain, sample
from experiments.study.tables import Table
from paramact_jax.figures import BandCurve, PathPanel, curves_in_panels, paths_in_the_plane
from paramact_jax.gradients.units import SATURATED_BELOW

_DRAWN = ("sigmoid", "pn_sigmoid")
_INTERVAL = "95 % interval"


def tables(run: Run) -> list[Table]:
    """Saturation, signs, ways, costs, and the statements."""
    return list(_named_tables(run).values())


def summary(run: Run) -> dict[str, Any]:
    """The statements as plain data."""
    config = run.manifest["config"]
    return {"config": config, "statements": [dataclasses.asdict(found) for found in check(run.records)]}


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    heading = "# The three faults of the sigmoid"
    return write_tables(run.directory, heading, _named_tables(run), figures(run), plain(summary(run)))


def figures(run: Run) -> dict[str, Figure]:
    """Saturation and one-sided gradients by layer, and the ways of two weights."""
    seeds = run.records.sizes["seed"]
    shaded = f"mean of {seeds} random networks, {_INTERVAL} shaded"
    return {
        "saturation": _by_layer(
            run.records, "saturated", rf"slopes $|\partial z/\partial y| < {SATURATED_BELOW:g}$", shaded
        ),
        "one_sign": _by_layer(run.records, "one_sign", "neurons whose weight gradients have one sign", shaded),
        "zigzag": _ways(run.records),
    }


def _named_tables(run: Run) -> dict[str, Table]:
    return {
        "saturation": _saturation(run),
        "signs": _signs(run),
        "xor10": _xor10(run),
        "zigzag": _zigzag(run),
        "cost": _cost(run),
        "step": _step(run),
        "statements": _statements(run),
    }


def _by_layer(records: xr.Dataset, variable: str, ylabel: str, title: str) -> Figure:
    panels = {
        f"gain {gain:.4g}": [
            BandCurve(
                str(name),
                *mean_and_interval(
                    records[variable].sel(activation=name, gain=gain).transpose("seed", "layer").values.astype(float)
                ),
            )
            for name in records["activation"].values
        ]
        for gain in records["gain"].values
    }
    return curves_in_panels(
        records["layer"].values, panels, xlabel="hidden layer", ylabel=ylabel, title=title, shares=True
    )


def _ways(records: xr.Dataset) -> Figure:
    first = records.isel(start=0)
    panels = []
    for descent in records["descent"].values:
        paths = {}
        for name in _DRAWN:
            way = first.sel(inputs=name, descent=descent)
            steps = float(way["way_steps"])
            until = len(way["point"]) if np.isnan(steps) else int(steps) + 1
            paths[f"inputs of {name}"] = way["way_path"].transpose("point", "weight").values[:until]
        panels.append(PathPanel(str(descent), paths))
    return paths_in_the_plane(panels, records["way_goal"].values, title=f"seed {int(records['start'][0])}")


def _of_seeds(values: xr.DataArray, form: str) -> list[str]:
    """Mean and interval of one number per seed."""
    found = sample(values.values)
    return [f"{found.mean:{form}}", range_cell(found.interval(), form)]


def _saturation(run: Run) -> Table:
    records = run.records
    rows = []
    for name in records["activation"].values:
        for gain in records["gain"].values:
            at = records.sel(activation=name, gain=gain)
            saturated = at["saturated"]
            lost = [at[f"log_{part}"].mean("layer") / np.log(10) for part in ("linear", "activation")]
            rows.append(
                [
                    str(name),
                    f"{gain:.4g}",
                    *_of_seeds(saturated.mean("layer"), ".1%"),
                    *(f"{float(saturated.isel(layer=i).mean()):.1%}" for i in (0, -1)),
                    f"{float(at['flat'].mean()):.1%}",
                    *_of_seeds(-(lost[0] + lost[1]), ".2f"),
                    f"{sample(-lost[1].values).mean:.2f}",
                ]
            )
    return Table(
        title=f"Saturated units of random networks with {records.sizes['layer']} hidden layers",
        columns=[
            *("activation", "gain", "saturated", _INTERVAL, "first layer", "last layer", "below 1/100"),
            *("decades a layer", f"{_INTERVAL} ", "by the activation"),
        ],
        rows=rows,
        note=(
            f"saturated: share of |dz/dy| < {SATURATED_BELOW:g}, over all layers, in the first and in the last hidden "
            f"layer; below 1/100: of the function's own steepest slope. decades a layer: what the gradient's norm "
            f"loses, and of this what the activation takes (negative: gives). {_conditions(run)}"
        ),
    )


def _signs(run: Run) -> Table:
    records = run.records.isel(layer=slice(1, None))
    rows = [
        [
            str(name),
            f"{gain:.4g}",
            *_of_seeds(records["one_sign_of_sample"].sel(activation=name, gain=gain).mean("layer"), ".1%"),
            *_of_seeds(records["one_sign"].sel(activation=name, gain=gain).mean("layer"), ".1%"),
        ]
        for name in records["activation"].values
        for gain in records["gain"].values
    ]
    samples = run.manifest["config"]["samples"]
    return Table(
        title="Neurons whose weight gradients have one sign, behind the first layer",
        columns=["activation", "gain", "of a sample", _INTERVAL, f"of {samples} added", f"{_INTERVAL} "],
        rows=rows,
        note=(
            "of a sample: share of the neurons, averaged over the samples; a neuron without a gradient is not one of "
            f"them. The first layer's inputs are normal, hence centred. {_conditions(run)}"
        ),
    )


def _xor10(run: Run) -> Table:
    records, config = run.records, run.manifest["config"]
    looks = [
        (what, look) for what in ("xor_saturated", "xor_one_sign_of_sample", "xor_one_sign") for look in (BEFORE, AFTER)
    ]
    rows = [
        [
            str(name),
            *(
                f"{float(records[what].isel(xor_layer=layers).sel(activation=name, look=look).mean()):.1%}"
                for what, look in looks
                for layers in [slice(None) if what == "xor_saturated" else slice(1, None)]
            ),
        ]
        for name in records["activation"].values
    ]
    headings = ("saturated", "one sign of a point", "one sign")
    return Table(
        title=f"XOR(10) before and after {config['iterations']:,} iterations",
        columns=["activation", *(f"{heading}, {look}" for heading in headings for look in (BEFORE, AFTER))],
        rows=rows,
        note=(
            f"Means over the {records.sizes['trial']} trials from seed {config['first_seed']} on and over the layers, "
            f"signs behind the first; one sign: of the weight gradients added over the 4 points, of 2 weights each, "
            f"of which half of all neurons would have it if signs were independent. Protocol recovered, see `xor10`."
        ),
    )


def _zigzag(run: Run) -> Table:
    records = run.records
    rows = []
    for name in records["inputs"].values:
        for descent in records["descent"].values:
            at = records.sel(inputs=name, descent=descent)
            rows.append(
                [
                    str(name),
                    str(descent),
                    *_of_seeds(at["way_length"], ".2f"),
                    *(f"{sample(at[f'way_{what}'].values).mean:.1f}" for what in ("steps", "reversals")),
                    f"{sample(at['way_together'].values).mean:.1%}",
                    str(int(np.isnan(at["way_length"]).sum())),
                ]
            )
    return Table(
        title="The way of two weights to a goal at distance 1 in the quadrant w_1 > 0 > w_2",
        columns=["inputs", "descent", "length", _INTERVAL, "updates", "reversals", "together", "not arrived"],
        rows=rows,
        note=(
            f"Inputs: the activation's values at normal y; mean of {records.sizes['start']} goals. Reversals: updates "
            "at more than a right angle to the one before; together: updates that move both weights up or both down. "
            "Every descent has the largest learning rate with which no update overshoots."
        ),
        left=["descent"],
    )


def _cost(run: Run) -> Table:
    nanoseconds = run.records["nanoseconds"]
    ratio = nanoseconds / nanoseconds.sel(function=REFERENCE)
    rows = []
    for name in nanoseconds["function"].values:
        for size in nanoseconds["size"].values:
            cells = []
            for what in nanoseconds["pass"].values:
                at = {"function": name, "size": size, "pass": what}
                cells += [_spread(nanoseconds.sel(at), ".3f"), _spread(ratio.sel(at), ".2f")]
            rows.append([str(name), str(size), *cells])
    passes = [f"{what}{unit}" for what in nanoseconds["pass"].values for unit in (", ns", ", / relu")]
    return Table(
        title="Nanoseconds per element, and times ReLU's",
        columns=["function", "batch x nodes", *passes],
        rows=rows,
        note=(
            f"Median of {nanoseconds.sizes['race']} races, in brackets the least and the most; see `bench activations`."
            f" The parametric functions' backward pass sums the gradients of a and b over the batch. {_machine(run)}"
        ),
        left=["batch x nodes"],
    )


def _step(run: Run) -> Table:
    seconds = run.records["step_seconds"]
    ratio = seconds / seconds.sel(network=REFERENCE)
    return Table(
        title="A training step of the network of mnist, 8 hidden layers of 128, minibatches of 64, one seed",
        columns=["activation", "milliseconds", "/ relu"],
        rows=[
            [str(name), _spread(1e3 * seconds.sel(network=name), ".3f"), _spread(ratio.sel(network=name), ".2f")]
            for name in seconds["network"].values
        ],
        note=f"Median of {seconds.sizes['round']} rounds, in brackets the least and the most. {_machine(run)}",
    )


def _statements(run: Run) -> Table:
    return Table(
        title="What [B2] says of the sigmoid's faults, [B1] of ReLU, and what we add",
        columns=["fault", "source", "statement", "verdict", "measured"],
        rows=[[s.fault, s.source, s.text, verdict_cell(s.holds), s.measured] for s in check(run.records)],
        note=(
            f"The gain that is nearest to 1, that of the recovered protocols, is {usual_gain(run.records):g}. "
            f"{_conditions(run)}"
        ),
        left=["statement", "verdict", "measured"],
    )


def _spread(values: xr.DataArray, form: str) -> str:
    return f"{float(values.median()):{form}} ({float(values.min()):{form}} - {float(values.max()):{form}})"


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    return (
        f"Random networks: {config['width']} nodes a layer, weights N(0, gain^2 / fan_in), no biases, "
        f"{config['samples']} normal inputs, cross-entropy of random labels, seeds {seeds.min()} to {seeds.max()}."
    )


def _machine(run: Run) -> str:
    there = run.manifest["environment"]
    return f"{there['processor']}, {there['devices']['count']} devices, jax {there['packages']['jax']}."
