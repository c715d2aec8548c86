"""All trainings of the study, as labelled records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from experiments.initial_scale.protocol import CANDIDATES, HIDDEN_LAYERS, PRINTED_SCALES, Protocol
from experiments.initial_scale.train import before, train
from paramact_jax.datasets import Digits

_BEFORE = {
    "before_log_norm": ("layer", "log ||dL/dy^(layer)|| before training"),
    "before_linear": ("hidden_layer", "log of the gradient's factor by the weights above the layer (type 1)"),
    "before_activation": ("hidden_layer", "log of the gradient's factor by the layer's activation (type 2)"),
    "before_size": ("hidden_layer", "root mean square of the layer's values before training"),
    "before_spread": ("hidden_layer", "root mean square over nodes of the values' standard deviation over images"),
}


def run(protocol: Protocol, digits: Digits, *, directory: Path) -> xr.Dataset:
    """The two runs of [R] with every activation that it may have used, then the grid of scales.

    Args:
      protocol: the conditions, already checked.
      digits: flattened images.
      directory: where to go on from after an interruption.

    Returns:
      The scores of the grid, dims activation, scale, seed, step; those of the runs of [R], named `again_...`, dims
      candidate, printed_scale, learning_rate, seed, printed_step; what was found before training, see `train.before`;
      and each label's share of the images.
    """
    again = train(
        CANDIDATES,
        protocol,
        digits,
        what="runs of R",
        scales=PRINTED_SCALES,
        rates=protocol.rates,
        steps=protocol.printed_steps,
        directory=directory / "again",
    )
    grid = train(
        protocol.activations,
        protocol,
        digits,
        what="all scales",
        scales=protocol.scales,
        rates=(protocol.learning_rate,),
        steps=protocol.steps,
        directory=directory / "grid",
    )
    again = again.rename(activation="candidate", scale="printed_scale", step="printed_step")
    looked = before(protocol, digits)
    seen = {
        name: looked[name].rename({f"{name}_dim_0": dim}).assign_attrs(description=text)
        for name, (dim, text) in _BEFORE.items()
    }
    histogram = looked["histogram"].sum("seed").rename(histogram_dim_0="hidden_layer", histogram_dim_1="bin")
    histogram = histogram.assign_attrs(
        description="values of a layer before training, all seeds: below, in the bins, above, no numbers"
    )
    labels = np.arange(10)
    shares = {
        f"{split}_share": ("label", (own[:, None] == labels).mean(axis=0))
        for split, own in (("train", digits.train_labels), ("test", digits.test_labels))
    }
    return xr.Dataset(
        {
            **grid.isel(learning_rate=0, drop=True),
            **again.rename({name: f"again_{name}" for name in again}),
            **seen,
            "histogram": histogram,
            "edge": looked["edge"],
            **shares,
        },
        coords={
            "layer": np.arange(HIDDEN_LAYERS + 1) + 1,
            "hidden_layer": np.arange(HIDDEN_LAYERS) + 1,
            "label": labels,
        },
        attrs={
            "source": digits.source,
            "synthetic": int(digits.synthetic),
            "train_images": len(digits.train_labels),
            "test_images": len(digits.test_labels),
        },
    )
