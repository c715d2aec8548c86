"""The multilayer perceptron of [P, eq. 4-5, Fig. 6] as a Flax model."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations import Activation, catalogue
from paramact_jax.layers.nnx import Parametric
from paramact_jax.networks.pure import check_starts, each_layer


class HiddenLayer(nnx.Module):
    """z -> f(W z + w0), W = kernel^T: an affine map, then the activation, with its own parameters if it has any."""

    def __init__(
        self,
        in_features: int,
        features: int,
        activation: Activation,
        *,
        initial: Mapping[str, ArrayLike] | None,
        kernel_init: Initializer,
        bias_init: Initializer,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
        trainable: Collection[str] | None = None,
    ) -> None:
        self.linear = nnx.Linear(
            in_features, features, kernel_init=kernel_init, bias_init=bias_init, param_dtype=param_dtype, rngs=rngs
        )
        self.activation = (
            Parametric(activation, features, trainable=trainable, initial=initial, param_dtype=param_dtype)
            if activation.params
            else activation
        )

    def __call__(self, z: jax.Array) -> jax.Array:
        """Returns f(W z + w0), of shape (..., features), for z of shape (..., in_features)."""
        return self.activation(self.linear(z))


class MLP(nnx.Module):
    """A network of `len(hidden_features)` hidden layers with an activation and an affine output [P, Fig. 6, 11].

    y = W z + w0, W = kernel^T, and z = f(y) in every hidden layer. There is no activation after the last affine map. A
    parametric activation has its own a and b in every node of every hidden layer.

    Args:
      in_features, hidden_features, out_features: sizes of the input, of each hidden layer, of the output.
      activation: a record or its name in the catalogue, for all hidden layers, or a list with one for each.
      initial: start values of the activation's parameters, by default those of the record.
      trainable: names of the activation's parameters that are learned, by default all; the others are held fixed. The
        params do not contain fixed ones, and `networks.forward` uses the record's start values for them.
      kernel_init, bias_init: initialisers of W and w0, by default normal with deviation 1/sqrt(fan_in), and zeros.
      param_dtype: dtype of all params.
      rngs: source of the initial weights, which do not depend on the activation.

    Raises:
      ValueError: for an unknown name, a start value of a parameter that the activation does not have, or if the numbers
        of activations and of hidden layers differ.

    Examples:
      >>> from flax import nnx
      >>> model = MLP(2, [2] * 10, 1, "ppns", rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((4, 2))).shape
      (4, 1)
      >>> float(model.hidden[0].activation.a[0])
      6.0
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int],
        out_features: int,
        activation: str | Activation | Sequence[str | Activation],
        *,
        initial: Mapping[str, ArrayLike] | None = None,
        trainable: Collection[str] | None = None,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        records = [catalogue.resolve(a) for a in each_layer(activation, len(hidden_features))]
        for record in records:
            check_starts(record, initial)
        kernel_init = kernel_init or jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        bias_init = bias_init or jax.nn.initializers.zeros
        widths = [in_features, *hidden_features]
        self.hidden = nnx.List(
            HiddenLayer(
                fan_in,
                features,
                record,
                initial=initial,
                trainable=trainable,
                kernel_init=kernel_init,
                bias_init=bias_init,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            for (fan_in, features), record in zip(itertools.pairwise(widths), records, strict=True)
        )
        self.out = nnx.Linear(
            widths[-1], out_features, kernel_init=kernel_init, bias_init=bias_init, param_dtype=param_dtype, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns outputs of shape (..., out_features) for inputs of shape (..., in_features)."""
        z = x
        for layer in self.hidden:
            z = layer(z)
        return self.out(z)
