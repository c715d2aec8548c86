"""Train the networks of one activation from every scale at once, and look at them before training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from experiments.digits import images_of
from experiments.initial_scale.protocol import BATCH, CLASSES, HIDDEN_LAYERS, PIXELS, Protocol, deviations
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import Digits
from paramact_jax.gradients import attribute
from paramact_jax.gradients.units import histogram
from paramact_jax.networks import MLP, Params, forward, forward_with_values, params_of, with_params
from paramact_jax.sweeps import Progress, Training, long_sweep, sweep
from paramact_jax.training import Classifier, Minibatches, Schedule, cross_entropy
from paramact_jax.training.classifier import State

LOOKED_AT = 1_000
"""Training images that the networks are looked at with before training."""
BINS = 40
_UNBOUNDED = 3.0  # where the histogram ends of a function whose values have no bound


def model(activation: str, width: int, key: jax.Array) -> MLP:
    """The network as an ordinary Flax model, with weights N(0, 1), which do not depend on the activation."""
    return MLP(
        PIXELS,
        [width] * HIDDEN_LAYERS,
        CLASSES,
        activation,
        kernel_init=jax.nn.initializers.normal(1.0),
        rngs=nnx.Rngs(params=key),
    )


def scaled(params: Params, deviations: jax.Array) -> Params:
    """The same params with the kernel of layer l multiplied by deviations[l - 1]."""
    hidden = {
        i: layer | {"linear": layer["linear"] | {"kernel": deviations[i] * layer["linear"]["kernel"]}}
        for i, layer in params["hidden"].items()
    }
    out = params["out"] | {"kernel": deviations[HIDDEN_LAYERS] * params["out"]["kernel"]}
    return params | {"hidden": hidden, "out": out}


@functools.lru_cache(maxsize=64)
def training(activation: str, width: int, schedule: Schedule, images: int) -> tuple[Training, Classifier]:
    """The training of one network, with `scale` an index into the setting `deviations` (scales, layers)."""
    record = catalogue.get(activation)
    functions = Classifier(
        network=lambda params, inputs: forward(params, inputs, record),
        initial=lambda key: params_of(model(activation, width, key)),
        batches=Minibatches(images, BATCH, "independent"),
        schedule=schedule,
    )

    def init(
        key: jax.Array, train_images: jax.Array, train_labels: jax.Array, deviations: jax.Array, scale: jax.Array
    ) -> State:
        state = functions.init(key, train_images, train_labels)
        return state._replace(params=scaled(state.params, deviations[scale]))

    return Training(init, functions.step, functions.summarise), functions


def train(
    activation: str,
    protocol: Protocol,
    digits: Digits,
    *,
    scales: Sequence[str],
    rates: Sequence[float],
    steps: int,
    directory: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> xr.Dataset:
    """Train all seeds from all scales at all learning rates: see `Classifier.summarise` for what is returned.

    Args:
      activation: name.
      protocol: the other conditions, already checked.
      digits: flattened images.
      scales: some of the protocol's.
      rates: learning rates.
      steps: of gradient descent.
      directory: where to go on from after an interruption, see `long_sweep`.
      on_progress: see `long_sweep`.

    Returns:
      With dims scale (positions in `protocol.all_scales`), learning_rate, seed, ...
    """
    schedule = Schedule(steps, protocol.every, protocol.every)
    functions, _ = training(activation, protocol.width, schedule, len(digits.train_labels))
    return long_sweep(
        functions,
        _seeds(protocol),
        iterations=steps,
        axes={"scale": _positions(protocol, scales), "learning_rate": rates},
        block=1,
        directory=directory,
        on_progress=on_progress,
        deviations=_deviations(protocol),
        **images_of(digits),
    )


def before(activation: str, protocol: Protocol, digits: Digits) -> dict[str, np.ndarray]:
    """The networks before training, on the first training images.

    Returns:
      Arrays (scales, seeds, ...): `log_norm` of dL/dy^(l), l = 1 .. 5, and its `linear` and `activation` factors, see
      `gradients.Decay`; of the values z of every hidden layer the `size` (root mean square) and the `spread` (root mean
      square over nodes of their standard deviation over images); `histograms` of z, with `edges` (bins + 1,).
    """
    schedule = Schedule(protocol.steps, protocol.every, protocol.every)
    results = sweep(
        _look(activation, protocol.width, schedule, len(digits.train_labels)),
        _seeds(protocol),
        axes={"scale": _positions(protocol, protocol.scales)},
        block=1,
        images=digits.train_images[:LOOKED_AT],
        labels=digits.train_labels[:LOOKED_AT],
        deviations=_deviations(protocol),
    )
    edges = np.asarray(histogram_edges(catalogue.get(activation)))
    return {str(name): values.values for name, values in results.items()} | {"edges": edges}


def histogram_edges(record: Activation) -> jax.Array:
    """Edges of the bins: over the activation's range, cut off at 3 where that has no bound."""
    low, high = record.range
    return jnp.linspace(max(low, -_UNBOUNDED), min(high, _UNBOUNDED), BINS + 1)


@functools.lru_cache(maxsize=64)
def _look(activation: str, width: int, schedule: Schedule, images: int) -> Callable[..., dict[str, jax.Array]]:
    record = catalogue.get(activation)
    edges = histogram_edges(record)
    _, functions = training(activation, width, schedule, images)
    blank = model(activation, width, jax.random.key(0))

    def look(
        key: jax.Array, images: jax.Array, labels: jax.Array, deviations: jax.Array, scale: jax.Array
    ) -> dict[str, jax.Array]:
        params = scaled(functions.start(key)[0], deviations[scale])
        found = attribute(with_params(blank, params), images, loss=lambda outputs: cross_entropy(outputs, labels))
        z = jnp.stack([record.fn(y, **record.params) for y in forward_with_values(params, images, record)[1]])
        return {
            "log_norm": found.decay.log_norm,
            "linear": found.decay.linear,
            "activation": found.decay.activation,
            "size": jnp.sqrt((z**2).mean((1, 2))),
            "spread": jnp.sqrt(z.var(1).mean(1)),
            "histograms": jnp.stack([histogram(layer, edges) for layer in z]),
        }

    return look


def _deviations(protocol: Protocol) -> np.ndarray[Any, Any]:
    """Of all scales (scales, layers), so that sweeps over some of them share a program."""
    return np.array([deviations(scale, protocol.width) for scale in protocol.all_scales], np.float32)


def _positions(protocol: Protocol, scales: Sequence[str]) -> list[int]:
    return [protocol.all_scales.index(scale) for scale in scales]


def _seeds(protocol: Protocol) -> range:
    return range(protocol.first_seed, protocol.first_seed + protocol.seeds)
