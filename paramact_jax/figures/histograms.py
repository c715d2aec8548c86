"""How the values of each layer are distributed: the picture that [R] looks at before training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def layer_histograms(edges: np.ndarray, networks: Mapping[str, np.ndarray]) -> Figure:
    """One row of panels per network, one panel per layer: share of the values in every bin.

    Values outside the edges and values that are no numbers are written into the panel, as a share.

    Args:
      edges: (bins + 1,).
      networks: title -> counts (layers, bins + 3) as `gradients.units.histogram` returns them; as many layers in each.

    Raises:
      ValueError: if there is nothing to draw, or the counts do not belong to the edges.
    """
    shapes = {counts.shape for counts in networks.values()}
    if len(shapes) != 1 or next(iter(shapes))[1:] != (len(edges) + 2,):
        raise ValueError(
            f"expected networks with counts of shape (layers, {len(edges) + 2}), one for all, got {sorted(shapes)}"
        )
    ((layers, _),) = shapes
    figure = Figure(figsize=(1.35 * layers + 0.8, 1.45 * len(networks) + 0.4), dpi=130, layout="constrained")
    panels = figure.subplots(len(networks), layers, squeeze=False, sharex=True)
    for row, (title, counts) in zip(panels, networks.items(), strict=True):
        for axes, of_layer in zip(row, counts, strict=True):
            below, *inside, above, not_numbers = of_layer / max(of_layer.sum(), 1)
            axes.stairs(inside, edges, fill=True, color="C0")
            if (lost := below + above + not_numbers) > 0:
                axes.set_title(f"{lost:.2g} outside", fontsize=6, color="C3", loc="right", pad=2)
            axes.set_yticks([])
            axes.tick_params(labelsize=6)
            axes.spines[["top", "right", "left"]].set_visible(False)
        row[0].set_ylabel(title, fontsize=7)
    for i, axes in enumerate(panels[-1]):
        axes.set_xlabel(f"layer {i + 1}", fontsize=7)
    return figure
