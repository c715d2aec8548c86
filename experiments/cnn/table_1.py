"""Our Table 1 of [A] beside the published one."""

from __future__ import annotations

import numpy as np

from experiments.cnn.ranks import RankCorrelation, rank_correlation
from experiments.cnn.run_facts import PUBLISHED, about_seeds, combinations, conditions, diverged, why_not_compared
from experiments.cnn.run_facts import label as label_of
from experiments.problems.digits import titled
from experiments.study.cells import number_cell, range_cell, yes_no_cell
from experiments.study.run_directory import Run
from experiments.study.samples import Sample, inside, sample
from experiments.study.tables import Table

QUANTITIES = {"best_loss": "loss", "best_iteration": "iterations"}
"""Variable of the records -> attribute of a published row."""


def found(run: Run, variable: str, combination: str) -> Sample:
    """One value per seed, summed up."""
    return sample(run.records[variable].sel(combination=combination).values)


def printed(run: Run, variable: str, combination: str) -> float | None:
    """The published value, None if there is none or it cannot be compared."""
    if why_not_compared(run) or combination not in PUBLISHED:
        return None
    return float(getattr(PUBLISHED[combination], QUANTITIES[variable]))


def best_table(run: Run) -> Table:
    """Smallest test loss, and when."""
    rows = []
    for name in combinations(run):
        loss, at = (found(run, variable, name) for variable in QUANTITIES)
        their_loss, their_at = (printed(run, variable, name) for variable in QUANTITIES)
        accuracy = sample(run.records["test_accuracy"].sel(combination=name).max("test_step").values)
        rows.append(
            [
                *_names(name),
                f"{loss.mean:.4f}",
                range_cell(loss.interval(), ".4f"),
                "" if their_loss is None else f"{their_loss:.5f}",
                yes_no_cell(inside(their_loss, loss.prediction())),
                number_cell(at.mean),
                range_cell(at.interval(), ",.0f"),
                "" if their_at is None else f"{their_at:,.0f}",
                f"{accuracy.mean:.2%}",
                f"{int(run.records['parameters_of_activations'].sel(combination=name)):,}",
            ]
        )
    steps = run.manifest["config"]["iterations"]
    last = [label_of(name) for name in combinations(run) if _still_falling(run, name)]
    note = (
        f"{conditions(run)} Loss: smallest of each training's scores on all test images; iterations: where it was. "
        f"Mean over the seeds, 95 % t interval of the mean. As the smallest on a curve of test losses it "
        f"flatters every row. Published is one run on one draw of images; one more of ours, on this draw, would "
        f"fall into the 95 % prediction interval. [A] counts iterations at a learning rate that it does not state."
    )
    if last:
        note += f" Smallest after the last of {steps:,} iterations in some seed, and perhaps still falling: "
        note += f"{', '.join(last)}."
    return Table(
        title=titled(run, "Smallest test loss and its iteration [A, Table 1]"),
        columns=[
            *("n", "convolutional", "dense", "loss", "95 % interval", "published", "in prediction interval"),
            *("iterations", "95 % interval of iterations", "published iterations", "best accuracy", "a and b"),
        ],
        rows=rows,
        note=note + _about_published(run) + about_seeds(run) + diverged(run),
        left=("convolutional", "dense"),
    )


def correlations(run: Run) -> dict[str, RankCorrelation | None]:
    """How our order of the combinations agrees with the published, by variable; None where it cannot be asked."""
    names = [name for name in combinations(run) if name in PUBLISHED and not why_not_compared(run)]
    return {
        variable: rank_correlation(
            [found(run, variable, name).mean for name in names],
            [getattr(PUBLISHED[name], attribute) for name in names],
        )
        for variable, attribute in QUANTITIES.items()
    }


def correlation_table(run: Run) -> Table:
    """Spearman's correlation of our means with the published values, and of every seed alone."""
    rows = []
    names = [name for name in combinations(run) if name in PUBLISHED]
    for variable, correlation in correlations(run).items():
        what = "smallest test loss" if variable == "best_loss" else "its iteration"
        if correlation is None:
            rows.append([what, "", "", "", ""])
            continue
        theirs = [getattr(PUBLISHED[name], QUANTITIES[variable]) for name in names]
        per_seed = [
            rank_correlation(run.records[variable].sel(combination=names, seed=seed).values, theirs, permutations=1)
            for seed in run.records["seed"].values
        ]
        rhos = sample([np.nan if one is None else one.rho for one in per_seed])
        rows.append(
            [
                what,
                f"{correlation.rho:+.2f}",
                f"{correlation.p_value:.2g}",
                f"{correlation.pairs}",
                range_cell((rhos.smallest, rhos.largest), "+.2f"),
            ]
        )
    return Table(
        title=titled(run, "Rank correlation with [A, Table 1]"),
        columns=["of", "Spearman's rho", "p", "combinations", "single seeds"],
        rows=rows,
        note="Of the means over the seeds with the published values; p: two-sided, random permutations of the rows. "
        "Single seeds: smallest - largest rho of one seed alone." + _about_published(run),
    )


def _names(combination: str) -> list[str]:
    number = f"{PUBLISHED[combination].number}" if combination in PUBLISHED else ""
    return [number, *label_of(combination).split(" / ")]


def _still_falling(run: Run, combination: str) -> bool:
    at = run.records["best_iteration"].sel(combination=combination)
    return bool((at == run.records["test_step"][-1]).any())


def _about_published(run: Run) -> str:
    why = why_not_compared(run)
    return f" What is published is not compared: {why}." if why else ""
