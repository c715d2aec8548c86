"""The multilayer perceptron as a pure function of its params.

Params are the plain nested dict of the Flax model: {"hidden": {i: {"linear": {"kernel", "bias"}, "activation": {...}}},
"out": {"kernel", "bias"}}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from paramact_jax.activations import Activation

Params = dict[str, Any]
"""{"hidden": {i: {"linear": {"kernel", "bias"}, "activation": {"a", "b"}}}, "out": {"kernel", "bias"}}, any arrays."""

Model = TypeVar("Model", bound=nnx.Module)


def params_of(model: nnx.Module) -> Params:
    """The params of a Flax model as a plain nested dict."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def with_params(model: Model, params: Params) -> Model:
    """A copy of the model holding `params`, as `params_of` returns them, for instance those of one trained trial.

    Raises:
      ValueError: if they are not of the tree and shapes of the model's own.
    """
    copy = nnx.clone(model)
    state = nnx.state(copy, nnx.Param)
    expected, got = (
        {jax.tree_util.keystr(path): jnp.shape(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (nnx.to_pure_dict(state), params)
    )
    for path in sorted(set(expected) | set(got)):
        if expected.get(path) != got.get(path):
            raise ValueError(
                f"params{path}: expected shape {expected.get(path, 'none')}, got {got.get(path, 'none')}; "
                f"pass the params of one trial of a model like this one"
            )
    nnx.replace_by_pure_dict(state, params)
    nnx.update(copy, state)
    return copy


def with_activation(
    params: Params,
    activation: Activation | Sequence[Activation],
    initial: Mapping[str, ArrayLike] | None = None,
) -> Params:
    """The same W and w0 under another activation, whose parameters are at their start values.

    Args:
      params: params of an MLP, or trees of arrays of many of them.
      activation: the record to put in every hidden layer, or one for each.
      initial: start values by parameter name, scalars; by default the record's.

    Raises:
      ValueError: for a start value of a parameter that an activation does not have, or another number of records than
        of hidden layers.
    """
    hidden = params.get("hidden", {})

    def layer(old: Params, record: Activation) -> Params:
        check_starts(record, initial)
        starts = dict(record.params) | dict(initial or {})
        bias = old["linear"]["bias"]
        learned = {name: jnp.full_like(bias, starts[name]) for name in record.params}
        return {"linear": old["linear"]} | ({"activation": learned} if learned else {})

    records = each_layer(activation, len(hidden))
    changed = {i: layer(old, records[i]) for i, old in hidden.items()}
    return params | ({"hidden": changed} if changed else {})


def check_starts(record: Activation, initial: Mapping[str, ArrayLike] | None) -> None:
    """Raise ValueError, in one line, for a start value of a parameter that an activation does not have."""
    if unknown := sorted(set(initial or {}) - set(record.params)):
        raise ValueError(f"{record.name}: expected start values for {list(record.params)}, got {unknown}")


def each_layer(activation: Any, layers: int) -> list[Any]:
    """One activation for each hidden layer, from one for all or one for each.

    Raises:
      ValueError: if there are not as many as layers.
    """
    if isinstance(activation, str) or not isinstance(activation, Sequence):
        return [activation] * layers
    if len(activation) != layers:
        raise ValueError(f"expected one activation for each of {layers} hidden layers, got {len(activation)}")
    return list(activation)


def forward(params: Params, inputs: jax.Array, activation: Activation | Sequence[Activation]) -> jax.Array:
    """Outputs of the network for a batch of inputs.

    Args:
      params: as above; kernels (fan_in, fan_out), biases and activation parameters (fan_out,). An activation's
        parameters that are not there are held at the record's start values.
      inputs: shape (points, in_features).
      activation: the record in every hidden layer, or one for each.

    Returns:
      Shape (points, out_features).

    Raises:
      ValueError: for another number of records than of hidden layers.
    """
    return forward_with_values(params, inputs, activation)[0]


def forward_with_values(
    params: Params,
    inputs: jax.Array,
    activation: Activation | Sequence[Activation],
    *,
    added: jax.Array | None = None,
) -> tuple[jax.Array, list[jax.Array]]:
    """Outputs of the network, and y^(l) = W z + w0 of every hidden layer l on the way.

    Args:
      params: as in `forward`.
      inputs: as in `forward`.
      activation: as in `forward`.
      added: to y^(1), of its shape: zeros to differentiate by, so that dL/dy^(1) comes with the other gradients
        [P, eq. 17].

    Returns:
      The outputs, (points, out_features), and the list of y^(l), (points, n_l), l = 1 .. K.

    Raises:
      ValueError: as `forward`.
    """
    z = inputs
    hidden = params.get("hidden", {})
    values = []
    for i, record in enumerate(each_layer(activation, len(hidden))):
        y = affine(z, **hidden[i]["linear"])
        if added is not None and i == 0:
            y = y + added
        own = {name: p[None] for name, p in hidden[i].get("activation", {}).items()}
        z = record.fn(y, **dict(record.params) | own)
        values.append(y)
    return affine(z, **params["out"]), values


def affine(z: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns y = W z + w0, W = kernel^T [P, eq. 4], of shape (points, fan_out) for z of shape (points, fan_in)."""
    return z @ kernel + bias[None]
