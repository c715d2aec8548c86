"""What a run of the convolutional networks says about [A, section 4], from its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.cnn import statements
from experiments.cnn.pictures import best_first, figures, ranged
from experiments.cnn.run_facts import combinations, conditions, diverged, label
from experiments.cnn.table_1 import QUANTITIES, best_table, correlation_table, correlations, found, printed
from experiments.problems.cnn import gradient
from experiments.problems.digits import is_synthetic, titled
from experiments.study.cells import number_cell, range_cell, verdict_cell, yes_no_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import inside, plain
from experiments.study.tables import Table


def tables(run: Run) -> list[Table]:
    """Table 1, the rank correlations, the statements, and the ranges of a and b if there are any."""
    return list(_named_tables(run).values())


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    heading = titled(run, "# The agile convolutional network")
    return write_tables(run.directory, heading, _named_tables(run), figures(run), plain(summary(run)))


def summary(run: Run) -> dict[str, Any]:
    """The tables as plain data."""
    rows = {}
    for name in combinations(run):
        row: dict[str, Any] = {}
        for variable in QUANTITIES:
            ours, theirs = found(run, variable, name), printed(run, variable, name)
            row[variable] = plain(ours) | {
                "interval": ours.interval(),
                "prediction": ours.prediction(),
                "published": theirs,
                "published_within_prediction": inside(theirs, ours.prediction()),
            }
        rows[name] = row
    return {
        "experiment": run.manifest["experiment"],
        "source": run.records.attrs["source"],
        "synthetic": is_synthetic(run),
        "seeds": [int(seed) for seed in run.records["seed"].values],
        "combinations": rows,
        "order": best_first(run),
        "rank_correlation": correlations(run),
        "statements": [plain(statement) for statement in statements.check(run.records)],
    }


def _named_tables(run: Run) -> dict[str, Table]:
    named = {
        "table_1": best_table(run),
        "rank_correlation": correlation_table(run),
        "statements": _statements_table(run),
    }
    if (by_kind := gradient.table(run)) is not None:
        named["gradient"] = by_kind
    if (combination := ranged(run)) is not None:
        named["ranges"] = _ranges_table(run, combination)
    return named


def _statements_table(run: Run) -> Table:
    note = (
        f"{conditions(run)} Judged by the means over the seeds. Published: whether the numbers of [A, Table 1] bear it "
        f"out. Seeds: in how many of them alone it is true. Difference: mean over the seeds, in pairs, of the two that "
        f"come closest to deciding otherwise; 95 % t interval; p: paired t test. Undecided: it depends on an iteration "
        f"of the smallest loss that is the last of the run, so that the smallest may lie beyond."
    )
    if count := statements.left_out(run.records):
        note += f" Not asked, for want of a combination: {count}."
    return Table(
        title=titled(run, "Statements of [A, section 4], and what Table 1 shows"),
        columns=[
            *("source", "statement", "criterion", "published", "verdict", "seeds", "difference", "95 % interval"),
            *("p", "of"),
        ],
        rows=[
            [
                one.source,
                one.text,
                one.criterion,
                yes_no_cell(one.published),
                verdict_cell(one.holds),
                f"{one.seeds_true} of {one.seeds}",
                *_difference(one),
                one.compared,
            ]
            for one in statements.check(run.records)
        ],
        note=note + diverged(run),
        left=("statement", "criterion", "published", "verdict", "of"),
    )


def _difference(statement: statements.Statement) -> list[str]:
    if (found := statement.difference) is None:
        return ["", "", ""]
    low, high = found.interval
    return [number_cell(found.difference), f"{number_cell(low)} to {number_cell(high)}", f"{found.p_value:.2g}"]


def _ranges_table(run: Run, combination: str) -> Table:
    records, rows = run.records.sel(combination=combination), []
    for layer in map(str, records["layer"].values):
        for name in ("a", "b"):
            ends = [records[f"{name}_{which}"].sel(layer=layer) for which in ("smallest", "largest")]
            if not ends[1].notnull().any():
                continue
            start, end = ([float(x.isel(step=at).mean("seed")) for x in ends] for at in (0, -1))
            widest = float(ends[0].min()), float(ends[1].max())
            rows.append([layer, name, *(_range(pair) for pair in (start, end, widest))])
    return Table(
        title=titled(run, f"Ranges of a and b, {label(combination)} [A, Fig. 14]"),
        columns=["layer", "parameter", "at the start", "at the end", "ever, in any seed"],
        rows=rows,
        note="Smallest to largest of a layer; at the start and the end the means over the seeds of both.",
        left=("parameter",),
    )


def _range(pair: Any) -> str:
    low, high = pair
    return range_cell((low, high), ".3f") if np.isfinite([low, high]).all() else "not finite"
