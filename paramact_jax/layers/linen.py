"""Activation layers as `flax.linen` modules: the twins of the nnx modules in `paramact_jax.layers.nnx`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from paramact_jax.activations import Activation
from paramact_jax.activations.record import Function
from paramact_jax.layers.elementwise import Elementwise, stored_name
from paramact_jax.layers.maxout import check_sizes, initial_kernel, maxout
from paramact_jax.layers.sharing import Features, Kind, Sharing
from paramact_jax.layers.starts import Start, Starts

FROZEN_COLLECTION = "frozen"
"""The collection of the parameters that are held fixed; the learned ones are in "params"."""


class Parametric(nn.Module):
    """Elementwise z = a f(y - b) with a and b in Flax params, one each per node, channel, element or layer.

    Function, arguments and errors are the same as those of `paramact_jax.nnx.Parametric`. Parameters that are not in
    `trainable` are in the collection "frozen", the others in "params". In both they have the names of the record.

    Args:
      f, features, sharing, channel_axis, trainable, initial, dtype, param_dtype: as in the nnx twin; initialisers
        in `initial` draw from the "params" stream.

    Raises:
      ValueError: for an unknown name, a parameter that the record does not have, a start value or features with a shape
        that does not fit the sharing, or a call with another shape of the last axes.
      TypeError: for a call with integers.

    Examples:
      >>> layer = Parametric("tanh", features=3, trainable=("a",))
      >>> variables = layer.init(jax.random.key(0), jnp.zeros((7, 3)))
      >>> variables["params"]["a"].tolist(), variables["frozen"]["b"].tolist()
      ([1.5, 1.5, 1.5], [0.0, 0.0, 0.0])
      >>> layer.apply(variables, jnp.zeros((7, 3))).shape
      (7, 3)
    """

    f: str | Activation | Function
    features: Features = None
    sharing: Kind = "node"
    channel_axis: int = -1
    trainable: Collection[str] | None = None
    initial: Mapping[str, Start] | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Turns lists, sets and dicts into hashable values, since `jax.jit(layer.init)` hashes them."""
        features: Any = self.features
        if np.ndim(features) > 0:
            object.__setattr__(self, "features", tuple(features))
        elif isinstance(features, np.ndarray):
            object.__setattr__(self, "features", features.item())
        if not isinstance(self.trainable, (str, tuple, type(None))):
            object.__setattr__(self, "trainable", tuple(sorted(self.trainable)))
        if isinstance(self.initial, Mapping):
            object.__setattr__(self, "initial", Starts(self.initial))
        super().__post_init__()

    @nn.compact
    def __call__(self, y: jax.Array) -> jax.Array:
        """Returns z, with the shape of y and, unless `dtype` is given, the dtype of y."""
        elementwise = Elementwise.of(
            self.f,
            Sharing(self.sharing, self.features, self.channel_axis),
            trainable=self.trainable,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            initial=self.initial,
        )
        params = {}
        for name, start in elementwise.start_values(self.initial).items():
            if name in elementwise.trainable:
                params[name] = self.param(stored_name(name), lambda key, start=start: start(lambda: key))
            else:
                held = self.variable(
                    FROZEN_COLLECTION, stored_name(name), lambda start=start: start(lambda: self.make_rng("params"))
                )
                params[name] = held.value
        return elementwise(y, params)


class Maxout(nn.Module):
    """z_j = max_k (W_k x + w0_k)_j, k = 1 .. pieces: the largest of several affine maps, in place of f(W x) [B1].

    It is the same function as `paramact_jax.nnx.Maxout`; the first input sets in_features.

    Args:
      features: size of the last axis of the output.
      pieces, use_bias, kernel_init, bias_init, dtype, param_dtype: as in the nnx twin.

    Raises:
      ValueError: for sizes below 1, or a call with another size of the last axis.
      TypeError: for a call with integers.

    Examples:
      >>> layer = Maxout(3, pieces=2)
      >>> variables = layer.init(jax.random.key(0), jnp.ones((7, 4)))
      >>> variables["params"]["kernel"].shape, layer.apply(variables, jnp.ones((7, 4))).shape
      ((4, 2, 3), (7, 3))
    """

    features: int
    pieces: int = 2
    use_bias: bool = True
    kernel_init: Initializer = jax.nn.initializers.lecun_normal()
    bias_init: Initializer = jax.nn.initializers.zeros
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns z, of shape (..., features), for x of shape (..., in_features)."""
        fan_in = x.shape[-1] if x.ndim else 1
        check_sizes(in_features=fan_in, features=self.features, pieces=self.pieces)

        def kernel_init(key: jax.Array) -> jax.Array:
            return initial_kernel(self.kernel_init, key, fan_in, self.pieces, self.features, self.param_dtype)

        kernel = self.param("kernel", kernel_init)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.pieces, self.features), self.param_dtype)
        return maxout(x, kernel, bias, dtype=self.dtype)
