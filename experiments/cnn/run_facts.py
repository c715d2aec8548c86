"""What every table and figure of a run of the convolutional networks has to say about the run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.problems.cnn.protocol import Protocol
from experiments.problems.digits import is_synthetic
from experiments.study.run_directory import Run
from paramact_jax.papers import kong2020

PUBLISHED = {f"{row.conv}/{row.dense}": row for row in kong2020.TABLE_1}
"""The rows of [A, Table 1], by the name of their combination in the records."""


def label(combination: str) -> str:
    """As the paper prints it.

    Examples:
      >>> label("parametric_relu/ppns")
      'Agile ReLU / ppns'
    """
    return " / ".join(kong2020.LABELS.get(name, name) for name in combination.split("/"))


def combinations(run: Run) -> list[str]:
    """The run's, in the order of [A, Table 1]; those that are not in it last."""
    names = [str(name) for name in run.records["combination"].values]
    return [*(name for name in PUBLISHED if name in names), *(name for name in names if name not in PUBLISHED)]


def why_not_compared(run: Run) -> str | None:
    """Why this run's smallest losses cannot stand beside the published ones; None if they can."""
    if is_synthetic(run):
        return "the images are not MNIST's"
    if (iterations := run.manifest["config"]["iterations"]) < Protocol.iterations:
        return f"the run ends at {iterations:,} iterations, before the {Protocol.iterations:,} of the protocol"
    return None


def conditions(run: Run) -> str:
    """Conditions, data and seeds in a sentence or two."""
    config, seeds = run.manifest["config"], run.records["seed"].values
    which = f"Seeds {seeds.min()} to {seeds.max()}" if len(seeds) > 1 else f"Seed {seeds[0]} alone"
    start = "1.5 over the steepest slope" if config["initial_a"] is None else f"{config['initial_a']:g}"
    sharing = config["sharing"] if isinstance(config["sharing"], str) else " or ".join(config["sharing"])
    return (
        f"{which}: {config['training_images']:,} training images (draw {config['subset_seed']}, the same for all), "
        f"batches of {config['batch_size']}, gradient descent, learning rate {config['learning_rate']:g} "
        f"({config['activation_learning_rate']:g} for a and b), filters {config['kernel_size']} x "
        f"{config['kernel_size']}, {config['padding']} padding, {config['pooling']} pooling {config['pool_size']} x "
        f"{config['pool_size']}, weights of deviation {config['weight_scale']:.4g}/sqrt(fan_in), a starts at {start}"
        f", a and b for each {sharing}; {config['iterations']:,} iterations, scored every "
        f"{config['test_every']}. Images: {run.records.attrs['source']}."
    )


def diverged(run: Run) -> str:
    """One sentence on the trainings with losses that are not finite; empty if there are none."""
    bad = ~xr.apply_ufunc(np.isfinite, run.records["test_loss"]).all("test_step")
    found = [
        f"{int(bad.sel(combination=name).sum())} of {bad.sel(combination=name).size} of {label(name)}"
        for name in combinations(run)
        if bad.sel(combination=name).any()
    ]
    return f" Trainings with losses that are not finite, left out where they are: {', '.join(found)}." * bool(found)


def about_seeds(run: Run) -> str:
    """One sentence where there is but one seed; else empty."""
    return " One seed has no interval." if run.records.sizes["seed"] == 1 else ""
