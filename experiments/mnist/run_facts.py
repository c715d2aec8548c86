"""What every table and figure of an MNIST run has to say about the run, and in which order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from experiments.problems.digits import is_synthetic
from experiments.problems.mnist.protocol import HIDDEN_LAYERS, PROTOCOLS, WIDTH
from experiments.study.run_directory import Run
from paramact_jax.papers import ko2021

_LABELS = {row.activation: row.label for row in ko2021.TABLE_7}

_STATED = {
    name: getattr(PROTOCOLS["literal"], name)
    for name in ("batch", "optimiser", "learning_rate", "learning_rate_a", "learning_rate_b", "initial_a")
}
"""What [P, Tables 7 and 8] leave no doubt about."""


def label(activation: str) -> str:
    """As the paper prints it."""
    return _LABELS.get(activation, activation)


def activations(run: Run) -> list[str]:
    """The run's, in the order of [P, Table 6]; those that are not in it last."""
    names = [str(name) for name in run.records["activation"].values]
    return [*(name for name in _LABELS if name in names), *(name for name in names if name not in _LABELS)]


def conditions(run: Run) -> str:
    """Protocol, data and seeds in one sentence."""
    config, seeds = run.manifest["config"], run.records["seed"].values
    started = f", a started at {config['initial_a']:g}" if config.get("initial_a") is not None else ""
    which = f"seeds {seeds.min()} to {seeds.max()}" if len(seeds) > 1 else f"seed {seeds[0]} alone"
    return (
        f"Protocol {config['protocol']}, {which}: initial weights {config['initial']}, {config['batches']} batches of "
        f"{config['batch']}, {config['optimiser']}, learning rate {config['learning_rate']} "
        f"({config['learning_rate_a']} for a, {config['learning_rate_b']} for b), {config['steps']:,} steps{started}; "
        f"images: {run.records.attrs['source']}."
    )


def diverged(run: Run, variables: Iterable[str]) -> str:
    """One sentence on the trainings with values that are not finite; empty if there are none."""
    found = []
    for name in activations(run):
        trainings = np.zeros(run.records.sizes["seed"], bool)
        for variable in variables:
            values = run.records[variable].sel(activation=name).transpose("seed", ...).values
            trainings |= ~np.isfinite(values.reshape(len(trainings), -1)).all(axis=1)
        if trainings.any():
            found.append(f"{trainings.sum()} of {len(trainings)} of {label(name)}")
    return f" Trainings with values that are not finite, which are left out where they are: {', '.join(found)}." * bool(
        found
    )


def final_losses(run: Run) -> dict[str, float]:
    """The published test losses that this run's can be compared with: none after another training."""
    config = run.manifest["config"]
    if is_synthetic(run) or any(config.get(name, value) != value for name, value in _STATED.items()):
        return {}
    return {row.activation: row.loss for row in ko2021.MNIST_FINAL_LOSS if row.steps == config["steps"]}


def slope_counts(run: Run) -> dict[str, int]:
    """The published counts that this run's can be compared with."""
    if is_synthetic(run) or run.manifest["config"].get("initial_a") is not None:
        return {}
    return {row.activation: row.count for row in ko2021.FIG_14 if row.slopes == slopes_counted(run)}


def slopes_counted(run: Run) -> int:
    """Number of slopes that are counted: layers x nodes x images of the first minibatch."""
    return HIDDEN_LAYERS * WIDTH * int(run.manifest["config"]["batch"])


def about_seeds(run: Run) -> str:
    """One sentence where there is but one seed; else empty."""
    return " One seed has no interval and no standard deviation." if run.records.sizes["seed"] == 1 else ""
