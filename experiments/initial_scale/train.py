"""Train the networks of one activation from every scale at once, and look at them before training."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from experiments.initial_scale.protocol import BATCH, CLASSES, HIDDEN_LAYERS, PIXELS, Protocol, deviations
from experiments.problems.digits import images_of
from experiments.study.progress import SweepProgress
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import Digits
from paramact_jax.gradients import attribute
from paramact_jax.gradients.units import histogram
from paramact_jax.networks import MLP, Params, forward, forward_with_values, params_of, with_params
from paramact_jax.sweeps import Training, long_sweep, sweep
from paramact_jax.training import Classifier, Minibatches, cross_entropy
from paramact_jax.training.classifier import Data, State

LOOKED_AT = 1_000
"""Training images that the networks are looked at with before training."""
BINS = 40
_SCORES = {
    "test_loss": ("test.loss", "mean cross-entropy over all test images after so many steps"),
    "test_accuracy": ("test.accuracy", "share of all test images whose digit has the largest output"),
    "train_accuracy": ("train.accuracy", "share of all training images whose digit has the largest output"),
}
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
def classifier(activation: str, width: int, steps: int, every: int, images: int) -> Classifier:
    """The training of one network, from weights N(0, 1)."""
    record = catalogue.get(activation)
    return Classifier(
        network=lambda params, inputs: forward(params, inputs, record),
        initial=lambda key: params_of(model(activation, width, key)),
        batches=Minibatches(images, BATCH, "independent"),
        steps=steps,
        scores={"test": every, "train": every},
    )


def train(
    activations: Sequence[str],
    protocol: Protocol,
    digits: Digits,
    *,
    what: str,
    scales: Sequence[str],
    rates: Sequence[float],
    steps: int,
    directory: Path | None = None,
) -> xr.Dataset:
    """Train all seeds of all activations from all scales at all learning rates.

    Args:
      activations: names.
      protocol: the other conditions, already checked.
      digits: flattened images.
      what: is trained, for the progress on the terminal.
      scales: of the initial weights.
      rates: learning rates.
      steps: of gradient descent.
      directory: where to go on from after an interruption, see `long_sweep`.

    Returns:
      The scores, dims activation, scale, learning_rate, seed, step.
    """

    def training(activation: str) -> Training:
        whole = classifier(activation, protocol.width, steps, protocol.every, len(digits.train_labels))

        def init(key: jax.Array, deviations: jax.Array, data: Data) -> State:
            state = whole.init(key, data)
            return state._replace(params=scaled(state.params, deviations))

        return Training(init, whole.step, whole.summarise)

    with SweepProgress([f"{name}, {what}" for name in activations], steps) as progress:
        found = long_sweep(
            training,
            _seeds(protocol),
            iterations=steps,
            static_axes={"activation": activations},
            points={"deviations": _deviations(scales, protocol)},
            axes={"learning_rate": rates},
            chunk=len(scales) * len(rates) * protocol.seeds,
            block=1,
            directory=directory,
            on_plan=progress.planned,
            on_progress=progress.swept,
            data=images_of(digits),
        )
    found = _by_scale(found, scales)
    return xr.Dataset(
        {
            name: found[key].rename({f"{key}_dim_0": "step"}).assign_attrs(description=text)
            for name, (key, text) in _SCORES.items()
        },
        coords={"step": [*range(0, steps, protocol.every), steps]},
    )


def before(protocol: Protocol, digits: Digits) -> xr.Dataset:
    """The networks before training, on the first training images.

    Returns:
      With dims activation, scale, seed, ..., all but the last named `before_...`: `log_norm` of dL/dy^(l), l = 1 .. 5,
      and its `linear` and `activation` factors, see `gradients.Decay`; of the values z of every hidden layer the `size`
      (root mean square), the `spread` (root mean square over nodes of their standard deviation over images) and the
      `histogram`, whose bins' borders are `edge`.
    """
    # not traced within, which rounds otherwise
    edges = {name: histogram_edges(catalogue.get(name)) for name in protocol.activations}

    def look(
        key: jax.Array, activation: str, deviations: jax.Array, images: jax.Array, labels: jax.Array
    ) -> dict[str, jax.Array]:
        record = catalogue.get(activation)
        functions = classifier(activation, protocol.width, protocol.steps, protocol.every, len(digits.train_labels))
        params = scaled(functions.start(key)[0], deviations)
        network = with_params(model(activation, protocol.width, key), params)
        found = attribute(network, images, loss=lambda outputs: cross_entropy(outputs, labels))
        z = jnp.stack([record.fn(y, **record.params) for y in forward_with_values(params, images, record)[1]])
        return {
            "before_log_norm": found.decay.log_norm,
            "before_linear": found.decay.linear,
            "before_activation": found.decay.activation,
            "before_size": jnp.sqrt((z**2).mean((1, 2))),
            "before_spread": jnp.sqrt(z.var(1).mean(1)),
            "histogram": jnp.stack([histogram(layer, edges[activation]) for layer in z]),
        }

    found = sweep(
        look,
        _seeds(protocol),
        static_axes={"activation": protocol.activations},
        points={"deviations": _deviations(protocol.scales, protocol)},
        block=1,
        images=digits.train_images[:LOOKED_AT],
        labels=digits.train_labels[:LOOKED_AT],
    )
    return _by_scale(found, protocol.scales).assign(edge=(("activation", "bound"), np.array(list(edges.values()))))


def histogram_edges(record: Activation) -> jax.Array:
    """Edges of the bins: over the activation's range, cut off at 3 where that has no bound."""
    low, high = record.range
    return jnp.linspace(max(low, -_UNBOUNDED), min(high, _UNBOUNDED), BINS + 1)


def _deviations(scales: Sequence[str], protocol: Protocol) -> np.ndarray[Any, Any]:
    return np.array([deviations(scale, protocol.width) for scale in scales], np.float32)


def _by_scale(found: xr.Dataset, scales: Sequence[str]) -> xr.Dataset:
    return found.drop_vars("deviations").rename(point="scale").assign_coords(scale=list(scales))


def _seeds(protocol: Protocol) -> range:
    return range(protocol.first_seed, protocol.first_seed + protocol.seeds)
