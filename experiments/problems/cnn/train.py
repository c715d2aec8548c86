"""Trains the networks of [A, section 4], and makes the records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx
from jax import lax

from experiments.problems.cnn.networks import PIXELS, convolutional, dense_only, ranges, started
from experiments.problems.cnn.protocol import CLASSES, Conditions, Protocol, combinations, label
from experiments.problems.digits import source_of
from experiments.study.run_directory import Run
from experiments.study.study import Variable, described
from paramact_jax.activations import catalogue
from paramact_jax.datasets import Digits
from paramact_jax.networks import Params, forward, params_of
from paramact_jax.training import Classifier, Minibatches, cross_entropy, marks

SCORED_AT_ONCE = 100
"""Images in one pass when a convolutional network is scored: the maps of more do not fit into a CPU's caches."""
TRAINED_AT_ONCE = 20
"""The same in training, which keeps more maps: two cores that train 100 at once are no faster than one."""
SCORES = {
    "test_loss": Variable("test.loss", "mean cross-entropy over all test images after so many steps", ("test_step",)),
    "test_accuracy": Variable("test.accuracy", "share of them whose digit has the largest output", ("test_step",)),
}
PATHS = {
    "train_loss": Variable("train.loss", "mean cross-entropy over all training images", ("train_step",)),
    **{
        f"{name}_{which}": Variable(
            f"notes.{name}_{which}",
            f"{which} {name} of a layer before the step; NaN where its activation has none",
            ("step", "layer"),
        )
        for name in ("a", "b")
        for which in ("smallest", "largest")
    },
}


def classifier(combination: str, protocol: Protocol) -> Classifier:
    """Makes the training of one convolutional network on images (n, 28, 28); `conditions` are its settings.

    Every step notes the `ranges` of a and b before it.

    Args:
      combination: activations of the convolutional layers / of the dense layer.
      protocol: the conditions, already checked.
    """
    # a model of shapes alone: weights would become part of the program, and a model made during tracing takes longer
    # to trace than the training
    blank = nnx.eval_shape(lambda: convolutional(combination, protocol, jax.random.key(0)))

    def network(params: Params, images: jax.Array) -> jax.Array:
        return blank.apply(params, images[..., None])

    def scored(params: Params, images: jax.Array) -> jax.Array:
        if len(images) <= SCORED_AT_ONCE:
            return network(params, images)
        whole = len(images) // SCORED_AT_ONCE * SCORED_AT_ONCE
        parts = images[:whole].reshape(-1, SCORED_AT_ONCE, *images.shape[1:])
        outputs = lax.map(lambda part: network(params, part), parts).reshape(whole, CLASSES)
        return jnp.concatenate([outputs, network(params, images[whole:])]) if whole < len(images) else outputs

    def gradient(params: Params, images: jax.Array, labels: jax.Array) -> tuple[Params, dict[str, jax.Array]]:
        def of_part(part: tuple[jax.Array, jax.Array]) -> Params:
            return jax.grad(lambda params: cross_entropy(network(params, part[0]), part[1]))(params)

        def add(total: Params, part: tuple[jax.Array, jax.Array]) -> tuple[Params, None]:
            return jax.tree.map(jnp.add, total, of_part(part)), None

        parts = _parts(len(labels))
        if parts == 1:
            return of_part((images, labels)), ranges(params)
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (images, labels))
        total, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, params), split)
        return jax.tree.map(lambda x: x / parts, total), ranges(params)

    return Classifier(
        network=scored,
        initial=lambda key, weight_scale, initial_a: started(
            params_of(convolutional(combination, protocol, key)), weight_scale, initial_a
        ),
        batches=Minibatches(protocol.training_images, protocol.batch),
        steps=protocol.steps,
        # the training set is scored before and after the training alone
        scores={"test": protocol.test_every, "train": protocol.steps},
        gradient=gradient,
    )


def _parts(batch: int) -> int:
    """Returns into how many equal parts a batch is split to average their gradients; 1 where that is not faster."""
    if jax.default_backend() != "cpu":
        return 1
    return next((batch // size for size in range(TRAINED_AT_ONCE, TRAINED_AT_ONCE // 2, -1) if batch % size == 0), 1)


def dense_classifier(activation: str, conditions: Conditions) -> Classifier:
    """Makes the training of the network without convolutions [A, Fig. 11], on the same images."""
    record = catalogue.get(activation)
    return Classifier(
        network=lambda params, images: forward(params, images.reshape(len(images), PIXELS), record),
        initial=lambda key, weight_scale, initial_a: started(
            params_of(dense_only(activation, key)), weight_scale, initial_a
        ),
        batches=Minibatches(conditions.training_images, conditions.batch),
        steps=conditions.steps,
        scores={"test": conditions.test_every, "train": conditions.steps},
    )


def conditions(protocol: Conditions) -> dict[str, Any]:
    """Returns the traced settings of a training other than `data`."""
    rate = protocol.resolved().activation_learning_rate
    return {
        "learning_rate": protocol.learning_rate,
        "learning_rate_a": rate,
        "learning_rate_b": rate,
        "weight_scale": protocol.weight_scale,
        "initial_a": math.nan if protocol.initial_a is None else protocol.initial_a,
    }


def records_of(
    found: xr.Dataset, variables: Mapping[str, Variable], protocol: Conditions, digits: Digits, **coords: Any
) -> xr.Dataset:
    """Makes the records of a sweep over trainings, with the smallest losses; `coords` as in `described`."""
    coords["test_step"] = marks(protocol.steps, protocol.test_every)
    records = described(found, variables, coords, source_of(digits))
    return records.merge(best(records["test_loss"]))


def best(losses: xr.DataArray) -> xr.Dataset:
    """Returns the smallest finite loss of every trial, and the first step at which it was scored; NaN if there is none.

    Args:
      losses: losses with a dim test_step.

    Returns:
      best_loss and best_iteration, without that dim.
    """
    finite = xr.apply_ufunc(np.isfinite, losses)
    at = losses.where(finite, np.inf).argmin("test_step")
    found = {"best_loss": losses, "best_iteration": losses["test_step"].astype(np.float64)}
    some = finite.any("test_step")
    return xr.Dataset({k: x.isel(test_step=at).drop_vars("test_step").where(some) for k, x in found.items()})


def remarks(run: Run) -> str:
    """Says what a reader must know of the seeds: whether there is only one, and which losses are not finite."""
    bad = ~xr.apply_ufunc(np.isfinite, run.records["test_loss"]).all("test_step")
    each = [(name, bad.sel(combination=name)) for name in combinations(run)]
    found = ", ".join(f"{int(own.sum())} of {own.size} of {label(name)}" for name, own in each if own.any())
    text = " One seed has no interval." if run.records.sizes["seed"] == 1 else ""
    return text + (f" Trainings with losses that are not finite, left out where they are: {found}." if found else "")


def shown(run: Run) -> str:
    """Says what the curves and bands are."""
    seeds = run.records.sizes["seed"]
    return f"mean of {seeds} seeds, 95 % interval shaded" if seeds > 1 else "one seed"
