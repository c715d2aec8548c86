"""What [P, section 4.1] says about Figs. 7 to 10, each statement with a criterion, checked on our records."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from paramact_jax.papers import ko2021
from paramact_jax.statistics import wilson_interval

_LARGER = 10.0
"""What the paper calls "relatively large" or "hardly moved" is taken as a factor of at least this."""
_START_A = 6.0
_FACTOR = 2.0
"""A length that the paper prints is met within this factor."""
_RANGE = (5.0, 95.0)


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of the paper about its figures.

    Attributes:
      figure: where it is made.
      text: what it says, with the criterion.
      holds: whether it is true of our trial.
      measured: the numbers behind `holds`.
      elsewhere: of how many of the sweep's converged trials it is true, where their records tell; else empty.
    """

    figure: str
    text: str
    holds: bool
    measured: str
    elsewhere: str = ""


def check(records: xr.Dataset, *, plotted_until: int = 1_500) -> list[Statement]:
    """All statements, in the order of the figures.

    Args:
      records: a run of `xor10-figures`.
      plotted_until: right end of [P, Fig. 7].
    """
    return [*_losses(records, plotted_until), *_factors(records), *_weights(records), *_activations(records)]


def _losses(records: xr.Dataset, until: int) -> list[Statement]:
    until = min(until, int(records["iteration"][-1]))
    threshold, seed = float(records.attrs["threshold"]), int(records.attrs["history_seed"])
    loss = records["history_loss"]
    by_then = loss.sel(iteration=slice(None, until)).isel(iteration=-1)
    ppns, sigmoid = (float(by_then.sel(activation=name)) for name in ("ppns", "sigmoid"))
    at_end = float(loss.sel(activation="sigmoid").isel(iteration=-1))
    later = abs(loss.sel(iteration=slice(until, None)) - loss.isel(iteration=-1)).max("iteration")
    reached = int(records["reached_at"].sel(activation="ppns", seed=seed))
    converged = _converged(records)
    never = ~records["converged"].sel(activation="sigmoid", seed=converged["seed"])
    in_time = converged["reached_at"].sel(activation="ppns") <= until
    quartiles = _percentiles(converged["reached_at"].sel(activation="ppns").values, (25, 50, 75))
    gradient = abs(records["history_gradient_w11"])
    largest = {name: float(gradient.sel(activation=name).max()) for name in ("ppns", "sigmoid")}
    first = float(gradient.sel(activation="sigmoid").isel(iteration=0))
    return [
        Statement(
            "7(a)",
            f"PPNS's loss reaches 0 about iteration 1,000 (below {threshold:g} by iteration {until:,})",
            ppns < threshold,
            f"first below at iteration {reached:,}; {ppns:.2g} at {until:,}; quartiles of the converged trials "
            f"{quartiles}",
            _share(in_time.values),
        ),
        Statement(
            "7(a)",
            f"Sigmoid's loss has not reached 0 at the end (not below {threshold:g})",
            at_end >= threshold,
            f"{at_end:.4f} at the end, {sigmoid:.4f} at {until:,}",
            _share(never.values),
        ),
        Statement(
            "7(a)",
            f"neither loss changes after iteration {until:,} (by more than {threshold:g})",
            bool((later < threshold).all()),
            ", ".join(f"{name} by {float(later.sel(activation=name)):.2g}" for name in ("sigmoid", "ppns")),
        ),
        Statement(
            "7(b)",
            f"Sigmoid's dL/dw_11 is near 0 from the first iteration (largest |dL/dw_11| at most PPNS's / {_LARGER:g})",
            largest["sigmoid"] * _LARGER <= largest["ppns"],
            f"sigmoid: {first:.2g} at the first iteration, at most {largest['sigmoid']:.2g}; "
            f"ppns: up to {largest['ppns']:.2g}",
        ),
    ]


def _factors(records: xr.Dataset) -> list[Statement]:
    slopes = abs(records["history_slope"])
    steepest = {name: float(slopes.sel(activation=name).max()) for name in ("sigmoid", "ppns")}
    sigmoid, ppns = (records.sel(activation=name) for name in ("sigmoid", "ppns"))
    out = _travel(sigmoid["history_output_weight"])
    others = max(_travel(sigmoid["history_slope"]), _travel(sigmoid["history_weight"].sel(layer=slice(2, None))))
    ratios = [
        _ratio(_travel(ppns[name].sel(layer=layer)), _travel(sigmoid[name].sel(layer=layer)))
        for name, first in (("history_slope", 1), ("history_weight", 2))
        for layer in range(first, records.sizes["layer"] + 1)
    ]
    return [
        Statement(
            "8",
            "Sigmoid's entries of dz/dy are never above 0.25",
            steepest["sigmoid"] <= 0.25,
            f"largest {steepest['sigmoid']:.6f}",
        ),
        Statement(
            "8",
            "PPNS's entries of dz/dy reach about 1.5 (1.4 to 1.6)",
            1.4 <= steepest["ppns"] <= 1.6,
            f"largest {steepest['ppns']:.4f}",
        ),
        Statement(
            "8",
            f"Sigmoid's factors hardly change, but for dy^(out)/dz^(out) (by at most a 1/{_LARGER:g} of it)",
            others * _LARGER <= out,
            f"dy^(out)/dz^(out) by {out:.3f}, the others by at most {others:.3f}",
        ),
        Statement(
            "8",
            "PPNS's factors change more than Sigmoid's (every one of the hidden layers')",
            min(ratios) > 1,
            f"{min(ratios):.3g} to {max(ratios):.3g} times as much",
        ),
    ]


def _weights(records: xr.Dataset) -> list[Statement]:
    seed = int(records.attrs["history_seed"])
    converged = _converged(records)["seed"].values
    hidden = _distance(records, "weight", ("from_node",)).max("node")
    out = _distance(records, "output_weight", ("node",))
    stays = hidden.sel(activation="sigmoid").max("layer") * _LARGER <= out.sel(activation="sigmoid")
    farther = (hidden.sel(activation="ppns") > hidden.sel(activation="sigmoid")).all("layer")
    own_hidden, own_out = hidden.sel(seed=seed), out.sel(seed=seed)
    return [
        Statement(
            "9(a)",
            f"under Sigmoid only the output layer's weights move (the hidden ones at most 1/{_LARGER:g} as far)",
            bool(stays.sel(seed=seed)),
            f"output layer by {float(own_out.sel(activation='sigmoid')):.3f}, hidden layers by at most "
            f"{float(own_hidden.sel(activation='sigmoid').max()):.3f}",
            _share(stays.sel(seed=converged).values),
        ),
        Statement(
            "9(b)",
            "under PPNS the weights of every hidden layer move farther than under Sigmoid",
            bool(farther.sel(seed=seed)),
            f"layers by {float(own_hidden.sel(activation='ppns').min()):.3f} to "
            f"{float(own_hidden.sel(activation='ppns').max()):.3f}",
            _share(farther.sel(seed=converged).values),
        ),
    ]


def _activations(records: xr.Dataset) -> list[Statement]:
    seed, printed = int(records.attrs["history_seed"]), ko2021.FIG_10_FARTHEST
    trials = records.sel(activation="ppns")
    converged = _converged(records)["seed"].values
    a, b = trials["learned_a"], trials["learned_b"]
    moved = ((a - trials["initial_a"]) ** 2 + (b - trials["initial_b"]) ** 2) ** 0.5
    at = moved.sel(seed=seed).stack(at=("layer", "node"))
    layer, node = at["at"].values[at.values.argmax()]
    own_a, own_b = a.sel(seed=seed), b.sel(seed=seed)
    way, printed_way = moved.max(("layer", "node")), float(np.hypot(printed.a - _START_A, printed.b))
    widest, printed_widest = abs(b).max(("layer", "node")), abs(printed.b)
    above = (a > trials["initial_a"]).mean(("layer", "node"))

    def near(values: xr.DataArray, printed: float) -> xr.DataArray:
        return (values >= printed / _FACTOR) & (values <= printed * _FACTOR)

    return [
        Statement(
            "10",
            f"the farthest (a, b) goes to ({printed.a}, {printed.b}), that is by {printed_way:.3f} (within a factor of "
            f"{_FACTOR:g})",
            bool(near(way, printed_way).sel(seed=seed)),
            f"to ({float(own_a.sel(layer=layer, node=node)):.3f}, {float(own_b.sel(layer=layer, node=node)):.3f}), "
            f"layer {layer}, node {node}: by {float(way.sel(seed=seed)):.3f}; middle 90 % of the converged trials "
            f"{_percentiles(way.sel(seed=converged).values, _RANGE)}",
            _share(near(way, printed_way).sel(seed=converged).values),
        ),
        Statement(
            "10",
            "most a end above their start value 6",
            float(above.sel(seed=seed)) > 0.5,
            f"{float(above.sel(seed=seed)):.0%} in this trial, {float(above.sel(seed=converged).mean()):.0%} in all "
            f"converged trials",
            _share((above > 0.5).sel(seed=converged).values),
        ),
        Statement(
            "10",
            f"b spreads over about -0.15 to 0.15 (the largest |b| is {printed_widest} within a factor of {_FACTOR:g})",
            bool(near(widest, printed_widest).sel(seed=seed)),
            f"{float(own_b.min()):.3f} to {float(own_b.max()):.3f}; largest |b|, middle 90 % of the converged trials "
            f"{_percentiles(widest.sel(seed=converged).values, _RANGE)}",
            _share(near(widest, printed_widest).sel(seed=converged).values),
        ),
    ]


def _converged(records: xr.Dataset) -> xr.Dataset:
    """The trials in which PPNS converged."""
    return records.sel(seed=records["seed"][records["converged"].sel(activation="ppns").values])


def _distance(records: xr.Dataset, name: str, over: tuple[str, ...]) -> xr.DataArray:
    """How far the vector of learned values lies from that of the initial ones."""
    return ((records[f"learned_{name}"] - records[f"initial_{name}"]) ** 2).sum(over) ** 0.5


def _travel(history: xr.DataArray) -> float:
    """The largest difference between two values that one entry had on the way."""
    return float((history.max("iteration") - history.min("iteration")).max())


def _ratio(x: float, y: float) -> float:
    return x / y if y > 0 else np.inf


def _percentiles(values: np.ndarray, at: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in np.percentile(values, at)) if len(values) else "none"


def _share(holds: np.ndarray) -> str:
    if not len(holds):
        return ""
    low, high = wilson_interval(int(holds.sum()), len(holds))
    return f"{holds.sum()} of {len(holds)} ({low:.1%} - {high:.1%})"
