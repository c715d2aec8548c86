"""The labelled records of an MNIST run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.problems.mnist.protocol import HIDDEN_LAYERS, WIDTH, Protocol
from paramact_jax.datasets import Digits

_SCORES = {
    "test_loss": ("test.loss", "test_step", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "test_step", "share of all test images whose digit has the largest output"),
    "train_loss": ("train.loss", "train_step", "mean cross-entropy over all training images after so many steps"),
    "train_accuracy": ("train.accuracy", "train_step", "share of all training images, likewise"),
    "gradient_smallest": (
        "notes.smallest",
        "step",
        "smallest entry of dL/dy^(1) over the step's minibatch [P, eq. 17]",
    ),
    "gradient_largest": ("notes.largest", "step", "largest entry of dL/dy^(1), likewise"),
}
_LEARNED = "learned."


def to_dataset(
    protocol: Protocol,
    trained: Mapping[str, xr.Dataset],
    *,
    steep_slopes: Mapping[str, np.ndarray],
    seconds: Mapping[str, float],
    seconds_per_step: np.ndarray,
    digits: Digits,
) -> xr.Dataset:
    """One row per activation and seed.

    Args:
      protocol: the conditions.
      trained: by activation what `train` returned.
      steep_slopes: by activation (seeds, layers).
      seconds: by activation, of all seeds together.
      seconds_per_step: (activations, rounds).
      digits: the images that were used, for what they are called.
    """
    data: dict[str, Any] = {
        name: (("activation", "seed", dim), np.stack([t[key].values for t in trained.values()]), _about(description))
        for name, (key, dim, description) in _SCORES.items()
    }
    data["steep_slopes"] = (
        ("activation", "seed", "layer"),
        np.stack([steep_slopes[name] for name in trained]),
        _about("slopes |dz/dy| >= 1 before training, over the layer's nodes and the first minibatch [P, Fig. 14]"),
    )
    data["seconds"] = (
        ("activation",),
        np.array([seconds[name] for name in trained]),
        _about("wall-clock seconds of all seeds together, compilation and scores included, in the last process"),
    )
    data["seconds_per_step"] = (
        ("activation", "timing"),
        seconds_per_step,
        _about("wall-clock seconds of one step of one seed, without scores, measured in turns after the training"),
    )
    blank = np.full((protocol.seeds, HIDDEN_LAYERS, WIDTH), np.nan, np.float32)
    own = sorted({str(key) for t in trained.values() for key in t.data_vars if str(key).startswith(_LEARNED)})
    for key in own:
        data[key.replace(".", "_")] = (
            ("activation", "seed", "layer", "node"),
            np.stack([t[key].values if key in t else blank for t in trained.values()]),
            _about(f"learned {key.removeprefix(_LEARNED)} of a node; NaN where the activation learns none"),
        )
    return xr.Dataset(
        data,
        coords={
            "activation": list(trained),
            "seed": np.arange(protocol.seeds, dtype=np.int64) + protocol.first_seed,
            "test_step": [*range(0, protocol.steps, protocol.test_every), protocol.steps],
            "train_step": [*range(0, protocol.steps, protocol.train_every), protocol.steps],
            "step": np.arange(protocol.steps),
            "layer": np.arange(1, HIDDEN_LAYERS + 1),
            "node": np.arange(1, WIDTH + 1),
        },
        attrs={
            "description": "MNIST with 8 hidden layers: the networks of [P, section 4.2]",
            "source": digits.source,
            "synthetic": int(digits.synthetic),
        },
    )


def _about(description: str) -> dict[str, str]:
    return {"description": description}
