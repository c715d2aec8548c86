"""The convolutional network of [A, section 4, Fig. 10] as a Flax model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations import Activation, catalogue
from paramact_jax.layers.elementwise import stored_name
from paramact_jax.layers.nnx import Parametric
from paramact_jax.networks.feature_maps import Padding, Pooling, convolve, margins, pool
from paramact_jax.networks.mlp import HiddenLayer
from paramact_jax.networks.pure import Params, check_starts, with_params

MapSharing = Literal["element", "channel", "layer"]
MapShape = tuple[int, int, int]


class ConvolutionalLayer(nnx.Module):
    """P -> pool(f(P * F + F0)): convolution, activation, pooling [A, section 3.3, steps 2-4].

    `conv` is a `flax.nnx.Conv` with F and F0. `activation` is a record without parameters, or a `Parametric` for
    (height, width, filters) with a and b.
    """

    def __init__(
        self,
        in_channels: int,
        feature_map: MapShape,
        activation: Activation,
        *,
        kernel_size: int,
        padding: Padding,
        pooling: Pooling,
        pool_size: int,
        sharing: MapSharing,
        initial: Mapping[str, ArrayLike] | None,
        kernel_init: Initializer,
        bias_init: Initializer,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        self.padding: Padding = padding
        self.pooling: Pooling = pooling
        self.pool_size = pool_size
        self.conv = nnx.Conv(
            in_channels,
            feature_map[-1],
            (kernel_size, kernel_size),
            padding="SAME" if padding == "same" else "VALID",
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.activation = (
            Parametric(activation, feature_map, sharing=sharing, initial=initial, param_dtype=param_dtype)
            if activation.params
            else activation
        )

    def __call__(self, maps: jax.Array) -> jax.Array:
        """Returns pooled maps (filters, height, width, images) for maps (channels, height, width, images)."""
        if self.conv.bias is None:
            raise ValueError("ConvolutionalLayer: expected a convolution with a bias, got one without")
        y = convolve(maps, self.conv.kernel[...], self.padding) + self.conv.bias[...][:, None, None, None]
        return pool(self._activate(y), self.pool_size, self.pooling)

    def _activate(self, y: jax.Array) -> jax.Array:
        """Applies the activation with its parameters in y's layout; to transpose y would double a step's time."""
        if not isinstance(self.activation, Parametric):
            return self.activation(y)
        params = {p: getattr(self.activation, stored_name(p))[...] for p in self.activation.activation.params}
        return self.activation.activation(y, **{name: _images_last(p, y.dtype) for name, p in params.items()})


class CNN(nnx.Module):
    """A network of convolutional layers, one dense hidden layer and an affine output [A, section 4, Fig. 10].

    Each of `len(filters)` layers convolves (stride 1), applies its activation and pools [A, section 3.3, steps 1-5].
    Then y = W z + w0, W = kernel^T, and z = f(y) in the dense hidden layer. There is no activation after the last
    affine map. [A] gives the numbers of filters, 30 dense features and 10 outputs. It does not give kernel size,
    padding, pooling and initial weights.

    A parametric activation has its own a and b in every node of the dense layer [A, eq. 17-24]. In the convolutional
    layers `sharing` decides: "element" is one a and b for every filter, row and column of a feature map before pooling
    [A, eq. 9-16]; "channel" is one a and b for each filter; "layer" is one for the whole layer. A model accepts images
    of one size only, because of the dense layer and of parameters per element.

    The convolutions are matrix products. On CPUs, in a compiled training loop, they are many times faster than
    `flax.nnx.Conv`. Outputs can be differentiated in reverse mode only.

    Args:
      image_shape: (height, width, channels) of an image.
      filters: number of filters of each convolutional layer.
      dense_features, out_features: sizes of the dense hidden layer and of the output.
      conv_activation, dense_activation: records or their names in the catalogue.
      kernel_size: side of every filter.
      padding: "same" keeps the size of a map, "valid" does not pad.
      pooling: "max" or "average".
      pool_size: side of the windows, which do not overlap; 1 means no pooling. Rows and columns that do not fill a
        window are dropped. Pixels with the same largest value share the gradient in equal parts.
      sharing: "element", "channel" or "layer", as above.
      conv_initial, dense_initial: start values of the activations' parameters, by default those of the records.
      kernel_init, bias_init: initialisers of filters and W, and of the biases. By default the first is normal with
        deviation 1/sqrt(fan_in), where a filter's fan_in is kernel_size^2 * channels, and the second gives zeros.
      param_dtype: dtype of all params.
      rngs: source of the initial weights. These do not depend on the activations or the sharing.

    Raises:
      ValueError: for sizes below 1, maps that become empty by padding and pooling, an unknown padding, pooling, sharing
        or activation, a start value of a parameter that an activation does not have, or images of another shape.
      TypeError: for images of integers.

    Examples:
      The number of activation parameters for each choice of `sharing`, in addition to 3,032 weights and biases:

      >>> from flax import nnx
      >>> from paramact_jax.layers.nnx import ActivationParam
      >>> def count(model, kind):
      ...     return sum(x.size for x in jax.tree.leaves(nnx.state(model, kind)))
      >>> for sharing in ("element", "channel", "layer"):
      ...     model = CNN(
      ...         conv_activation="parametric_relu", dense_activation="ppns", sharing=sharing, rngs=nnx.Rngs(0)
      ...     )
      ...     learned = count(model, ActivationParam)
      ...     print(f"{sharing}: {learned:,} of activations, {count(model, nnx.Param) - learned:,} weights and biases")
      element: 28,676 of activations, 3,032 weights and biases
      channel: 116 of activations, 3,032 weights and biases
      layer: 66 of activations, 3,032 weights and biases
      >>> model(jnp.zeros((7, 28, 28, 1))).shape
      (7, 10)
    """

    def __init__(
        self,
        image_shape: MapShape = (28, 28, 1),
        filters: Sequence[int] = (16, 8, 4),
        dense_features: int = 30,
        out_features: int = 10,
        *,
        conv_activation: str | Activation,
        dense_activation: str | Activation,
        kernel_size: int = 3,
        padding: Padding = "same",
        pooling: Pooling = "max",
        pool_size: int = 2,
        sharing: MapSharing = "element",
        conv_initial: Mapping[str, ArrayLike] | None = None,
        dense_initial: Mapping[str, ArrayLike] | None = None,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        conv_record, dense_record = map(catalogue.resolve, (conv_activation, dense_activation))
        check_starts(conv_record, conv_initial)
        check_starts(dense_record, dense_initial)
        for name, value, kinds in (("padding", padding, Padding), ("pooling", pooling, Pooling)):
            _expect_one_of(name, value, get_args(kinds))
        _expect_one_of("sharing", sharing, get_args(MapSharing))
        self.image_shape = image_shape
        maps = feature_map_shapes(image_shape, filters, kernel_size, padding, pool_size)
        _check_sizes(dense_features=(dense_features,), out_features=(out_features,))
        kernel_init = kernel_init or jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        bias_init = bias_init or jax.nn.initializers.zeros
        self.convolutional = nnx.List(
            ConvolutionalLayer(
                channels,
                feature_map,
                conv_record,
                kernel_size=kernel_size,
                padding=padding,
                pooling=pooling,
                pool_size=pool_size,
                sharing=sharing,
                initial=conv_initial,
                kernel_init=kernel_init,
                bias_init=bias_init,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            for channels, feature_map in zip((image_shape[-1], *filters), maps, strict=False)
        )
        height, width, channels = maps[-1]
        self.dense = HiddenLayer(
            height // pool_size * (width // pool_size) * channels,
            dense_features,
            dense_record,
            initial=dense_initial,
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.out = nnx.Linear(
            dense_features,
            out_features,
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns outputs of shape (..., out_features) for images of shape (..., height, width, channels)."""
        images = jnp.asarray(images)
        if images.shape[-3:] != self.image_shape:
            raise ValueError(
                f"CNN: expected images of shape (..., {', '.join(map(str, self.image_shape))}), got {images.shape}; "
                f"build the model with their image_shape"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise TypeError(f"CNN: expected images of a float dtype, got {images.dtype}; scale them to [0, 1]")
        z = images.reshape(-1, *self.image_shape).transpose(3, 1, 2, 0)
        for layer in self.convolutional:
            z = layer(z)
        z = self.dense(z.transpose(3, 1, 2, 0).reshape(z.shape[-1], math.prod(z.shape[:-1])))
        return self.out(z).reshape(*images.shape[:-3], self.out.out_features)

    def apply(self, params: Params, images: jax.Array) -> jax.Array:
        """Returns the outputs for the given params in place of the model's own; a pure function of them.

        For many trials at once, `jax.lax.map` over the trials' params is faster on CPUs than `jax.vmap`.

        Args:
          params: params as from `paramact_jax.networks.params_of`.
          images: (..., height, width, channels).

        Returns:
          Outputs of shape (..., out_features).

        Raises:
          ValueError: if the params do not have the tree and shapes of the model's own, or as in a call.
          TypeError: as in a call.

        Examples:
          >>> from paramact_jax.networks import params_of
          >>> def draw(seed):
          ...     return CNN(conv_activation="relu", dense_activation="ppns", rngs=nnx.Rngs(seed))
          >>> trials = jax.tree.map(lambda *x: jnp.stack(x), *[params_of(draw(seed)) for seed in range(3)])
          >>> images = jnp.zeros((7, 28, 28, 1))
          >>> jax.lax.map(lambda params: draw(0).apply(params, images), trials).shape
          (3, 7, 10)
        """
        return with_params(self, params)(images)


def feature_map_shapes(
    image_shape: MapShape, filters: Sequence[int], kernel_size: int, padding: Padding, pool_size: int
) -> list[MapShape]:
    """Returns the shape (height, width, filters) of every convolutional layer's feature map before pooling.

    Raises:
      ValueError: for sizes below 1, no layer, or a map that becomes empty by padding and pooling.

    Examples:
      >>> feature_map_shapes((28, 28, 1), (16, 8, 4), 3, "same", 2)
      [(28, 28, 16), (14, 14, 8), (7, 7, 4)]
    """
    if len(image_shape) != 3:
        raise ValueError(f"CNN: expected image_shape (height, width, channels), got {image_shape}")
    if not filters:
        raise ValueError("CNN: expected filters for at least one convolutional layer, got none")
    _check_sizes(image_shape=image_shape, filters=filters, kernel_size=(kernel_size,), pool_size=(pool_size,))
    lost = kernel_size - 1 - sum(margins(kernel_size, padding))
    height, width, _ = image_shape
    shapes = []
    for number, count in enumerate(filters, 1):
        height, width = height - lost, width - lost
        if min(height, width) < pool_size:
            raise ValueError(
                f"CNN: expected a feature map of at least {pool_size} x {pool_size} in convolutional layer {number}, "
                f"got {max(height, 0)} x {max(width, 0)}; pad, pool less, or take smaller kernels or fewer layers"
            )
        shapes.append((height, width, count))
        height, width = height // pool_size, width // pool_size
    return shapes


def _images_last(parameter: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Reshapes (height, width, filters), (filters,) or () to (filters, height, width, 1), with 1 for missing axes."""
    mapped = parameter.reshape((1,) * (3 - parameter.ndim) + parameter.shape)
    return mapped.transpose(2, 0, 1)[..., None].astype(dtype)


def _check_sizes(**sizes: Sequence[int]) -> None:
    for name, values in sizes.items():
        if min(values) < 1:
            raise ValueError(f"CNN: expected {name} of 1 or more, got {', '.join(map(str, values))}")


def _expect_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"CNN: expected {name} to be one of {', '.join(allowed)}, got {value!r}")
