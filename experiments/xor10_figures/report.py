"""Figs. 7 to 10 and the statements about them, from the records of a run alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from experiments.xor10_figures.statements import Statement, check
from paramact_jax.figures import FactorHistory, Moves, factor_panels, moves_per_layer, moves_together, trajectories
from paramact_jax.papers import ko2021

LABELS = {"sigmoid": "Sigmoid", "ppns": "PPNS"}


def tables(run: Run) -> list[Table]:
    """The statements, one row each."""
    return [_table(run, check(run.records))]


def write(run: Run) -> list[Path]:
    """Write figures and summary into the run's directory; returns the files."""
    statements = check(run.records)
    summary = [dataclasses.asdict(statement) for statement in statements]
    named = {"statements": _table(run, statements)}
    return write_tables(run.directory, "# XOR(10), one trial", named, figures(run), summary)


def figures(run: Run) -> dict[str, Figure]:
    """The four figures by name."""
    records, until = run.records, run.manifest["config"]["plot_until"]
    iterations = records["iteration"].values
    curves = {
        quantity: {label: records[f"history_{name}"].sel(activation=key).values for key, label in LABELS.items()}
        for quantity, name in (("loss", "loss"), (r"$\partial L/\partial w_{11}^{(1)}$", "gradient_w11"))
    }
    factors = [_factors(records.sel(activation=key), label) for key, label in LABELS.items()]
    trial = records.sel(seed=records.attrs["history_seed"])
    return {
        "figure_7": trajectories(iterations, curves, until=until),
        "figure_8": factor_panels(iterations, factors, until=until),
        "figure_9": moves_per_layer(
            {label: _weight_moves(trial.sel(activation=key)) for key, label in LABELS.items()},
            names=("$w_{1j}$", "$w_{2j}$"),
        ),
        "figure_10": moves_together(
            _activation_moves(trial.sel(activation="ppns")),
            names=("a", "b"),
            published=(ko2021.FIG_10_FARTHEST.a, ko2021.FIG_10_FARTHEST.b),
        ),
    }


def _table(run: Run, statements: list[Statement]) -> Table:
    attributes = run.records.attrs
    converged = int(run.records["converged"].sel(activation="ppns").sum())
    config = run.manifest["config"]
    last = config["first_seed"] + config["trials"] - 1
    retraced = "bit for bit" if attributes["history_retraced"] else "NOT to the same bits: another trajectory"
    return Table(
        title=f"Statements of [P, section 4.1] on Figs. 7 to 10, checked on trial {attributes['history_seed']}",
        columns=["figure", "statement", "verdict", "measured", "of the converged trials"],
        rows=[[s.figure, s.text, "true" if s.holds else "false", s.measured, s.elsewhere] for s in statements],
        note=(
            f"Protocol {config['protocol']}. Trial {attributes['history_seed']}: {attributes['history_choice']}; of "
            f"seeds {config['first_seed']} to {last}, {converged} converged under PPNS. It was retrained with Sigmoid "
            f"and PPNS from the same weights, and ended as in the sweep, {retraced}."
        ),
        left=("statement", "verdict", "measured", "of the converged trials"),
    )


def _factors(network: xr.Dataset, label: str) -> FactorHistory:
    hidden = network.sizes["layer"]
    slopes = network["history_slope"].transpose("layer", "iteration", "sample", "node").values
    weights = network["history_weight"].transpose("layer", "iteration", "node", "from_node").values
    out = network["history_output_weight"].values[:, None, :]
    return FactorHistory(label, list(slopes), [*weights[1:hidden], out])


def _weight_moves(network: xr.Dataset) -> list[Moves]:
    def points(when: str, layer: int) -> np.ndarray:
        return network[f"{when}_weight"].sel(layer=layer).transpose("node", "from_node").values

    hidden = [
        Moves(f"layer {layer}", points("initial", layer), points("learned", layer)) for layer in network["layer"].values
    ]
    out = Moves("out", *(network[f"{when}_output_weight"].values[None] for when in ("initial", "learned")))
    return [*hidden, out]


def _activation_moves(network: xr.Dataset) -> list[Moves]:
    def points(when: str, layer: Any) -> np.ndarray:
        return np.stack([network[f"{when}_{name}"].sel(layer=layer).values for name in ("a", "b")], axis=1)

    return [
        Moves(f"layer {layer}", points("initial", layer), points("learned", layer)) for layer in network["layer"].values
    ]
