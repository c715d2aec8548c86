"""What changes the gradient on its way back through a convolutional network, before and after its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.cnn.run_facts import combinations, conditions, label
from experiments.problems.cnn.networks import LAYERS
from experiments.problems.digits import titled
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from paramact_jax.gradients import Kind, attribute
from paramact_jax.networks import Params
from paramact_jax.training import cross_entropy

LOOKED_AT = 100
"""The first of the training images: those that a network is looked at with."""
WHEN = ("before", "after")
_KINDS = tuple(kind.value for kind in Kind)
_SHARE = "gradient_share"
_VARIABLES: dict[str, tuple[str, str]] = {
    "share": ("kind", "share of the log of ||dL/d image|| / ||dL/d output|| of operations of one kind"),
    "saturated": ("layer", "share of |dz/dy| < 0.01 of the layer's activation"),
    "dead": ("layer", "share of the layer's channels or nodes with slope 0 at all images and places"),
}


def look(
    network: Callable[[Params, jax.Array], jax.Array], params: Params, images: jax.Array, labels: jax.Array
) -> dict[str, jax.Array]:
    """Returns what a network does to the gradient of its loss on the first training images, see `_VARIABLES`."""
    found = attribute(
        network, params, images[:LOOKED_AT], loss=lambda outputs: cross_entropy(outputs, labels[:LOOKED_AT])
    )
    shares = found.by_kind()
    units = found.units if len(found.activations) == len(LAYERS) else None
    unknown = jnp.full(len(LAYERS), jnp.nan)
    return {
        "share": jnp.stack([shares.get(kind, jnp.zeros_like(found.total)) for kind in Kind]),
        "saturated": unknown if units is None else units.saturated,
        "dead": unknown if units is None else units.dead,
    }


def variables(trained: Mapping[Any, xr.Dataset]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the data variables "gradient_..." of the records, and their coordinates; none if nobody looked.

    Args:
      trained: what `train` returned, by combination.
    """
    if not all("gradient.after.share" in t for t in trained.values()):
        return {}, {}
    data = {
        f"gradient_{name}": (
            ("combination", "seed", "when", dim),
            np.stack(
                [np.stack([t[f"gradient.{when}.{name}"].values for when in WHEN], axis=1) for t in trained.values()]
            ),
            {"description": description},
        )
        for name, (dim, description) in _VARIABLES.items()
    }
    return data, {"when": list(WHEN), "kind": list(_KINDS)}


def table(run: Run) -> Table | None:
    """The change of the gradient by kind of operation; None for records of runs that did not look."""
    if _SHARE not in run.records:
        return None
    decades = run.records[_SHARE].median("seed") / np.log(10)
    kinds = [kind for kind in decades["kind"].values if float(abs(decades.sel(kind=kind)).max()) >= 0.005]
    rows = []
    for name in combinations(run):
        for when in WHEN:
            cell = {"combination": name, "when": when}
            units = (run.records[f"gradient_{state}"].sel(cell).mean("seed").values for state in ("saturated", "dead"))
            rows.append(
                [
                    *(
                        label(name),
                        when,
                        f"{float((run.records[_SHARE].sel(cell).sum('kind') / np.log(10)).median()):.2f}",
                    ),
                    *(f"{float(decades.sel(cell).sel(kind=kind)):.2f}" for kind in kinds),
                    *(" ".join(f"{share:.0%}" if np.isfinite(share) else "-" for share in own) for own in units),
                ]
            )
    return Table(
        title=titled(run, "What changes the gradient from the output to the image"),
        columns=["convolutional / dense", "training", "decades", *map(str, kinds), "saturated", "dead"],
        rows=rows,
        note=(
            f"{conditions(run)} log10 of ||dL/d image|| / ||dL/d output|| on {LOOKED_AT} training images, and the "
            f"share of each kind of operation in it; medians over the seeds. It falls where a number is negative. "
            f"Saturated: slopes below 0.01; dead: channels or nodes with slope 0 everywhere; by layer, "
            f"{', '.join(LAYERS)}; means over the seeds."
        ),
        left=("training", "saturated", "dead"),
    )
