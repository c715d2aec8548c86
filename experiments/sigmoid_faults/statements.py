"""What [B2] says of the three faults of the sigmoid, [B1] of ReLU, and what we add, with criteria, on our records.

[B2] speaks of the gradient of one sample and one neuron; what becomes of it in a minibatch is ours, as is what [B2]
leaves unsaid of other functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.bench.activations import REFERENCE
from experiments.sigmoid_faults.networks import AFTER, BEFORE
from experiments.sigmoid_faults.zigzag import FULL_BATCH, POINT_BY_POINT
from experiments.study.cells import range_cell
from experiments.study.samples import sample
from paramact_jax.activations import catalogue

NEEDED = ("sigmoid", "pn_sigmoid", "tanh", "relu", "ppns")
"""Activations that statements are about."""

SATURATION, CENTRE, COST = "1 saturation", "2 not zero-centred", "3 cost of exp"

_MANY = 0.1
"""Saturated units make up at least this share where they are to be the reason for a loss."""
_MOST = 0.5
_ALL, _NONE = 0.99, 0.01
_SMALL_COST = 0.1
"""A cost that is "no big problem" makes a whole training step longer by at most this share."""


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes:
      fault: the one it is about.
      source: "B2", "B1", or "ours" for what neither says.
      text: what it says, with the criterion.
      holds: whether it is true of our records.
      measured: the numbers behind `holds`; intervals are 95 % t intervals over the seeds.
    """

    fault: str
    source: str
    text: str
    holds: bool
    measured: str


def check(records: xr.Dataset) -> list[Statement]:
    """All statements, fault by fault."""
    return [*_saturation(records), *_centre(records), *_cost(records)]


def usual_gain(records: xr.Dataset) -> float:
    """The gain of the records that is nearest to 1, that of weights of deviation 1/sqrt(fan_in)."""
    gains = records["gain"].values
    return float(gains[np.abs(np.log(gains)).argmin()])


def _saturation(records: xr.Dataset) -> Iterator[Statement]:
    share = records["saturated"].mean("layer")
    loss = -records["log_activation"].mean("layer") / np.log(10)
    gains = records["gain"].values
    usual = usual_gain(records)
    by_gain = {name: [float(share.sel(activation=name, gain=g).mean()) for g in gains] for name in NEEDED}
    yield Statement(
        SATURATION,
        "ours",
        "at the same gain more of Sigmoid's units are saturated (|slope| < 0.01) than of Tanh's, at every gain",
        all(s > t for s, t in zip(by_gain["sigmoid"], by_gain["tanh"], strict=True)),
        "; ".join(
            f"gain {g:g}: {s:.1%} and {t:.1%}"
            for g, s, t in zip(gains, by_gain["sigmoid"], by_gain["tanh"], strict=True)
        ),
    )
    at_usual = {name: float(share.sel(activation=name, gain=usual).mean()) for name in ("sigmoid", "relu")}
    found = sample(loss.sel(activation="sigmoid", gain=usual).values)
    steepest = -float(np.log10(catalogue.get("sigmoid").steepest_slope))
    yield Statement(
        SATURATION,
        "B2",
        f"Sigmoid's gradient vanishes by its saturated units (at gain {usual:g} at least {_MANY:.0%} are saturated)",
        at_usual["sigmoid"] >= _MANY,
        f"{at_usual['sigmoid']:.2%} saturated; the activation takes {found.mean:.3f} decades a layer "
        f"({range_cell(found.interval(), '.3f')}), of which a slope of 1/4, the steepest, alone takes {steepest:.3f}",
    )
    grows = [[sample(values.sel(activation="sigmoid", gain=g).values).mean for g in gains] for values in (share, loss)]
    order = np.argsort(gains)
    yield Statement(
        SATURATION,
        "ours",
        "the larger the initial weights, the more of Sigmoid's units are saturated, and the more of the gradient its "
        "activation takes",
        all(bool((np.diff(np.array(values)[order]) > 0).all()) for values in grows),
        "; ".join(f"gain {g:g}: {s:.1%}, {d:.2f} decades a layer" for g, s, d in zip(gains, *grows, strict=True)),
    )
    yield Statement(
        SATURATION,
        "B1",
        f"fewer of ReLU's units are saturated than of Sigmoid's (at gain {usual:g})",
        at_usual["relu"] < at_usual["sigmoid"],
        f"{at_usual['relu']:.1%} of ReLU's slopes are 0, {at_usual['sigmoid']:.2%} of Sigmoid's below 0.01",
    )
    xor = records["xor_saturated"].sel(activation="sigmoid").mean("xor_layer")
    before, after = (xor.sel(look=look).values for look in (BEFORE, AFTER))
    change = sample(after - before)
    low = change.interval()
    yield Statement(
        SATURATION,
        "ours",
        "training saturates Sigmoid's units (on XOR(10) more are saturated after it, interval above 0)",
        low is not None and low[0] > 0,
        f"{sample(before).mean:.2%} before, {sample(after).mean:.2%} after; difference {range_cell(low, '.2%')}",
    )


def _centre(records: xr.Dataset) -> Iterator[Statement]:
    usual = usual_gain(records)
    behind = records.sel(gain=usual).isel(layer=slice(1, None)).mean(("seed", "layer"))
    of_sample = {name: float(behind["one_sign_of_sample"].sel(activation=name)) for name in NEEDED}
    of_batch = {name: float(behind["one_sign"].sel(activation=name)) for name in NEEDED}
    layers = f"behind the first layer, at gain {usual:g}"
    yield Statement(
        CENTRE,
        "B2",
        f"under Sigmoid all weight gradients of a neuron have one sign at every sample ({layers}; {_ALL:.0%})",
        of_sample["sigmoid"] >= _ALL,
        f"{of_sample['sigmoid']:.1%}",
    )
    yield Statement(
        CENTRE,
        "ours",
        f"they still have when added over a minibatch ({layers}; most neurons')",
        of_batch["sigmoid"] > _MOST,
        f"{of_batch['sigmoid']:.1%}",
    )
    with_gradient = 1 - float(behind["saturated"].sel(activation="relu"))
    yield Statement(
        CENTRE,
        "B1",
        f"ReLU has the same fault ({layers}; {_ALL:.0%} of the neurons that have a gradient at the sample)",
        of_sample["relu"] >= _ALL * with_gradient,
        f"{of_sample['relu']:.1%} of all, where {with_gradient:.1%} have a slope; added over a minibatch "
        f"{of_batch['relu']:.1%}",
    )
    centred = ("pn_sigmoid", "tanh", "ppns")
    yield Statement(
        CENTRE,
        "ours",
        f"zero-centred functions do not have it: Sigmoid - 1/2, Tanh, PPNS ({layers}; at most {_NONE:.0%})",
        all(of_sample[name] <= _NONE for name in centred),
        ", ".join(f"{name} {of_sample[name]:.2%}" for name in centred),
    )
    for descent in (POINT_BY_POINT, FULL_BATCH):
        ways = records.sel(descent=descent)
        lengths = ways["way_length"]
        longer = sample(lengths.sel(inputs="sigmoid").values - lengths.sel(inputs="pn_sigmoid").values)
        interval = longer.interval()
        means = {
            name: [
                sample(ways[f"way_{what}"].sel(inputs=name).values).mean for what in ("length", "steps", "reversals")
            ]
            for name in ("sigmoid", "pn_sigmoid")
        }
        yield Statement(
            CENTRE,
            "B2" if descent == POINT_BY_POINT else "ours",
            f"positive inputs make descent zig-zag, {descent}: with Sigmoid's values the way is longer and has more "
            f"reversals than with Sigmoid - 1/2 (interval of the difference above 0)",
            bool(interval is not None and interval[0] > 0 and means["sigmoid"][2] > means["pn_sigmoid"][2]),
            "; ".join(
                f"{name}: {length:.2f} times the straight way, {steps:.0f} updates, {reversals:.1f} reversals"
                for name, (length, steps, reversals) in means.items()
            )
            + f"; difference of the lengths {range_cell(interval, '.2f')}",
        )


def _cost(records: xr.Dataset) -> Iterator[Statement]:
    ratio = records["nanoseconds"].sel(function="sigmoid") / records["nanoseconds"].sel(function=REFERENCE)
    medians = ratio.median("race")
    yield Statement(
        COST,
        "B2",
        "an element costs more under Sigmoid than under ReLU (in every race, at every size, forward and backward)",
        bool((ratio > 1).all()),
        f"{float(medians.min()):.2f} to {float(medians.max()):.2f} times as much; races {float(ratio.min()):.2f} to "
        f"{float(ratio.max()):.2f}",
    )
    step = records["step_seconds"].sel(network="sigmoid") / records["step_seconds"].sel(network=REFERENCE)
    yield Statement(
        COST,
        "B2",
        f"that is no big problem (a whole training step of the network of mnist is at most {_SMALL_COST:.0%} longer)",
        float(step.median()) <= 1 + _SMALL_COST,
        f"{float(step.median()) - 1:+.1%}, rounds {float(step.min()) - 1:+.1%} to {float(step.max()) - 1:+.1%}",
    )
