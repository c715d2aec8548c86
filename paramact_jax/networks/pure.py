"""The multilayer perceptron as a pure function of its params.

Params are a plain nested dict from the Flax model: {"hidden": {i: {"linear": {"kernel", "bias"}, "activation": {...}}},
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
"""{"hidden": {i: {"linear": {"kernel", "bias"}, "activation": {"a", "b"}}}, "out": {"kernel", "bias"}} of arrays."""

Model = TypeVar("Model", bound=nnx.Module)


def params_of(model: nnx.Module) -> Params:
    """Returns the params of a Flax model as a plain nested dict."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def with_params(model: Model, params: Params) -> Model:
    """Returns a copy of the model with other params, as from `params_of`, for instance those of one trained trial.

    Raises:
      ValueError: if the params do not have the tree and shapes of the model's own.
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
    """Returns params with the same W and w0 and another activation, with its parameters at their start values.

    Args:
      params: params of an MLP, or of many, stacked.
      activation: the record for every hidden layer, or one for each.
      initial: start values by parameter name, scalars; by default those of the record.

    Raises:
      ValueError: for a start value of a parameter that an activation does not have, or if the numbers of records and of
        hidden layers differ.
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
    """Raises ValueError for a start value of a parameter that an activation does not have."""
    if unknown := sorted(set(initial or {}) - set(record.params)):
        raise ValueError(f"{record.name}: expected start values for {list(record.params)}, got {unknown}")


def each_layer(activation: Any, layers: int) -> list[Any]:
    """Returns a list with one activation for each hidden layer, from one for all or one for each.

    Raises:
      ValueError: if the numbers of activations and of layers differ.
    """
    if isinstance(activation, str) or not isinstance(activation, Sequence):
        return [activation] * layers
    if len(activation) != layers:
        raise ValueError(f"expected one activation for each of {layers} hidden layers, got {len(activation)}")
    return list(activation)


def forward(params: Params, inputs: jax.Array, activation: Activation | Sequence[Activation]) -> jax.Array:
    """Computes the outputs of the network for a batch of inputs.

    Args:
      params: as above; kernels (fan_in, fan_out), biases and activation parameters (fan_out,). Missing parameters of an
        activation have the record's start values.
      inputs: shape (points, in_features).
      activation: the record of every hidden layer, or one for each.

    Returns:
      Outputs of shape (points, out_features).

    Raises:
      ValueError: if the numbers of records and of hidden layers differ.
    """
    return forward_with_values(params, inputs, activation)[0]


def forward_with_values(
    params: Params,
    inputs: jax.Array,
    activation: Activation | Sequence[Activation],
    *,
    added: jax.Array | None = None,
) -> tuple[jax.Array, list[jax.Array]]:
    """Computes the outputs of the network and y^(l) = W z + w0 of every hidden layer l.

    Args:
      params: as in `forward`.
      inputs: as in `forward`.
      activation: as in `forward`.
      added: array of the shape of y^(1) that is added to it. Give zeros: the derivative by them is dL/dy^(1)
        [P, eq. 17], computed together with the other gradients.

    Returns:
      The outputs, (points, out_features), and the list of y^(l), (points, n_l), l = 1 .. K.

    Raises:
      ValueError: as in `forward`.
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
