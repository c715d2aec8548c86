"""Table and figure of the depth study, from its records alone."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.run_directory import Run, replace, write_text
from experiments.tables import Table
from paramact_jax.figures import DepthCurve, gradient_against_depth
from paramact_jax.gradients import Cause, cause
from paramact_jax.statistics import bootstrap_interval

_RESAMPLES = 999
_CAUSES = {Cause.NONE: "none", Cause.LINEAR: "1", Cause.ACTIVATION: "2", Cause.BOTH: "3", Cause.UNDEFINED: "-"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One activation under one gain, over all seeds; logarithms are decimal, one entry per depth.

    Attributes:
      activation: name in the catalogue.
      gain: standard deviation of the weights times sqrt(width).
      depths: numbers of hidden layers.
      measured: log of the root mean square of ||dL/dy^(1)||.
      low, high: its bootstrap 95 % interval.
      predicted: by mean-field theory.
      linear, activation_part: means over the seeds of the two parts of log ||dL/dy^(1)||.
      non_finite: seeds whose gradient is infinite or NaN, left out; per depth.
      vanished: seeds whose gradient is exactly 0, per depth.
    """

    activation: str
    gain: float
    depths: np.ndarray
    measured: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predicted: np.ndarray
    linear: np.ndarray
    activation_part: np.ndarray
    non_finite: np.ndarray
    vanished: np.ndarray


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
    for name, text in content.items():
        write_text(run.directory / name, text)
    image = io.BytesIO()
    _figure(run.records, found).savefig(image, format="png")
    replace(run.directory / "gradients.png", image.getvalue())
    return [run.directory / name for name in (*content, "gradients.png")]


def _row(records: xr.Dataset, name: str, gain: float) -> Row:
    columns = [_measured(values) for values in records["log_gradient"].transpose("depth", "seed").values]
    measured, low, high = (np.array(part) for part in zip(*columns, strict=True))
    values = records["log_gradient"]
    finite, vanished = abs(values) < np.inf, values == -np.inf
    return Row(
        activation=name,
        gain=gain,
        depths=records["depth"].values,
        measured=measured,
        low=low,
        high=high,
        predicted=records["predicted_log_gradient"].values / np.log(10),
        linear=records["log_linear"].where(finite).mean("seed").values / np.log(10),
        activation_part=records["log_activation"].where(finite).mean("seed").values / np.log(10),
        non_finite=(~finite & ~vanished).sum("seed").values,
        vanished=vanished.sum("seed").values,
    )


def _measured(log_gradient: np.ndarray) -> tuple[float, float, float]:
    """log10 of the root mean square and its interval. Gradients of exactly 0 count, those that are no number do not."""
    numbers = log_gradient[~(np.isnan(log_gradient) | np.isposinf(log_gradient))].astype(np.float64)
    if len(numbers) < 2 or not np.isfinite(numbers).any():
        return np.nan, np.nan, np.nan
    largest = numbers.max()
    squares = np.exp(2 * (numbers - largest))
    with np.errstate(divide="ignore"):
        low, high = bootstrap_interval(squares, resamples=_RESAMPLES)
        return tuple(float((largest + 0.5 * np.log(x)) / np.log(10)) for x in (squares.mean(), low, high))  # type: ignore[return-value]  # three


def _table(run: Run, found: list[Row]) -> Table:
    records, config = run.records, run.manifest["config"]
    deepest = int(records["depth"].max())
    last = config["first_seed"] + config["seeds"] - 1
    return Table(
        title=f"log10 of the gradient's norm at the first of {deepest} hidden layers, where it is 1 at the output",
        columns=[
            *("activation", "gain", "measured", "95 % interval", "mean field", "inside", "a layer"),
            *("linear", "activation", "type", "zero", "not finite"),
        ],
        rows=[[*_cells(row)] for row in found],
        note=(
            f"Root mean square over seeds {config['first_seed']} to {last}, {config['width']} nodes a layer, weights "
            f"N(0, gain^2/{config['width']}), no biases. a layer: the factor per layer; linear and activation: the two "
            f"parts of the mean logarithm; type: the cause of the decay [P, section 3.1], none unless the interval is "
            f"below 0; zero, not finite: seeds whose gradient is exactly 0 (counted) or no number (left out)."
        ),
    )


def _cells(row: Row) -> Iterator[str]:
    deepest = -1
    measured, low, high = row.measured[deepest], row.low[deepest], row.high[deepest]
    predicted = row.predicted[deepest]
    yield row.activation
    yield f"{row.gain:.4g}"
    yield f"{measured:.2f}"
    yield f"{low:.2f} - {high:.2f}"
    yield f"{predicted:.2f}"
    yield "yes" if low <= predicted <= high else "no"
    yield f"{10 ** (measured / row.depths[deepest]):.3f}"
    yield f"{row.linear[deepest]:.2f}"
    yield f"{row.activation_part[deepest]:.2f}"
    decays = high < 0
    yield _CAUSES[Cause(int(cause(row.linear[deepest], row.activation_part[deepest]))) if decays else Cause.NONE]
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
