"""The labelled records of a run of the convolutional networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.problems.cnn import gradient
from experiments.problems.cnn.images import Images
from experiments.problems.cnn.networks import LAYERS, counts
from experiments.problems.cnn.protocol import Combination, Protocol

_SCORES = {
    "test_loss": ("test.loss", "test_step", "mean cross-entropy over all images scored, after so many iterations"),
    "test_accuracy": ("test.accuracy", "test_step", "share of them whose digit has the largest output"),
    "train_loss": ("train.loss", "train_step", "mean cross-entropy over all training images"),
}
_RANGES = {
    f"{name}_{which}": f"{which} {name} of a layer before the iteration; NaN where its activation has none"
    for name in ("a", "b")
    for which in ("smallest", "largest")
}


def name_of(combination: Combination) -> str:
    """What a combination is called in the records: CONV/DENSE."""
    return "/".join(combination)


def to_dataset(
    protocol: Protocol,
    trained: Mapping[Combination, xr.Dataset],
    images: Images,
    *,
    dense_only: Mapping[str, xr.Dataset],
) -> xr.Dataset:
    """One row per combination and seed.

    Args:
      protocol: the conditions.
      trained: what `train` returned, by combination.
      images: that were used, for what they are called.
      dense_only: what `train` returned, by activation, of the networks without convolutions; may be empty.
    """
    by = ("combination", "seed")
    data: dict[str, Any] = {
        name: ((*by, dim), np.stack([t[key].values for t in trained.values()]), {"description": description})
        for name, (key, dim, description) in _SCORES.items()
    }
    for name, description in _RANGES.items():
        values = np.stack([t[f"notes.{name}"].values for t in trained.values()])
        data[name] = ((*by, "step", "layer"), values, {"description": description})
    sizes = [counts(combination, protocol) for combination in trained]
    looked, of_looks = gradient.variables(trained)
    data |= looked
    for kind in ("activations", "weights"):
        data[f"parameters_of_{kind}"] = ("combination", [getattr(size, kind) for size in sizes])
    coords: dict[str, Any] = {
        "combination": list(map(name_of, trained)),
        "seed": np.arange(protocol.trials, dtype=np.int64) + protocol.first_seed,
        "test_step": [*range(0, protocol.iterations, protocol.test_every), protocol.iterations],
        "train_step": [0, protocol.iterations],
        "step": np.arange(protocol.iterations),
        "layer": list(LAYERS),
        **of_looks,
    }
    if dense_only:
        coords["dense_only"] = list(dense_only)
        data["dense_only_test_loss"] = (
            ("dense_only", "seed", "test_step"),
            np.stack([t["test.loss"].values for t in dense_only.values()]),
            {"description": "as test_loss, of the network without convolutions [A, Fig. 11]"},
        )
    records = xr.Dataset(
        data,
        coords=coords,
        attrs={
            "description": "the convolutional networks of [A, section 4]",
            "source": images.source,
            "synthetic": int(images.synthetic),
        },
    )
    return records.merge(best(records["test_loss"]))


def best(losses: xr.DataArray) -> xr.Dataset:
    """The smallest finite loss of every trial, and the first iteration at which it was scored; NaN if there is none.

    Args:
      losses: with a dim test_step.

    Returns:
      best_loss and best_iteration, without that dim.
    """
    finite = xr.apply_ufunc(np.isfinite, losses)
    some = finite.any("test_step")
    at = losses.where(finite, np.inf).argmin("test_step")
    iteration = losses["test_step"].astype(np.float64).isel(test_step=at).drop_vars("test_step")
    return xr.Dataset(
        {
            "best_loss": losses.isel(test_step=at).drop_vars("test_step").where(some),
            "best_iteration": iteration.where(some),
        }
    )
