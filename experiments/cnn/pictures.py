"""Figs. 11 to 14 of [A] from the records of a run."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.cnn.run_facts import combinations, label
from experiments.cnn.table_1 import found, printed
from experiments.problems.digits import titled
from experiments.study.run_directory import Run
from experiments.study.samples import mean_and_interval
from paramact_jax.figures import BandCurve, RangeHistory, curves_in_panels, curves_with_bands, range_panels
from paramact_jax.papers import kong2020

TOP = 5
"""Curves in Fig. 13."""
_PAPERS_BEST = "parametric_relu/parametric_sigmoid"


def figures(run: Run) -> dict[str, Figure]:
    """The four figures by name, without those that the run has nothing for."""
    pictures = {"figure_12": _all(run), "figure_13": _best(run)}
    if "dense_only" in run.records.coords:
        pictures["figure_11"] = _dense_only(run)
    if (combination := ranged(run)) is not None:
        for name in ("a", "b"):
            pictures[f"figure_14_{name}"] = _ranges(run, combination, name)
    return dict(sorted(pictures.items()))


def best_first(run: Run) -> list[str]:
    """Combinations by our mean smallest loss; those without a finite one last."""
    losses = {name: found(run, "best_loss", name).mean for name in combinations(run)}
    return sorted(losses, key=lambda name: losses[name] if np.isfinite(losses[name]) else np.inf)


def ranged(run: Run) -> str | None:
    """Of which combination Fig. 14 is: the one that [A] calls best, else our best one with an a or b; None without."""
    with_parameters = [
        name for name in best_first(run) if run.records["a_largest"].sel(combination=name).notnull().any()
    ]
    if _PAPERS_BEST in with_parameters:
        return _PAPERS_BEST
    return with_parameters[0] if with_parameters else None


def band(name: str, losses: xr.DataArray, published: float | None = None) -> BandCurve:
    """Mean over the seeds with its interval."""
    values = losses.transpose("seed", "test_step").values.astype(np.float64)
    return BandCurve(name, *mean_and_interval(values), published)


def shown(run: Run) -> str:
    """What the curves and bands are."""
    seeds = run.records.sizes["seed"]
    return f"mean of {seeds} seeds, 95 % interval shaded" if seeds > 1 else "one seed"


def _all(run: Run) -> Figure:
    panels: dict[str, list[BandCurve]] = {}
    for name in combinations(run):
        conv, dense = label(name).split(" / ")
        losses = run.records["test_loss"].sel(combination=name)
        panels.setdefault(f"{conv} in the convolutions", []).append(
            band(f"dense: {dense}", losses, printed(run, "best_loss", name))
        )
    return curves_in_panels(
        run.records["test_step"].values,
        panels,
        xlabel="iteration",
        ylabel="test loss",
        title=titled(run, f"Test loss: {shown(run)}"),
    )


def _best(run: Run) -> Figure:
    curves = [band(label(name), run.records["test_loss"].sel(combination=name)) for name in best_first(run)[:TOP]]
    return curves_with_bands(
        run.records["test_step"].values,
        curves,
        xlabel="iteration",
        ylabel="test loss",
        title=titled(run, f"The {len(curves)} with the smallest test loss: {shown(run)}"),
    )


def _dense_only(run: Run) -> Figure:
    losses = run.records["dense_only_test_loss"]
    names = [str(name) for name in losses["dense_only"].values]
    return curves_with_bands(
        run.records["test_step"].values,
        [band(kong2020.LABELS.get(name, name), losses.sel(dense_only=name)) for name in names],
        xlabel="iteration",
        ylabel="test loss",
        title=titled(run, f"784 - 30 - 10 without convolutions: {shown(run)}"),
    )


def _ranges(run: Run, combination: str, name: str) -> Figure:
    records = run.records.sel(combination=combination)
    histories = [
        RangeHistory(
            str(layer),
            *(
                records[f"{name}_{which}"].sel(layer=layer).transpose("seed", "step").values.astype(np.float64)
                for which in ("smallest", "largest")
            ),
        )
        for layer in records["layer"].values
        if records[f"{name}_largest"].sel(layer=layer).notnull().any()
    ]
    seeds = run.records["seed"].values
    shown = f"seed {seeds[0]} as lines" + (f", {len(seeds)} seeds shaded" if len(seeds) > 1 else "")
    return range_panels(
        run.records["step"].values,
        histories,
        xlabel="iteration",
        ylabel=f"smallest and largest {name}",
        title=titled(run, f"{label(combination)}: {name}, {shown}"),
    )
