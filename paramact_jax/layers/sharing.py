"""Defines which elements share one value of a and b: the shape of a parameter and its alignment to the input."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, Literal, cast, get_args

import jax
import numpy as np

Kind = Literal["node", "layer", "channel", "element"]
Features = int | tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Sharing:
    """The shape of every parameter of one activation layer.

    kind       features                  parameter shape   one value for
    "node"     n                         (n,)              each entry of the last axis [P, eq. 7-12; A, eq. 17-24]
    "layer"    any, or none              ()                the whole layer
    "channel"  c, or (height, width, c)  (c,)              each entry of the channel axis of a feature map
    "element"  (height, width, c)        (height, width,   each filter, row and column of a feature map
                                          c)               [A, eq. 9-16]

    Inputs may have any number of leading axes (batch, time) in front of `features`.

    Attributes:
      kind: one of the four kinds above.
      features: size of the last axis of the input, or of its last axes, as in the table.
      channel_axis: axis of the channels, counted from the end: -1 for (height, width, channels), -3 for
        (channels, height, width). Only "channel" uses it.

    Raises:
      ValueError: for another kind, sizes below 1, features that do not fit the kind, or a channel axis outside the
        features.
      TypeError: for features that are not whole numbers.

    Examples:
      >>> Sharing("node", 128).shape
      (128,)
      >>> Sharing("element", (28, 28, 16)).shape
      (28, 28, 16)
      >>> Sharing("channel", (16, 28, 28), channel_axis=-3).shape
      (16,)
    """

    kind: Kind
    features: Features
    channel_axis: int = -1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected sharing to be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        object.__setattr__(self, "features", _checked(self.features))
        sizes = self._sizes
        if self.kind != "layer" and not sizes:
            raise ValueError(f"sharing {self.kind!r}: expected features, the size of the input's last axis, got none")
        if self.kind == "node" and len(sizes) > 1:
            raise ValueError(
                f"sharing 'node': expected features to be one size, that of the last axis, got {self.features}; "
                f"for a feature map pass sharing='element' (one value for each of {self.features}) or 'channel'"
            )
        if self.kind != "channel" and self.channel_axis != -1:
            raise ValueError(f"sharing {self.kind!r}: expected no channel_axis, got {self.channel_axis}")
        if self.kind == "channel":
            axes = len(sizes) if isinstance(self.features, tuple) else max(-self.channel_axis, 1)
            if not -axes <= self.channel_axis < 0:
                raise ValueError(
                    f"expected a channel_axis counted from the end, from {-axes} to -1, got {self.channel_axis}; "
                    f"-1 is the last axis, -3 that of (channels, height, width)"
                )

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (self.features,) if isinstance(self.features, int) else self.features or ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of each parameter."""
        if self.kind == "layer":
            return ()
        if self.kind == "channel":
            return (self._sizes[self.channel_axis if isinstance(self.features, tuple) else 0],)
        return self._sizes

    def check_input(self, shape: tuple[int, ...], of: str) -> None:
        """Refuses an input with last axes other than `features`.

        Args:
          shape: shape of the input.
          of: name of the layer, for the message.

        Raises:
          ValueError: if the axes differ; the message has both shapes and the features that fit the input.
        """
        sizes, expected = self._sizes, ", ".join(map(str, self._sizes))
        if isinstance(self.features, int) and self.kind == "channel":
            axis = self.channel_axis
            if len(shape) < -axis or shape[axis] != sizes[0]:
                got = f"; build the layer with features={shape[axis]}" if len(shape) >= -axis else ""
                raise ValueError(f"{of}: expected an input with axis {axis} of size {expected}, got shape {shape}{got}")
        elif shape[max(len(shape) - len(sizes), 0) :] != sizes:
            axes = "last axis of size" if len(sizes) == 1 else "last axes of sizes"
            suits = shape[-len(sizes) :]
            hint = "; give it these axes"
            if len(suits) == len(sizes):
                hint = f"; build the layer with features={suits if len(sizes) > 1 else suits[0]}"
            raise ValueError(f"{of}: expected an input with {axes} {expected}, got shape {shape}{hint}")

    def align(self, parameter: jax.Array, ndim: int) -> jax.Array:
        """Returns the parameter with axes of size 1 added, so that it has `ndim` axes and broadcasts against the input.

        Examples:
          >>> import jax.numpy as jnp
          >>> Sharing("channel", 16, channel_axis=-3).align(jnp.ones(16), ndim=4).shape
          (1, 16, 1, 1)
        """
        behind = -self.channel_axis - 1
        return parameter.reshape((1,) * (ndim - parameter.ndim - behind) + parameter.shape + (1,) * behind)


def _checked(features: Features) -> Features:
    if features is None:
        return None
    several = isinstance(features, (tuple, list)) or np.ndim(features) > 0
    sizes: tuple[Any, ...] = tuple(cast(Any, features)) if several else (features,)
    try:
        whole = tuple(map(operator.index, sizes))
    except TypeError:
        whole = None
    if whole is None or any(isinstance(size, (bool, np.bool_)) for size in sizes):
        raise TypeError(f"expected features to be a whole number or a tuple of them, got {features!r}")
    if not whole or min(whole) < 1:
        raise ValueError(f"expected features of sizes 1 or more, got {features!r}")
    return whole if several else whole[0]
