"""What an ablation says, from its records alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.ablation.design import CONDITIONS, EFFECTS, Condition, Effect, trained_as
from experiments.mnist.statements import CLOSEUP, early_loss
from experiments.study.cells import range_cell
from experiments.study.files import write_tables
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval, paired, plain, sample
from experiments.study.tables import Table
from paramact_jax.figures import BandCurve, ConvergenceCurve, convergence, curves_with_bands
from paramact_jax.papers import ko2021
from paramact_jax.statistics import PairedComparison, holm, wilson_interval

LEVEL = 0.05
EARLY = CLOSEUP

PUBLISHED_ITERATIONS = 10_000
"""Of [P, Table 5]."""

LABELS = {"ppns": "PPNS", "parametric_tanh": "Parametric Tanh", "parametric_relu": "Parametric ReLU"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One number or one yes/no a trial.

    Attributes:
      name: for titles.
      values: dims base, condition, seed.
      larger_is_better: which direction is an improvement.
    """

    name: str
    values: xr.DataArray
    larger_is_better: bool

    @property
    def counted(self) -> bool:
        """Whether it is yes or no."""
        return self.values.dtype == bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """One effect on one function.

    Attributes:
      base: parametric function.
      effect: the question.
      comparison: of the two conditions, None if fewer than 2 seeds have finite values under both.
      p_value_holm: with Holm's correction over all answers about the outcome.
      verdict: "helps", "harms" or "not told apart".
    """

    base: str
    effect: Effect
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


def outcomes(records: xr.Dataset) -> list[Outcome]:
    """What is compared: convergence on XOR(10); the test loss at the end, and early, on MNIST."""
    if records.attrs["problem"] == "xor10":
        return [Outcome("trials that converge", records["converged"].astype(bool), larger_is_better=True)]
    losses = records["test_loss"].astype(np.float64)
    found = [Outcome("test loss after the last step", losses.isel(test_step=-1), larger_is_better=False)]
    early = early_loss(losses) if int(records["test_step"][-1]) > EARLY else None
    if early is not None:
        found.append(Outcome(f"mean test loss over steps 0 to {EARLY}", early, larger_is_better=False))
    return found


def answers(outcome: Outcome) -> list[Answer]:
    """Every effect on every function."""
    asked = [(str(base), effect) for base in outcome.values["base"].values for effect in EFFECTS]
    compared = [_compare(outcome, base, effect) for base, effect in asked]
    corrected = iter(holm([found.p_value for found in compared if found is not None]))
    result = []
    for (base, effect), found in zip(asked, compared, strict=True):
        p = None if found is None else next(corrected)
        verdict = "not told apart"
        if found is not None and p is not None and p <= LEVEL:
            verdict = "helps" if (found.difference > 0) == outcome.larger_is_better else "harms"
        result.append(Answer(base, effect, found, p, verdict))
    return result


def tables(run: Run) -> list[Table]:
    """For each outcome the conditions, and the effects."""
    return list(_named_tables(run).values())


def summary(run: Run) -> dict[str, Any]:
    """The effects as plain data, and the means over the seeds (shares of trials, where these converge or do not)."""

    def levels(outcome: Outcome) -> dict[str, dict[str, float]]:
        means = outcome.values.mean("seed")
        return {
            str(base): {str(name): float(means.sel(base=base, condition=name)) for name in means["condition"].values}
            for base in means["base"].values
        }

    return {
        "experiment": run.manifest["experiment"],
        "config": run.manifest["config"],
        "synthetic": bool(run.records.attrs.get("synthetic", 0)),
        "means": {outcome.name: levels(outcome) for outcome in outcomes(run.records)},
        "outcomes": {outcome.name: [plain(answer) for answer in answers(outcome)] for outcome in outcomes(run.records)},
    }


def write(run: Run) -> list[Path]:
    """Write summary, tables and figures into the run's directory; returns the files."""
    heading = f"# Learning of a and b, or initial gain? {_problem(run)}"
    return write_tables(run.directory, heading, _named_tables(run), figures(run), summary(run))


def figures(run: Run) -> dict[str, Figure]:
    """One a function: its four conditions."""
    return {base: _figure(run, base) for base in map(str, run.records["base"].values)}


def _compare(outcome: Outcome, base: str, effect: Effect) -> PairedComparison | None:
    first, second = (outcome.values.sel(base=base, condition=name).values for name in (effect.first, effect.second))
    return paired(first, second, outcome.values["seed"].values)


def _named_tables(run: Run) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for i, outcome in enumerate(outcomes(run.records), start=1):
        found |= {f"conditions_{i}": _conditions(run, outcome), f"effects_{i}": _effects(run, outcome)}
    return found


def _conditions(run: Run, outcome: Outcome) -> Table:
    rows = []
    for base in map(str, outcome.values["base"].values):
        for condition in CONDITIONS:
            values = outcome.values.sel(base=base, condition=condition.name).values
            published = _published(run, outcome, base, condition)
            rows.append([LABELS[base], condition.name, *_level(outcome, values), published])
    about = "; ".join(f"{condition.name}: {condition.description}" for condition in CONDITIONS)
    interval = "Wilson's, of the share, per 1,000" if outcome.counted else "t interval of the mean over the seeds"
    return Table(
        title=f"{_problem(run)}: {outcome.name}",
        columns=["function", "a and b", "per 1,000" if outcome.counted else "mean", "95 % interval", "[P]"],
        rows=rows,
        note=f"{_protocol(run)} {about}. Interval: {interval}. [P]: published, under the same conditions of training.",
        left=["a and b"],
    )


def _level(outcome: Outcome, values: np.ndarray) -> list[str]:
    if outcome.counted:
        count, trials = int(values.sum()), len(values)
        low, high = wilson_interval(count, trials)
        return [f"{1000 * count / trials:.4g}", f"{1000 * low:.1f} to {1000 * high:.1f}"]
    found = sample(values)
    left_out = f" ({found.non_finite} not finite)" if found.non_finite else ""
    return [f"{found.mean:.4f}{left_out}", range_cell(found.interval(), ".4f")]


def _published(run: Run, outcome: Outcome, base: str, condition: Condition) -> str:
    theirs = condition.plain or (condition.learned and not condition.unit)
    name = trained_as(base, condition.plain)
    found: list[str] = []
    config = run.manifest["config"]
    if not theirs or config["protocol"] != "recovered":
        return ""
    if config.get("iterations", PUBLISHED_ITERATIONS) != PUBLISHED_ITERATIONS:
        return ""
    if outcome.counted:
        found = [f"{row.converged}" for row in ko2021.TABLE_5 if row.activation == name]
    elif outcome.name.startswith("test loss") and not run.records.attrs["synthetic"]:
        steps = int(run.records["test_step"][-1])
        found = [f"{row.loss:.3f}" for row in ko2021.MNIST_FINAL_LOSS if row.activation == name and row.steps == steps]
    return found[0] if found else ""


def _effects(run: Run, outcome: Outcome) -> Table:
    scale = 1000 if outcome.counted else 1
    form = ".0f" if outcome.counted else ".4f"
    rows = []
    for answer in answers(outcome):
        found = answer.comparison
        cells = ["0", "", "", "", ""]
        if found is not None:
            interval = (scale * found.interval[0], scale * found.interval[1])
            cells = [
                f"{found.pairs}",
                f"{scale * found.difference:+{form}}",
                range_cell(interval, form),
                f"{found.p_value:.2g}",
                "" if answer.p_value_holm is None else f"{answer.p_value_holm:.2g}",
            ]
        what = f"{answer.effect.first} - {answer.effect.second}"
        rows.append([LABELS[answer.base], answer.effect.question, what, *cells, answer.verdict])
    test = "bootstrap interval; McNemar's exact test" if outcome.counted else "t interval; paired t test"
    seeds = outcome.values.sizes["seed"]
    lost = any(answer.comparison is None or answer.comparison.pairs < seeds for answer in answers(outcome))
    left_out = f" Of {seeds} seeds, those not finite under one of the two are left out." if lost else ""
    unit = ", per 1,000" if outcome.counted else ""
    return Table(
        title=f"{_problem(run)}: what changes the {outcome.name}",
        columns=[
            "function",
            "effect of",
            "difference of",
            "seeds",
            "mean",
            "95 % interval",
            "p",
            "p (Holm)",
            "verdict",
        ],
        rows=rows,
        note=(
            f"{_protocol(run)} Differences on equal seeds{unit}; {test}, Holm's correction over the {len(rows)} rows; "
            f"told apart at {LEVEL:g}.{left_out}"
        ),
        left=["effect of", "difference of"],
    )


def _figure(run: Run, base: str) -> Figure:
    records = run.records.sel(base=base)
    if run.records.attrs["problem"] == "xor10":
        converged_at = records["reached_at"].where(records["converged"], -1)
        curves = [ConvergenceCurve(c.name, converged_at.sel(condition=c.name).values) for c in CONDITIONS]
        config = run.manifest["config"]
        return convergence(curves, iterations=config["iterations"], threshold=config["threshold"])
    losses = records["test_loss"].astype(np.float64)
    bands = [
        BandCurve(c.name, *mean_and_interval(losses.sel(condition=c.name).transpose("seed", "test_step").values))
        for c in CONDITIONS
    ]
    return curves_with_bands(
        records["test_step"].values,
        bands,
        closeup=EARLY if int(records["test_step"][-1]) > EARLY else None,
        ylabel="test loss",
        title=f"{_problem(run)}, {LABELS[base]}: a and b",
    )


def _problem(run: Run) -> str:
    if run.records.attrs["problem"] == "xor10":
        return "XOR(10)"
    return "SYNTHETIC IMAGES, NOT MNIST" if run.records.attrs["synthetic"] else "MNIST"


def _protocol(run: Run) -> str:
    seeds = run.records["seed"].values
    images = f"; images: {run.records.attrs['source']}" if "source" in run.records.attrs else ""
    return f"Protocol {run.manifest['config']['protocol']}, seeds {seeds.min()} to {seeds.max()}{images}."
