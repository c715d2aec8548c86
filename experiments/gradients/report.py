"""Table and figure of the depth study, from its records alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from experiments.study.files import write_report
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from paramact_jax.figures import DepthCurve, gradient_against_depth
from paramact_jax.gradients import Cause, cause

LEVEL = 0.95
_CAUSES = {Cause.NONE: "none", Cause.LINEAR: "1", Cause.ACTIVATION: "2", Cause.BOTH: "3", Cause.UNDEFINED: "-"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One activation under one gain; logarithms of norms are decimal, one entry per depth.

    Attributes:
      activation: name in the catalogue.
      gain: standard deviation of the weights times sqrt(width).
      depths: numbers of hidden layers.
      measured: mean over the seeds of log ||dL/dy^(1)||.
      low, high: its 95 % t interval.
      linear, activation_part: means of its two parts; they add up to `measured`.
      root_mean_square: log of the root mean square over the seeds.
      predicted: the same in mean-field theory.
      vanished: seeds whose gradient is exactly 0; per depth. They have no logarithm, and are in the mean square alone.
      non_finite: seeds whose gradient is infinite or NaN, left out; per depth.
    """

    activation: str
    gain: float
    depths: np.ndarray
    measured: np.ndarray
    low: np.ndarray
    high: np.ndarray
    linear: np.ndarray
    activation_part: np.ndarray
    root_mean_square: np.ndarray
    predicted: np.ndarray
    vanished: np.ndarray
    non_finite: np.ndarray


def rows(records: xr.Dataset) -> list[Row]:
    """All activations and gains."""
    return [
        _row(records.sel(activation=name, gain=gain), str(name), float(gain))
        for name in records["activation"].values
        for gain in records["gain"].values
    ]


def tables(run: Run) -> list[Table]:
    """The gradient at the greatest depth."""
    return [_table(run, rows(run.records))]


def write(run: Run) -> list[Path]:
    """Write table, figure and summary into the run's directory; returns the files."""
    found = rows(run.records)
    table = _table(run, found)
    content = {
        "summary.json": json.dumps([_summary(row) for row in found], indent=2) + "\n",
        "gradients.csv": table.csv(),
        "gradients.tex": table.latex(),
        "report.md": "\n".join(["# Gradient against depth\n", table.markdown(), "![gradients](gradients.png)\n"]),
    }
    return write_report(run.directory, content, {"gradients": _figure(run.records, found)})


def _row(records: xr.Dataset, name: str, gain: float) -> Row:
    values = records["log_gradient"].transpose("depth", "seed").values.astype(np.float64) / np.log(10)
    finite, vanished = np.isfinite(values), np.isneginf(values)
    parts = (
        records[part].transpose("depth", "seed").values.astype(np.float64) / np.log(10)
        for part in ("log_linear", "log_activation")
    )
    linear, of_activation = (np.array([_mean(row[ok]) for row, ok in zip(part, finite, strict=True)]) for part in parts)
    measured, half = np.array([_interval(row[ok]) for row, ok in zip(values, finite, strict=True)]).T
    return Row(
        activation=name,
        gain=gain,
        depths=records["depth"].values,
        measured=measured,
        low=measured - half,
        high=measured + half,
        linear=linear,
        activation_part=of_activation,
        root_mean_square=np.array([_root_mean_square(r[ok]) for r, ok in zip(values, finite | vanished, strict=True)]),
        predicted=records["predicted_log_gradient"].values / np.log(10),
        vanished=vanished.sum(axis=1),
        non_finite=(~finite & ~vanished).sum(axis=1),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Mean, and half the width of its t interval; NaN where there are too few."""
    if len(values) < 2:
        return _mean(values), np.nan
    half = stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return _mean(values), float(half)


def _root_mean_square(logs: np.ndarray) -> float:
    """Decimal logarithm of it, from decimal logarithms."""
    if not np.isfinite(logs).any():
        return np.nan
    largest = logs.max()
    return float(largest + 0.5 * np.log10(np.mean(10.0 ** (2 * (logs - largest)))))


def _table(run: Run, found: list[Row]) -> Table:
    records, config = run.records, run.manifest["config"]
    deepest = int(records["depth"].max())
    last = config["first_seed"] + config["seeds"] - 1
    return Table(
        title=f"log10 of the gradient's norm at the first of {deepest} hidden layers, where it is 1 at the output",
        columns=[
            *("activation", "gain", "mean", "95 % interval", "linear", "activation", "type", "a layer"),
            *("root mean square", "mean field", "zero", "not finite"),
        ],
        rows=[[*_cells(row)] for row in found],
        note=(
            f"mean: of the logarithms over seeds {config['first_seed']} to {last}, with its t interval, and its two "
            f"parts, by the linear factors and by the activations' (these add up); type: the cause of the decay [P, "
            f"section 3.1], none unless the interval is below 0; a layer: the factor per layer. mean field: of the "
            f"root mean square in infinitely wide networks; the mean logarithm lies below it, the more the seeds "
            f"differ. zero, not finite: seeds whose gradient is exactly 0 or no number. {config['width']} nodes a "
            f"layer, weights N(0, gain^2/{config['width']}), no biases; equal seeds have equal weights up to scale."
        ),
    )


def _cells(row: Row) -> Iterator[str]:
    deepest = -1
    decays = row.high[deepest] < 0
    why = Cause(int(cause(row.linear[deepest], row.activation_part[deepest]))) if decays else Cause.NONE
    yield row.activation
    yield f"{row.gain:.4g}"
    yield f"{row.measured[deepest]:.2f}"
    yield f"{row.low[deepest]:.2f} - {row.high[deepest]:.2f}"
    yield f"{row.linear[deepest]:.2f}"
    yield f"{row.activation_part[deepest]:.2f}"
    yield _CAUSES[why]
    yield f"{10 ** (row.measured[deepest] / row.depths[deepest]):.3f}"
    yield f"{row.root_mean_square[deepest]:.2f}"
    yield f"{row.predicted[deepest]:.2f}"
    yield str(int(row.vanished[deepest]))
    yield str(int(row.non_finite[deepest]))


def _summary(row: Row) -> dict[str, object]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in dataclasses.asdict(row).items()}


def _figure(records: xr.Dataset, found: list[Row]) -> Figure:
    panels: dict[str, list[DepthCurve]] = {}
    for row in found:
        curve = DepthCurve(row.activation, row.measured, row.low, row.high, row.predicted)
        panels.setdefault(f"gain {row.gain:.4g}", []).append(curve)
    return gradient_against_depth(records["depth"].values, panels)
