"""The multilayer perceptron as a pure function of its params, for one trial or for many at once.

Params are the plain nested dict of the Flax model: {"hidden": {i: {"linear": {"kernel", "bias"}, "activation": {...}}},
"out": {"kernel", "bias"}}. Every array may carry one more axis, the *last*, that counts independent trials. With
the trials last, each operation of a small network runs over a contiguous axis as long as the batch of trials, where a
batched matrix product of tiny matrices runs scalar loops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from paramact_jax.activations import Activation
from paramact_jax.networks.affine import affine

Params = dict[str, Any]
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


def with_activation(params: Params, activation: Activation, initial: Mapping[str, ArrayLike] | None = None) -> Params:
    """The same W and w0 under another activation, whose parameters are at their start values.

    Args:
      params: params of an MLP, with or without a last axis of trials.
      activation: the record to put in every hidden layer.
      initial: start values by parameter name, scalars; by default the record's.

    Raises:
      ValueError: for a start value of a parameter that the activation does not have.
    """
    starts = dict(activation.params) | dict(initial or {})
    if unknown := set(starts) - set(activation.params):
        raise ValueError(f"{activation.name}: expected start values for {list(activation.params)}, got {unknown}")

    def layer(old: Params) -> Params:
        bias = old["linear"]["bias"]
        learned = {name: jnp.full_like(bias, starts[name]) for name in activation.params}
        return {"linear": old["linear"]} | ({"activation": learned} if learned else {})

    hidden = {i: layer(old) for i, old in params.get("hidden", {}).items()}
    return params | ({"hidden": hidden} if hidden else {})


def forward(params: Params, inputs: jax.Array, activation: Activation) -> jax.Array:
    """Outputs of the network for a batch of inputs.

    Args:
      params: as above; kernels (fan_in, fan_out), biases and activation parameters (fan_out,), or the same with
        one more axis of trials at the end.
      inputs: shape (points, in_features), the same for all trials.
      activation: the record in every hidden layer.

    Returns:
      Shape (points, out_features), or (points, out_features, trials). With trials it can be differentiated in reverse
      mode only.
    """
    trials = params["out"]["bias"].shape[1:]
    z = jnp.broadcast_to(inputs.reshape(inputs.shape + (1,) * len(trials)), inputs.shape + trials)
    hidden = params.get("hidden", {})
    for layer in (hidden[i] for i in range(len(hidden))):
        y = affine(z, **layer["linear"])
        z = activation.fn(y, **{name: p[None] for name, p in layer.get("activation", {}).items()})
    return affine(z, **params["out"])
