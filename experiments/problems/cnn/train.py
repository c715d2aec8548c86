"""Train all trials of one network."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from experiments.problems.cnn import gradient
from experiments.problems.cnn.images import Images
from experiments.problems.cnn.networks import PIXELS, convolutional, dense_only, ranges, started
from experiments.problems.cnn.protocol import CLASSES, Combination, Protocol
from paramact_jax.activations import catalogue
from paramact_jax.networks import Params, forward, params_of
from paramact_jax.sweeps import Plan, Progress, Training, long_sweep, sweep, trial_key
from paramact_jax.sweeps.devices import check_mesh
from paramact_jax.training import Classifier, Minibatches, cross_entropy
from paramact_jax.training.classifier import Data, State

SCORED_AT_ONCE = 100
"""Images in one pass of a convolutional network that is scored: the maps of more do not fit into a CPU's caches."""
TRAINED_AT_ONCE = 20
"""Likewise in training, which keeps more of them: two cores that train 100 at once are no faster than one."""


def classifier(combination: Combination, protocol: Protocol, mesh: Mesh | None = None) -> Classifier:
    """The training of one convolutional network as pure functions, all its conditions but the traced ones.

    Every step notes the `ranges` of a and b before it.

    Args:
      combination: activations of the convolutional layers and of the dense one.
      protocol: the conditions, already checked.
      mesh: devices that it is for, see `long_sweep`.
    """
    # of shapes alone: a model with weights, kept here, would be part of the program, and one made where it is traced
    # takes longer to trace than the training
    blank = nnx.eval_shape(lambda: convolutional(combination, protocol, jax.random.key(0)))

    def network(params: Params, images: jax.Array) -> jax.Array:
        return blank.apply(params, images)

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

        parts = _parts(len(labels), mesh)
        if parts == 1:
            return of_part((images, labels)), ranges(params)
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (images, labels))
        total, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, params), split)
        return jax.tree.map(lambda x: x / parts, total), ranges(params)

    return Classifier(
        network=scored,
        initial=lambda key: params_of(convolutional(combination, protocol, key)),
        batches=Minibatches(protocol.training_images, protocol.batch_size),
        steps=protocol.iterations,
        scores=_scores(protocol),
        gradient=gradient,
    )


def _parts(batch: int, mesh: Mesh | None) -> int:
    """Into how many equal parts a batch is split, whose gradients are averaged; 1 where that would not be faster."""
    if check_mesh(mesh).devices.flat[0].platform != "cpu":
        return 1
    return next((batch // size for size in range(TRAINED_AT_ONCE, TRAINED_AT_ONCE // 2, -1) if batch % size == 0), 1)


def dense_classifier(activation: str, protocol: Protocol) -> Classifier:
    """The training of the network without convolutions [A, Fig. 11], on the same images."""
    record = catalogue.get(activation)
    return Classifier(
        network=lambda params, images: forward(params, images.reshape(len(images), PIXELS), record),
        initial=lambda key: params_of(dense_only(activation, key)),
        batches=Minibatches(protocol.training_images, protocol.batch_size),
        steps=protocol.iterations,
        scores=_scores(protocol),
    )


def training(functions: Classifier, *, looks: bool = False) -> Training:
    """The functions for `long_sweep`, the initial scales and both learning rates among their settings.

    NaN as `initial_a` leaves a at its own start, NaN as `activation_learning_rate` is the learning rate. With `looks`,
    the results tell what changes the gradient of the learned network, as "gradient".
    """

    def init(key: jax.Array, data: Data, weight_scale: ArrayLike, initial_a: ArrayLike) -> State:
        def initial(key: jax.Array) -> Params:
            return started(functions.initial(key), weight_scale, initial_a)

        return dataclasses.replace(functions, initial=initial).init(key, data)

    def step(
        state: State, iteration: jax.Array, data: Data, learning_rate: ArrayLike, activation_learning_rate: ArrayLike
    ) -> State:
        own = jnp.where(jnp.isnan(activation_learning_rate), learning_rate, activation_learning_rate)
        return functions.step(state, iteration, data, learning_rate, own, own)

    def summarise(state: State, data: Data) -> dict[str, Any]:
        found = functions.summarise(state, data)
        if not looks:
            return found
        seen = gradient.look(functions.network, state.params, data["train_images"], data["train_labels"])
        return {**found, "gradient": {"after": seen}}

    return Training(init, step, summarise)


def conditions(protocol: Protocol) -> dict[str, Any]:
    """The traced conditions, by the names that `training` has for them."""
    return {
        "learning_rate": protocol.learning_rate,
        "activation_learning_rate": protocol.activation_learning_rate,
        "weight_scale": protocol.weight_scale,
        "initial_a": math.nan if protocol.initial_a is None else protocol.initial_a,
    }


def train(
    functions: Classifier,
    protocol: Protocol,
    images: Images,
    *,
    looks: bool = False,
    directory: Path | None = None,
    mesh: Mesh | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> xr.Dataset:
    """Train all seeds of one network; see `Classifier.summarise` for what is returned.

    Args:
      functions: see `classifier` and `dense_classifier`.
      protocol: the conditions, already checked.
      images: to train and to score.
      looks: whether the results tell what changes the gradient before and after the training, see `gradient.look`.
      directory: where to go on from after an interruption, see `long_sweep`.
      mesh: devices to use, see `long_sweep`; those that `functions` are for.
      on_plan: called when something is compiled, with `looks` twice, see `long_sweep`.
      on_progress: see `long_sweep`.
    """
    three, settings = training(functions, looks=looks), {"data": images.settings(), **conditions(protocol)}
    seeds = range(protocol.first_seed, protocol.first_seed + protocol.trials)

    def start(key: jax.Array, data: Data, weight_scale: ArrayLike, initial_a: ArrayLike) -> dict[str, jax.Array]:
        params = three.init(key, data, weight_scale, initial_a).params
        return gradient.look(functions.network, params, data["train_images"], data["train_labels"])

    found = long_sweep(
        three,
        seeds,
        iterations=protocol.iterations,
        block=1,
        directory=directory,
        mesh=mesh,
        on_plan=on_plan,
        on_progress=on_progress,
        **settings,
    )
    if not looks:
        return found
    shared = ("data", "weight_scale", "initial_a")
    before = sweep(start, seeds, block=1, mesh=mesh, on_plan=on_plan, **{name: settings[name] for name in shared})
    return found.merge(before.rename({str(name): f"gradient.before.{name}" for name in before.data_vars}))


def seconds_per_step(
    networks: Iterable[Classifier], protocol: Protocol, images: Images, *, rounds: int = 5, steps: int = 20
) -> np.ndarray:
    """Wall-clock seconds of one training step of one trial, without scores: (networks, rounds), measured in turns."""
    settings = jax.tree.map(jnp.asarray, {"data": images.settings(), **conditions(protocol)})
    never = dict.fromkeys(("test", "train"), 2**31 - 1)
    prepared = []
    for functions in networks:
        three = training(dataclasses.replace(functions, steps=1 + (rounds + 1) * steps, scores=never))
        advance = jax.jit(functools.partial(_advance, three))
        starts = {name: settings[name] for name in ("data", "weight_scale", "initial_a")}
        state = three.init(trial_key(protocol.first_seed), **starts)
        # scores are due before step 0 alone: it belongs to the warm-up
        prepared.append((advance, jax.block_until_ready(advance(state, settings, 0, steps + 1))))
    seconds = np.empty((len(prepared), rounds))
    for i in range(rounds):
        for which, (advance, state) in enumerate(prepared):
            begin = time.perf_counter()
            jax.block_until_ready(advance(state, settings, 1 + steps, 1 + 2 * steps))
            seconds[which, i] = (time.perf_counter() - begin) / steps
    return seconds


def _advance(three: Training, state: Any, settings: dict[str, Any], begin: Any, end: Any) -> Any:
    shared = {name: x for name, x in settings.items() if name not in ("weight_scale", "initial_a")}
    return lax.fori_loop(begin, end, lambda i, state: three.step(state, i, **shared), state)


def _scores(protocol: Protocol) -> dict[str, int | None]:
    """The training set is scored before and after the training alone."""
    return {"test": protocol.test_every, "train": protocol.iterations}
