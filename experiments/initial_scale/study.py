"""All trainings of the study, as labelled records."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.initial_scale.protocol import CANDIDATES, HIDDEN_LAYERS, PRINTED_SCALES, Protocol
from experiments.initial_scale.train import before, train
from experiments.progress import SweepProgress
from paramact_jax.datasets import Digits
from paramact_jax.training import Schedule

_SCORES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
    "train_accuracy": ("train.accuracy", "share of all training images whose digit has the largest output"),
}
_BEFORE = {
    "log_norm": ("layer", "log ||dL/dy^(layer)|| before training"),
    "linear": ("hidden_layer", "log of the gradient's factor by the weights above the layer (type 1)"),
    "activation": ("hidden_layer", "log of the gradient's factor by the layer's activation (type 2)"),
    "size": ("hidden_layer", "root mean square of the layer's values before training"),
    "spread": ("hidden_layer", "root mean square over nodes of the values' standard deviation over images"),
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
    again = _train(
        CANDIDATES,
        protocol,
        digits,
        what="runs of R",
        directory=directory / "again",
        scales=PRINTED_SCALES,
        rates=protocol.rates,
        steps=protocol.printed_steps,
    )
    grid = _train(
        protocol.activations,
        protocol,
        digits,
        what="all scales",
        directory=directory / "grid",
        scales=protocol.scales,
        rates=(protocol.learning_rate,),
        steps=protocol.steps,
    )
    return _records(protocol, digits, again, [results.isel(learning_rate=0) for results in grid])


def _train(
    activations: Sequence[str],
    protocol: Protocol,
    digits: Digits,
    *,
    what: str,
    directory: Path,
    scales: Sequence[str],
    rates: Sequence[float],
    steps: int,
) -> list[xr.Dataset]:
    found = []
    with SweepProgress(len(activations), steps * len(scales) * len(rates) * protocol.seeds) as progress:
        for name in activations:
            shown = f"{name}, {what}"
            found.append(
                train(
                    name,
                    protocol,
                    digits,
                    scales=scales,
                    rates=rates,
                    steps=steps,
                    directory=directory / name,
                    on_progress=functools.partial(progress.advanced, shown),
                )
            )
            progress.through(shown)
    return found


def _records(protocol: Protocol, digits: Digits, again: list[xr.Dataset], grid: list[xr.Dataset]) -> xr.Dataset:
    looked = [before(name, protocol, digits) for name in protocol.activations]
    data: dict[str, Any] = {}
    for variable, (key, description) in _SCORES.items():
        about = {"description": description}
        data[variable] = (
            ("activation", "scale", "seed", "step"),
            np.stack([results[key].values for results in grid]),
            about,
        )
        data[f"again_{variable}"] = (
            ("candidate", "printed_scale", "learning_rate", "seed", "printed_step"),
            np.stack([results[key].values for results in again]),
            about,
        )
    for variable, (dim, description) in _BEFORE.items():
        data[f"before_{variable}"] = (
            ("activation", "scale", "seed", dim),
            np.stack([found[variable] for found in looked]),
            {"description": description},
        )
    data["histogram"] = (
        ("activation", "scale", "hidden_layer", "bin"),
        np.stack([found["histograms"].sum(axis=1) for found in looked]),
        {"description": "values of a layer before training, all seeds: below, in the bins, above, no numbers"},
    )
    data["edge"] = (("activation", "bound"), np.stack([found["edges"] for found in looked]), {})
    labels = np.arange(10)
    for split in ("train", "test"):
        own = getattr(digits, f"{split}_labels")
        data[f"{split}_share"] = (("label",), (own[:, None] == labels).mean(axis=0), {})
    return xr.Dataset(
        data,
        coords={
            "activation": list(protocol.activations),
            "scale": list(protocol.scales),
            "candidate": list(CANDIDATES),
            "printed_scale": list(PRINTED_SCALES),
            "learning_rate": list(protocol.rates),
            "seed": np.arange(protocol.seeds, dtype=np.int64) + protocol.first_seed,
            "step": Schedule(protocol.steps, protocol.every, protocol.every).test_steps,
            "printed_step": Schedule(protocol.printed_steps, protocol.every, protocol.every).test_steps,
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
