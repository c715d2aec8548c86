"""Histograms and gradients of every layer before training, and the runs of [R] beside ours."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from experiments.initial_scale.findings import comparable
from experiments.initial_scale.protocol import AS_R, SMALL
from experiments.problems.digits import titled
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval
from paramact_jax.figures import BandCurve, DepthCurve, curves_in_panels, gradient_against_depth, layer_histograms
from paramact_jax.papers import student_report


def figures(run: Run) -> dict[str, Figure]:
    """The gradient by layer, [R]'s runs, and one figure of histograms an activation."""
    names = [str(name) for name in run.records["activation"].values]
    return {"gradients": _gradients(run), "again": _again(run)} | {
        f"values_{name}": _histograms(run, name) for name in names
    }


def _histograms(run: Run, name: str) -> Figure:
    own = run.records.sel(activation=name)
    rows = {f"{scale}": own["histogram"].sel(scale=scale).values for scale in map(str, own["scale"].values)}
    figure = layer_histograms(own["edge"].values, rows)
    figure.suptitle(titled(run, f"{name}: values of the hidden layers before training"), fontsize=9)
    return figure


def _gradients(run: Run) -> Figure:
    """Decimal logarithms, relative to the output's norm."""
    logs = run.records["before_log_norm"].astype(np.float64) / math.log(10)
    with np.errstate(invalid="ignore"):  # a gradient of 0 has no logarithm, and is not drawn
        relative = logs - logs.isel(layer=-1)
    panels = {}
    for name in map(str, relative["activation"].values):
        panels[name] = [
            DepthCurve(
                scale,
                *_range(relative.sel(activation=name, scale=scale).transpose("seed", "layer").values),
            )
            for scale in map(str, relative["scale"].values)
        ]
    return gradient_against_depth(
        relative["layer"].values,
        panels,
        xlabel="layer",
        ylabel=r"$\log_{10}\,\|\partial L/\partial y^{(l)}\|\,/\,\|\partial L/\partial y^{(out)}\|$",
    )


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, smallest and largest over the seeds (seeds, layers); NaN where one is not finite."""
    values = np.where(np.isfinite(values), values, np.nan)
    return values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _again(run: Run) -> Figure:
    steps = run.records["printed_step"].values
    unknown = np.full(len(steps), np.nan)
    errors = 1 - run.records["again_test_accuracy"].astype(np.float64)
    panels = {}
    for scale, printed in ((SMALL, student_report.SMALL), (AS_R, student_report.HE)):
        for rate in run.records["learning_rate"].values:
            own = errors.sel(printed_scale=scale, learning_rate=rate)
            curves = [
                BandCurve(name, *mean_and_interval(own.sel(candidate=name).transpose("seed", "printed_step").values))
                for name in map(str, own["candidate"].values)
            ]
            if comparable(run.records):
                theirs = unknown.copy()
                theirs[: len(printed.test)] = 1 - np.array(printed.test)
                curves.append(BandCurve("[R]", theirs, low=unknown, high=unknown))
            panels[f"deviation {scale}, rate {rate:g}"] = curves
    return curves_in_panels(
        steps,
        panels,
        ylabel="share of the test images that are not recognised",
        title=titled(run, "The runs of [R] made again: mean of the seeds, 95 % interval shaded"),
    )
