"""What an XOR(10) run says about [P, Tables 4 and 5], from its records alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from experiments.problems.xor10 import gradients
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from paramact_jax.figures import ConvergenceCurve, convergence
from paramact_jax.papers import ConvergenceRow, ko2021
from paramact_jax.statistics import holm, two_proportion_p_value, wilson_interval

LEVEL = 0.05
_TABLE_4_SEEDS = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """One activation's count beside the published one.

    Attributes:
      activation: name in the catalogue.
      label: name as the paper prints it.
      converged: number of trials that converged, of `trials`.
      interval: Wilson 95 % interval of the proportion.
      published: the paper's row, None if it has none for this activation.
      p_value: of the two-proportion test of our count against the published.
      p_value_holm: the same with Holm's correction over the rows of the table.
      matched: whether the corrected test does not reject at the 5 % level.
    """

    activation: str
    label: str
    converged: int
    trials: int
    interval: tuple[float, float]
    published: ConvergenceRow | None
    p_value: float | None
    p_value_holm: float | None
    matched: bool | None


def compare(records: xr.Dataset, published: Sequence[ConvergenceRow]) -> list[Row]:
    """Counts of all activations in the records, compared with those published."""
    printed = {row.activation: row for row in published}
    names = [str(name) for name in records["activation"].values]
    counts = {name: int(records["converged"].sel(activation=name).sum()) for name in names}
    trials = records.sizes["seed"]
    p_values = {
        name: two_proportion_p_value(counts[name], trials, printed[name].converged, printed[name].trials)
        for name in names
        if name in printed
    }
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [
        Row(
            activation=name,
            label=printed[name].label if name in printed else name,
            converged=counts[name],
            trials=trials,
            interval=wilson_interval(counts[name], trials),
            published=printed.get(name),
            p_value=p_values.get(name),
            p_value_holm=corrected.get(name),
            matched=corrected[name] > LEVEL if name in corrected else None,
        )
        for name in names
    ]


def table_5(records: xr.Dataset) -> list[Row]:
    """Our Table 5: all trials of all activations."""
    return compare(records, ko2021.TABLE_5)


def table_4(records: xr.Dataset) -> list[Row]:
    """Our Table 4: seeds 0 to 99 of Sigmoid and PPNS; empty if the run lacks some of them."""
    names = [row.activation for row in ko2021.TABLE_4]
    seeds = range(_TABLE_4_SEEDS)
    if not (set(names) <= set(records["activation"].values) and set(seeds) <= set(records["seed"].values)):
        return []
    return compare(records.sel(activation=names, seed=list(seeds)), ko2021.TABLE_4)


def tables(run: Run) -> list[Table]:
    """Tables 5 and 4 of one run, and why its gradients vanish."""
    return [*convergence_tables(run), *gradient_tables(run)]


def convergence_tables(run: Run) -> list[Table]:
    """Tables 5 and 4 of one run."""
    config, names = run.manifest["config"], run.records["activation"].values
    last = config["first_seed"] + config["trials"] - 1
    conditions = (
        f"{_protocol(run)}, seeds {config['first_seed']} to {last}: weights N(0, {config['weight_std']:.4g}^2), biases "
        f"N(0, {config['bias_std']:.4g}^2), gradient of {config['loss']}, learning rate {config['learning_rate']:g} "
        f"({config['activation_learning_rate']:g} for a, b), {config['iterations']:,} iterations"
    )
    note = (
        f"{conditions}. Converged: mean squared error below {config['threshold']:g}. "
        f"p: two-proportion test, then with Holm's correction over the rows; matched: p (Holm) > {LEVEL:g}."
    )
    if blown_up := {str(n): int(k) for n, k in zip(names, run.records["non_finite"].sum("seed"), strict=True) if k}:
        note += f" Ended not finite, counted as not converged: {', '.join(f'{k} of {n}' for n, k in blown_up.items())}."
    result = [_table("Trials that reach loss 0, per 1,000 [P, Table 5]", table_5(run.records), 1000, note)]
    if rows := table_4(run.records):
        result.append(_table("Trials that reach loss 0, of seeds 0 to 99 [P, Table 4]", rows, 100, ""))
    return result


def gradient_tables(run: Run) -> list[Table]:
    """Why the gradient vanishes; none if the run has not looked at it."""
    table = gradients.table(run.records, _label)
    return [table] if table else []


def side_by_side(runs: Sequence[Run]) -> Table:
    """Our count per 1,000 and the verdict of several runs, one column each, beside the published Table 5."""
    by_run = [{row.activation: row for row in table_5(run.records)} for run in runs]
    labels = {name: row.label for rows in by_run for name, row in rows.items()}
    published = {row.activation: row for row in ko2021.TABLE_5}

    def cell(rows: dict[str, Row], name: str) -> str:
        if name not in rows:
            return ""
        row = rows[name]
        return f"{_per(row.converged, row.trials, 1000)} {_verdict(row)}".strip()

    names = [f"{_protocol(run)} ({run.directory})" for run in runs]
    return Table(
        title="Trials that reach loss 0, per 1,000, under several protocols [P, Table 5]",
        columns=["activation", "published", *names],
        rows=[
            [label, str(published[name].converged) if name in published else "", *(cell(rows, name) for rows in by_run)]
            for name, label in labels.items()
        ],
    )


def summary(run: Run) -> dict[str, Any]:
    """The tables as plain data. Intervals and p values are of proportions."""

    def entry(row: Row) -> dict[str, Any]:
        return {
            "converged": row.converged,
            "trials": row.trials,
            "interval": list(row.interval),
            "published": row.published.converged if row.published else None,
            "published_trials": row.published.trials if row.published else None,
            "p_value": row.p_value,
            "p_value_holm": row.p_value_holm,
            "matched": row.matched,
        }

    per_activation = {row.activation: entry(row) for row in table_5(run.records)}
    for name, entries in per_activation.items():
        entries["non_finite"] = int(run.records["non_finite"].sel(activation=name).sum())
        entries["seconds"] = run.manifest["seconds"].get("training", {}).get(name)
    return {
        "experiment": run.manifest["experiment"],
        "protocol": run.manifest["config"]["protocol"],
        "activations": per_activation,
        "table_4": {row.activation: entry(row) for row in table_4(run.records)},
    }


def write(run: Run) -> list[Path]:
    """Write summary, tables and figure into the run's directory; returns the files."""
    named = dict(zip(("table_5", "table_4"), convergence_tables(run), strict=False))
    named |= dict(zip(("gradients",), gradient_tables(run), strict=False))
    pictures = {"convergence": _figure(run), **gradients.figures(run.records, _label)}
    return write_tables(run.directory, "# XOR(10)", named, pictures, summary(run))


def _figure(run: Run) -> Any:
    # A trial that was below the threshold and is not at the end has not converged, in the table and here.
    converged_at = run.records["reached_at"].where(run.records["converged"], -1)
    return convergence(
        [
            ConvergenceCurve(
                label=row.label,
                converged_at=converged_at.sel(activation=row.activation).values,
                published=row.published.converged / row.published.trials if row.published else None,
            )
            for row in table_5(run.records)
        ],
        iterations=run.manifest["config"]["iterations"],
        threshold=run.manifest["config"]["threshold"],
    )


def _table(title: str, rows: Sequence[Row], per: int, note: str) -> Table:
    return Table(
        title=title,
        columns=["activation", "ours", "95 % interval", "published", "p", "p (Holm)", "verdict"],
        rows=[
            [
                row.label,
                _per(row.converged, row.trials, per),
                f"{per * row.interval[0]:.1f} - {per * row.interval[1]:.1f}",
                _per(row.published.converged, row.published.trials, per) if row.published else "",
                *("" if p is None else f"{p:.3g}" for p in (row.p_value, row.p_value_holm)),
                _verdict(row),
            ]
            for row in rows
        ],
        note=note,
    )


def _label(activation: str) -> str:
    """As the paper prints it."""
    return next((row.label for row in ko2021.TABLE_5 if row.activation == activation), activation)


def _protocol(run: Run) -> str:
    """The protocol's name with whatever was changed in it, and the precision if it is not the usual one."""
    config = run.manifest["config"]
    standard = dataclasses.asdict(PROTOCOLS[config["protocol"]])
    choice = {"activations", "trials", "first_seed"}  # which trials, not how
    changes = [f"{k} {config[k]}" for k in standard if k not in choice and config[k] != standard[k]]
    changes += ["64-bit numbers"] if run.manifest["environment"].get("x64") else []
    return f"protocol {config['protocol']}" + (f" with {', '.join(changes)}" if changes else "")


def _per(count: int, trials: int, per: int) -> str:
    return f"{per * count / trials:.4g}"


def _verdict(row: Row) -> str:
    return {None: "", True: "matched", False: "not matched"}[row.matched]
