"""What a search says about [P, Tables 4 and 5], from its records alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.study.files import write_report
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from experiments.xor10_protocol.grid import Cell
from experiments.xor10_protocol.ranking import Ranked, margins, place_of, ranking
from experiments.xor10_protocol.records import AXES
from paramact_jax.papers import ko2021

SHOWN = 10
NOT_TOLD_APART = math.log(20)
"""Two cells whose likelihoods differ by less than a factor of 20 are called not told apart by the published counts."""
_CAPTION = "Left: of the slopes of ReLU at 0 the likelier one. Framed: protocols of the experiment xor10.\n"
_BATCH = {"full": "all points", "point": "each point"}
_TITLES = {
    "scale": "weights",
    "bias_std": "biases, s.d.",
    "gradient_scale": "c",
    "batch": "update after",
    "kink": "ReLU'(0)",
}


def tables(run: Run) -> list[Table]:
    """The best cells, and what each value of each axis is worth."""
    ranked = ranking(run.records)
    return [_ranking_table(run, [*ranked[:SHOWN], *(r for r in ranked[SHOWN:] if r.protocol)]), _margins_table(run)]


def summary(run: Run) -> dict[str, Any]:
    """The whole ranking as plain data."""

    def entry(ranked: Ranked) -> dict[str, Any]:
        scale = ranked.cell.conditions.scale
        return {
            "rank": ranked.rank,
            **dict(zip(AXES, _values(ranked.cell), strict=True)),
            "weight_std": scale.hidden,
            "output_weight_std": scale.output,
            "protocol": ranked.protocol or None,
            "log_likelihood": ranked.log_likelihood,
            "table_4_log_likelihood": ranked.table_4,
            "posterior": ranked.posterior,
            "rows_matched": ranked.matched,
            "trials": ranked.trials,
            "converged": {name: converged for name, (converged, _) in ranked.counts.items()},
        }

    return {"experiment": run.manifest["experiment"], "ranking": [entry(ranked) for ranked in ranking(run.records)]}


def write(run: Run) -> list[Path]:
    """Write summary, tables and figure into the run's directory; returns the files."""
    best, margin = tables(run)
    content = {
        "summary.json": json.dumps(summary(run), indent=2) + "\n",
        "ranking.csv": _ranking_table(run, ranking(run.records)).csv(),
        "ranking.tex": best.latex(),
        "margins.csv": margin.csv(),
        "margins.tex": margin.latex(),
        "report.md": "\n".join(
            [
                "# XOR(10): which conditions?\n",
                best.markdown(),
                margin.markdown(),
                "![ranking](ranking.png)\n",
                _CAPTION,
            ]
        ),
    }
    return write_report(run.directory, content, {"ranking": _figure(run)})


def _ranking_table(run: Run, rows: Sequence[Ranked]) -> Table:
    config = run.manifest["config"]
    published = {row.activation: row for row in ko2021.TABLE_5}
    best = float(run.records["total_log_likelihood"].max())
    finals = int((run.records["trials"].min("activation") >= config["final_trials"]).sum())

    def cells(ranked: Ranked) -> list[str]:
        return [
            str(ranked.rank),
            ranked.protocol,
            *_labels(ranked.cell),
            *(_per_1000(*ranked.counts[name]) for name in published),
            f"{ranked.matched} of {len(published)}",
            f"{ranked.log_likelihood - best:.1f}",
            f"{ranked.posterior:.2g}" if ranked.posterior > 1e-4 else "0",
            str(ranked.trials),
        ]

    printed = [_per_1000(row.converged, row.trials) for row in published.values()]
    blank = [""] * len(_TITLES)
    first = ["", "published", *blank, *printed, "", "", "", str(next(iter(published.values())).trials)]
    return Table(
        title="Conditions by the likelihood of the published counts; trials that reach loss 0, per 1,000 [P, Table 5]",
        columns=[
            "rank",
            "protocol",
            *_TITLES.values(),
            *(_short(row.label) for row in published.values()),
            "matched",
            "log lik.",
            "posterior",
            "trials",
        ],
        rows=[first, *map(cells, rows)],
        note=(
            f"{run.records['total_log_likelihood'].size} cells, the same conditions for every row of a cell; "
            f"{config['trials']} trials of each activation, {config['final_trials']} in {finals} of the best; "
            f"{config['iterations']:,} iterations, learning rate {config['learning_rate']:g}; "
            f"converged: mean squared error below {config['threshold']:g}. c: dL/dy_out = c (y_out - t). log lik.: of "
            f"all seven published counts, beta-binomial, less the best cell's ({best:.2f}). posterior: of the cells, "
            f"equally likely before. matched: rows not rejected at 5 % with Holm's correction."
        ),
        left=("protocol", "weights", "update after"),
    )


def _margins_table(run: Run) -> Table:
    return Table(
        title="Posterior of each condition, whatever the others",
        columns=["condition", "value", "posterior", "best log lik."],
        rows=[
            [_TITLES[axis], _BATCH.get(value, value), f"{mass:.3f}", f"{below:.1f}"]
            for axis, value, mass, below in margins(run.records)
        ],
        note=" ".join(_verdicts(ranking(run.records))),
        left=("value",),
    )


def _verdicts(ranked: Sequence[Ranked]) -> list[str]:
    """In sentences: how many cells the counts allow, and where the protocols of xor10 stand."""
    best = ranked[0].log_likelihood
    near = sum(best - r.log_likelihood < NOT_TOLD_APART for r in ranked)
    sentences = [f"{near} of {len(ranked)} cells are not told apart from the best (likelihood within a factor of 20)."]
    for r in (r for r in ranked if r.protocol):
        below = best - r.log_likelihood
        verdict = "not told apart from the best" if below < NOT_TOLD_APART else "told apart from the best"
        sentences.append(
            f"{r.protocol}: rank {r.rank}, {below:.1f} below the best, {verdict}; {r.matched} rows matched."
        )
    return sentences


def _figure(run: Run) -> Any:
    import numpy as np

    from paramact_jax.figures import GridMap, Ranking, likelihood_search

    records = run.records
    total = records["total_log_likelihood"].max("kink").transpose("scale", "bias_std", "batch", "gradient_scale")
    scales, biases, batches, gradients = (records[name].values for name in total.dims)
    ranked = ranking(records)
    marks = {}
    for r in (r for r in ranked if r.protocol):
        at = place_of(records, r.cell)
        row, column = at["scale"] * len(biases) + at["bias_std"], at["batch"] * len(gradients) + at["gradient_scale"]
        marks[row, column] = r.protocol
    grid = GridMap(
        log_likelihood=total.values.reshape(len(scales) * len(biases), -1),
        rows=[f"{scale}, {bias:g}" for scale in scales for bias in biases],
        columns=[f"{_BATCH[batch]}\n{c:g}" for batch in batches for c in gradients],
        row_title="initial weights, s.d. of the biases",
        column_title="update after, c in dL/dy_out = c (y_out - t)",
        marks=marks,
    )
    top, published = ranked[:SHOWN], ko2021.TABLE_5
    names = [row.activation for row in published]
    counts = np.array([[r.counts[name] for name in names] for r in top])
    best = Ranking(
        cells=[f"{r.rank}. {', '.join(_labels(r.cell))}" + (f" ({r.protocol})" if r.protocol else "") for r in top],
        counts=[_short(row.label) for row in published],
        converged=counts[..., 0],
        trials=counts[..., 1],
        published=np.array([row.converged for row in published]),
        published_trials=np.array([row.trials for row in published]),
    )
    return likelihood_search(grid, best)


def _values(cell: Cell) -> tuple[str, float, float, str, int]:
    conditions = cell.conditions
    return conditions.scale.name, conditions.bias_std, conditions.gradient_scale, conditions.batch, cell.kink


def _labels(cell: Cell) -> list[str]:
    scale, bias_std, gradient_scale, batch, kink = _values(cell)
    return [scale, f"{bias_std:g}", f"{gradient_scale:g}", _BATCH[batch], str(kink)]


def _short(label: str) -> str:
    return label.replace("Parametric", "P.")


def _per_1000(converged: int, trials: int) -> str:
    return f"{1000 * converged / trials:.0f}"
