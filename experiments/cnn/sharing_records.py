"""The labelled records of a comparison of what shares an a and a b."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from experiments.problems.cnn.images import Images
from experiments.problems.cnn.protocol import Combination, Protocol, Sharing
from experiments.problems.cnn.records import to_dataset as of_one

_KEPT = ("test_loss", "test_accuracy", "best_loss", "best_iteration", "parameters_of_activations")


def to_dataset(
    protocols: Mapping[Sharing, Protocol],
    trained: Mapping[tuple[Sharing, Combination], xr.Dataset],
    images: Images,
    *,
    seconds_per_step: np.ndarray,
) -> xr.Dataset:
    """One row per sharing, combination and seed.

    Args:
      protocols: the conditions, by sharing.
      trained: what `train` returned.
      images: that were used.
      seconds_per_step: (networks, rounds), in the order of `trained`.
    """
    parts = []
    for sharing, protocol in protocols.items():
        own = {pair: results for (which, pair), results in trained.items() if which == sharing}
        part = of_one(protocol, own, images, dense_only={})
        parts.append(part[list(_KEPT)].drop_vars(["step", "layer", "train_step"], errors="ignore"))
    records = xr.concat(parts, xr.DataArray(list(protocols), dims="sharing", name="sharing"))
    rounds = seconds_per_step.reshape(len(protocols), -1, seconds_per_step.shape[-1])
    records["seconds_per_step"] = (
        ("sharing", "combination", "timing"),
        rounds,
        {"description": "wall-clock seconds of one step of one trial, without scores, measured in turns afterwards"},
    )
    return records.assign_attrs(parts[0].attrs)
