"""Train all networks of one activation, at every learning rate, and label what was seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from experiments.digits import images_of
from experiments.relu_family.design import CLASSES, Conditions
from experiments.relu_family.watch import Watch
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import Digits
from paramact_jax.networks import MLP, forward, params_of
from paramact_jax.sweeps import Progress, Training, long_sweep
from paramact_jax.training import Classifier, Minibatches, Schedule

_SCORES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
}
_HELD_OUT = {"held_out_loss": ("held_out.loss", "the same over the training images kept back, after the last step")}
_SEEN = {
    "steepest": ("seen.steepest", "largest |dz/dy| of the unit over the probe images; 0: it is dead"),
    "high": ("seen.high", "whether the unit's value is above 0 for some probe image"),
}


def model(activation: Activation, conditions: Conditions, key: jax.Array, *, in_features: int) -> MLP:
    """The network with its initial params: weights N(0, gain^2 / fan_in), the same under every activation."""

    def kernel_init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        return conditions.gain / shape[0] ** 0.5 * jax.random.normal(key, shape, dtype)

    hidden = [conditions.width] * conditions.layers
    return MLP(in_features, hidden, CLASSES, activation, kernel_init=kernel_init, rngs=nnx.Rngs(params=key))


@functools.lru_cache(maxsize=64)
def watch(activation: str, conditions: Conditions, images: int, in_features: int) -> Watch:
    """The training of one network, as pure functions.

    Args:
      activation: name.
      conditions: of the training.
      images: to train with.
      in_features: pixels of an image.
    """
    record = catalogue.get(activation)
    classifier = Classifier(
        network=lambda params, inputs: forward(params, inputs, record),
        initial=lambda key: params_of(model(record, conditions, key, in_features=in_features)),
        batches=Minibatches(images, conditions.batch),
        schedule=Schedule(conditions.steps, conditions.test_every, conditions.steps),
    )
    return Watch(classifier, record, len(conditions.looks), conditions.look_every)


def train(
    activation: str,
    conditions: Conditions,
    digits: Digits,
    held_out: Mapping[str, Any],
    *,
    directory: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> xr.Dataset:
    """All seeds at all learning rates.

    Args:
      activation: name.
      conditions: of the training, already checked.
      digits: flattened images.
      held_out: training images kept back, see `experiments.digits.hold_out`.
      directory: where to go on from after an interruption, see `long_sweep`.
      on_progress: see `long_sweep`.
    """
    functions = watch(activation, conditions, *digits.train_images.shape)
    return long_sweep(
        Training(functions.init, functions.step, functions.summarise),
        range(conditions.first_seed, conditions.first_seed + conditions.seeds),
        iterations=conditions.steps,
        axes={"learning_rate": conditions.learning_rates},
        block=1,
        directory=directory,
        on_progress=on_progress,
        **images_of(digits),
        **held_out,
        probe_images=digits.train_images[: conditions.probes],
    )


def to_dataset(conditions: Conditions, trained: Mapping[str, xr.Dataset], digits: Digits) -> xr.Dataset:
    """The labelled records of a run.

    Args:
      conditions: of the training.
      trained: by activation what `train` returned.
      digits: the images that were used, for what they are called.
    """
    trial = ("activation", "learning_rate", "seed")
    data: dict[str, Any] = {
        name: ((*trial, *dims), np.stack([of[key].values for of in trained.values()]), {"description": description})
        for variables, dims in ((_SCORES, ("test_step",)), (_HELD_OUT, ()), (_SEEN, ("look", "layer", "node")))
        for name, (key, description) in variables.items()
    }
    return xr.Dataset(
        data,
        coords={
            "activation": list(trained),
            "learning_rate": list(conditions.learning_rates),
            "seed": np.arange(conditions.seeds, dtype=np.int64) + conditions.first_seed,
            "test_step": Schedule(conditions.steps, conditions.test_every, conditions.steps).test_steps,
            "look": conditions.looks,
            "layer": np.arange(1, conditions.layers + 1),
            "node": np.arange(1, conditions.width + 1),
        },
        attrs={
            "source": digits.source,
            "synthetic": int(digits.synthetic),
            "choosing": conditions.choosing,
        },
    )
