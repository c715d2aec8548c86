"""Draws the distribution of the values of each layer; [R] looks at this picture before training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def layer_histograms(edges: np.ndarray, networks: Mapping[str, np.ndarray]) -> Figure:
    """Draws one row of panels per network and one panel per layer, with the share of the values in every bin.

    The share of values that lie outside the edges or are not numbers is written above the panel.

    Args:
      edges: ends of the bins, (bins + 1,).
      networks: title -> counts (layers, bins + 3) of `gradients.units.histogram`; all have the same number of layers.

    Raises:
      ValueError: if there is nothing to draw, or the counts do not fit the edges.
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
