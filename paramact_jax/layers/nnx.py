"""Activation layers as `flax.nnx` modules."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from paramact_jax.activations import Activation
from paramact_jax.activations.record import Function
from paramact_jax.layers.elementwise import Elementwise, stored_name
from paramact_jax.layers.maxout import check_sizes, initial_kernel, maxout
from paramact_jax.layers.sharing import Features, Kind, Sharing
from paramact_jax.layers.starts import Start


class ActivationParam(nnx.Param[jax.Array]):
    """A learned parameter of an activation. It is also an `nnx.Param`, so every optimiser finds it.

    `nnx.Optimizer(model, optimiser, wrt=ActivationParam)` trains only these parameters. In linen models use the twin in
    `paramact_jax.layers.linen`: `nnx.bridge.to_linen` would put this type of variable into a collection of its own.
    """


class FrozenParam(nnx.Variable[jax.Array]):
    """A fixed parameter of an activation. It is not an `nnx.Param`, so it gets no gradient and no update."""


class Parametric(nnx.Module):
    """Elementwise z = a f(y - b) with a and b in Flax params, one each per node, channel, element or layer.

    dz/dy = a f'(y - b), dz/da = f(y - b), dz/db = -dz/dy; the gradients of a and b are summed over all elements that
    share them. [P, eq. 7-12; A, eq. 17-24] have one a and b per node, [A, eq. 9-16] one per element of a feature map.
    Each parameter is an attribute with the parameter's name. If Flax or this class already uses the name, "_" is added.

    Args:
      f: the function to make parametric: a name in the catalogue ("tanh"), a record, or an elementwise function. A
        record that already has parameters ("ppns") is used as it is, with all its parameters.
      features: size of the last axis of the input, or for sharing "element" and "channel" the tuple (height, width,
        channels) of a feature map; not needed for sharing "layer".
      sharing: "node": one value for each entry of the last axis; "layer": one for all; "channel": one for each
        entry of the channel axis; "element": one for each element of `features`.
      channel_axis: axis of the channels for sharing "channel", counted from the end: -1, or -3 for
        (channels, height, width).
      trainable: names of the parameters that are learned, by default all. The others are `FrozenParam`.
      initial: start values by parameter name: a number, an array of the parameter's shape, or an initialiser
        (key, shape, dtype) -> array, also with `nnx.with_partitioning`. By default those of the record: a = 1.5 /
        max|f'|, b = 0 [P, section 4.1]. "critical" for a is the gain at which the gradient of a deep network with
        weights of deviation 1/sqrt(fan_in) keeps its size, see `activations.critical_gain`. If the steepest slope of a
        function has no bound or depends on a value that JAX is tracing, a needs a start value.
      dtype: dtype of the computation and the output; by default that of the input.
      param_dtype: dtype of the stored parameters.
      rngs: source of the keys for initialisers in `initial`; not needed otherwise.

    Raises:
      ValueError: for an unknown name, a parameter that the record does not have, a start value or features with a shape
        that does not fit the sharing, an initialiser without `rngs`, a function that needs a start value of a, or a
        call with another shape of the last axes.
      TypeError: if `f` is not an elementwise function (see `paramact_jax.activations.activation`); it may not be a Flax
        module, since its parameters would be frozen. Also for a call with integers.

    Examples:
      >>> import jax.numpy as jnp
      >>> layer = Parametric("tanh", features=3)
      >>> layer.a[...].tolist(), layer.b[...].tolist()
      ([1.5, 1.5, 1.5], [0.0, 0.0, 0.0])
      >>> layer(jnp.zeros((7, 3))).shape
      (7, 3)
      >>> agile = Parametric("sigmoid", (28, 28, 16), sharing="element", trainable=["a"])
      >>> agile.a[...].shape, type(agile.b).__name__
      ((28, 28, 16), 'FrozenParam')
    """

    def __init__(
        self,
        f: str | Activation | Function,
        features: Features = None,
        *,
        sharing: Kind = "node",
        channel_axis: int = -1,
        trainable: Collection[str] | None = None,
        initial: Mapping[str, Start] | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        self.elementwise = Elementwise.of(
            f,
            Sharing(sharing, features, channel_axis),
            trainable=trainable,
            dtype=dtype,
            param_dtype=param_dtype,
            initial=initial,
        )

        def key() -> jax.Array:
            if rngs is None:
                raise ValueError(f"{self.activation.name}: expected rngs for an initialiser, got none; pass rngs=...")
            return rngs.params()

        for name, start in self.elementwise.start_values(initial).items():
            kind = ActivationParam if name in self.elementwise.trainable else FrozenParam
            setattr(self, stored_name(name), kind(start(key)))

    @property
    def activation(self) -> Activation:
        """The activation record of the layer."""
        return self.elementwise.record

    @property
    def features(self) -> Features:
        """The sizes for which the layer was built."""
        return self.elementwise.sharing.features

    def __call__(self, y: jax.Array) -> jax.Array:
        """Returns z, with the shape of y and, unless `dtype` is given, the dtype of y."""
        return self.elementwise(y, {p: getattr(self, stored_name(p))[...] for p in self.activation.params})


class Maxout(nnx.Module):
    """z_j = max_k (W_k x + w0_k)_j, k = 1 .. pieces: the largest of several affine maps, in place of f(W x) [B1].

    The gradient goes to the largest piece; equal pieces share it in equal parts.

    Args:
      in_features, features: sizes of the last axis of input and output.
      pieces: number of affine maps.
      use_bias: whether the affine maps have a w0.
      kernel_init, bias_init: initialisers of W and w0; that of W draws as for one affine map (in_features, ...). With
        `nnx.with_partitioning`, name all three axes of the kernel, or the first and the last.
      dtype: dtype of the computation and the output; by default that of the input.
      param_dtype: dtype of the params: kernel (in_features, pieces, features) and bias (pieces, features).
      rngs: source of the initial weights.

    Raises:
      ValueError: for sizes below 1, or a call with another size of the last axis.
      TypeError: for a call with integers.

    Examples:
      >>> layer = Maxout(4, 3, pieces=2, rngs=nnx.Rngs(0))
      >>> layer.kernel[...].shape, layer(jnp.ones((7, 4))).shape
      ((4, 2, 3), (7, 3))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        pieces: int = 2,
        *,
        use_bias: bool = True,
        kernel_init: Initializer = jax.nn.initializers.lecun_normal(),  # noqa: B008 - a pure function
        bias_init: Initializer = jax.nn.initializers.zeros,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        check_sizes(in_features=in_features, features=features, pieces=pieces)
        self.dtype = dtype
        self.kernel = nnx.Param(initial_kernel(kernel_init, rngs.params(), in_features, pieces, features, param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), (pieces, features), param_dtype)) if use_bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns z, of shape (..., features), for x of shape (..., in_features)."""
        return maxout(x, self.kernel[...], None if self.bias is None else self.bias[...], dtype=self.dtype)
