"""Random networks of every depth at once, and what reaches their first layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax

from paramact_jax.activations import Activation, catalogue
from paramact_jax.gradients import mean_field
from paramact_jax.gradients.scaling import normalised
from paramact_jax.sweeps import sweep

_Rows = tuple[jax.Array, jax.Array, jax.Array]
_Layer = tuple[jax.Array, jax.Array, jax.Array, jax.Array]

_VARIABLES = {
    "log_gradient": "log ||dL/dy^(1)||, where dL/dy^(out) = 1",
    "log_linear": "part of log_gradient that is due to the linear factors dy/dz (type 1)",
    "log_activation": "part of log_gradient that is due to the activations' factors dz/dy (type 2)",
    "variance": "mean square of the nodes of y^(depth)",
}


def random_network(activation: Activation, *, width: int, depth: int) -> Callable[..., dict[str, jax.Array]]:
    """The function `(key, gain) -> results` of one random network, at every depth 1 .. `depth`.

    `depth` hidden layers of `width` nodes, weights N(0, gain^2 / width), no biases, one input N(0, 1)^width. The
    network of depth k is the first k layers and a linear output of its own, with weights of the same distribution. All
    are differentiated in one pass from the last layer to the first: a row for each depth, which joins where its output
    is. Rows are kept at norm 1 and their logarithms added.

    Returns:
      For each depth, arrays (depth,): see `_VARIABLES`.
    """

    def results(key: jax.Array, gain: jax.Array) -> dict[str, jax.Array]:
        input_key, out_key, layer_key = jax.random.split(key, 3)
        scale = gain / width**0.5
        kernels = scale * jax.random.normal(layer_key, (depth, width, width))
        outs = scale * jax.random.normal(out_key, (depth, width))

        def forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            y = z @ kernel
            z = activation.fn(y, **activation.params)
            return z, (activation.derivative(y, **activation.params), jnp.mean(y**2))

        _, (slopes, variance) = lax.scan(forward, jax.random.normal(input_key, (width,)), kernels)

        def backward(carry: _Rows, layer: _Layer) -> tuple[_Rows, None]:
            rows, linear, of_activation = carry
            index, kernel_above, out, slope = layer
            rows = (rows @ kernel_above.T).at[index].set(out)
            rows, log_linear = normalised(rows, axis=1)
            rows, log_activation = normalised(rows * slope[None], axis=1)
            begun = jnp.arange(depth) >= index
            linear = linear + jnp.where(begun, log_linear, 0)
            of_activation = of_activation + jnp.where(begun, log_activation, 0)
            return (rows, linear, of_activation), None

        above = jnp.concatenate([kernels[1:], jnp.zeros_like(kernels[:1])])  # the last layer has no rows above
        start = (jnp.zeros((depth, width)), jnp.zeros(depth), jnp.zeros(depth))
        layers = (jnp.arange(depth), above, outs, slopes)
        (_, linear, of_activation), _ = lax.scan(backward, start, layers, reverse=True)
        return {
            "log_gradient": linear + of_activation,
            "log_linear": linear,
            "log_activation": of_activation,
            "variance": variance,
        }

    return results


def run(
    activations: Sequence[str],
    gains: Sequence[float],
    depths: Sequence[int],
    *,
    width: int,
    seeds: range,
    on_done: Callable[[str], None] = lambda activation: None,
) -> xr.Dataset:
    """All networks: measured values by activation, gain, seed and depth, and the mean-field prediction.

    Args:
      activations: names in the catalogue.
      gains: standard deviations of the weights times sqrt(width).
      depths: numbers of hidden layers.
      width: nodes in every hidden layer, and inputs.
      seeds: of the networks; equal seeds have equal weights under every activation, and up to their scale under every
        gain.
      on_done: called after every activation.
    """
    deepest, chosen = max(depths), np.asarray(depths) - 1
    found, predicted, predicted_variance = [], [], []
    for name in activations:
        record = catalogue.get(name)
        network = random_network(record, width=width, depth=deepest)
        found.append(sweep(network, seeds, axes={"gain": gains}))
        predictions = [mean_field.predict(record, deepest, gain=gain) for gain in gains]
        predicted.append([prediction.log_gradient[chosen] for prediction in predictions])
        predicted_variance.append([prediction.variances[chosen] for prediction in predictions])
        on_done(name)
    data: dict[str, Any] = {
        variable: (
            ("activation", "gain", "seed", "depth"),
            np.stack([results[variable].values[..., chosen] for results in found]),
            {"description": description},
        )
        for variable, description in _VARIABLES.items()
    }
    data["predicted_log_gradient"] = (
        ("activation", "gain", "depth"),
        np.array(predicted),
        {"description": "mean-field: log of the root mean square of ||dL/dy^(1)||"},
    )
    data["predicted_variance"] = (
        ("activation", "gain", "depth"),
        np.array(predicted_variance),
        {"description": "mean-field: variance of the nodes of y^(depth)"},
    )
    coords = {"activation": list(activations), "gain": list(gains), "seed": list(seeds), "depth": list(depths)}
    return xr.Dataset(data, coords=coords, attrs={"width": width})
