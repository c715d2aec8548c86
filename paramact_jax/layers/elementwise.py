"""What the nnx and the linen twin of an activation layer have in common: all but where the params are kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations import Activation, catalogue, parametric
from paramact_jax.activations.record import Function
from paramact_jax.layers.sharing import Sharing

Start = ArrayLike | Initializer


@functools.cache  # two models built alike then share one record, and so one graphdef and one compilation
def record_of(f: str | Activation | Function) -> Activation:
    """The record with parameters that `f` names: itself if it has some, else a f(y - b).

    The name of a function that the catalogue has a parametric form of means that form: "relu" is [P]'s Parametric ReLU,
    whose slope at the kink is a.
    """
    if isinstance(f, str) and f"parametric_{f}" in catalogue.names():
        return catalogue.get(f"parametric_{f}")
    record = catalogue.get(f) if isinstance(f, str) else f
    return record if isinstance(record, Activation) and record.params else parametric(record)


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """One activation layer without its params: z = fn(y, **params), params laid against y as `sharing` says.

    Attributes:
      record: the activation.
      sharing: shape of every parameter.
      trainable: names of the parameters that are learned; the others are held fixed.
      dtype: dtype of the computation and the output; None for that of the input.
      param_dtype: dtype the parameters are held in.

    Raises:
      ValueError: for a name in `trainable` that the record does not have.
      TypeError: for a dtype that is no float dtype, or `trainable` that is one string.

    Examples:
      >>> layer = Elementwise.of("ppns", Sharing("layer", None), trainable=["a"])
      >>> layer(jnp.zeros((2, 3)), {"a": jnp.array(6.0), "b": jnp.array(0.0)}).shape
      (2, 3)
      >>> sorted(layer.trainable)
      ['a']
    """

    record: Activation
    sharing: Sharing
    trainable: frozenset[str]
    dtype: np.dtype | None
    param_dtype: np.dtype

    @classmethod
    def of(
        cls,
        f: str | Activation | Function,
        sharing: Sharing,
        *,
        trainable: Collection[str] | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> Elementwise:
        """The layer of a name, a record or a function; see the modules' Args."""
        record = record_of(f)
        if isinstance(trainable, str):
            raise TypeError(f"{record.name}: expected trainable to be a tuple of names, got {trainable!r}; add a comma")
        learned = frozenset(record.params if trainable is None else trainable)
        _refuse_unknown(record, learned, "trainable names among")
        return cls(record, sharing, learned, None if dtype is None else _float(dtype, "dtype"), _float(param_dtype))

    def start_values(
        self, initial: Mapping[str, Start] | None
    ) -> dict[str, Callable[[Callable[[], jax.Array]], jax.Array]]:
        """For each parameter, a function from a source of random keys to the parameter's start value.

        Raises:
          ValueError: for a parameter the record does not have, or a start value of another shape.
        """
        initial = dict(initial or {})
        _refuse_unknown(self.record, initial, "start values for")
        return {
            name: functools.partial(self._start, name, initial.get(name, value))
            for name, value in self.record.params.items()
        }

    def _start(self, name: str, start: Start, key: Callable[[], jax.Array]) -> jax.Array:
        shape = self.sharing.shape
        if callable(start):
            value = jnp.asarray(start(key(), shape, self.param_dtype), self.param_dtype)
            allowed = [shape]
        else:
            value = jnp.asarray(start, self.param_dtype)
            allowed = [(), shape]
        if value.shape not in allowed:
            shapes = " or ".join(str(s) for s in dict.fromkeys(allowed))
            raise ValueError(
                f"{self.record.name}: expected a start value of shape {shapes} for {name}, got {value.shape}; "
                f"the layer's sharing is {self.sharing.kind!r}"
            )
        return jnp.broadcast_to(value, shape)

    def __call__(self, y: jax.Array, params: Mapping[str, jax.Array]) -> jax.Array:
        """The value z, of the shape of y, in `dtype` or, where that is None, in the dtype of y.

        Raises:
          ValueError: if the last axes of y are not the layer's features.
          TypeError: if y is not of a float dtype.
        """
        y = jnp.asarray(y)
        self.sharing.check_input(y.shape, self.record.name)
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(f"{self.record.name}: expected an input of a float dtype, got {y.dtype}; cast it first")
        y = y.astype(self.dtype or y.dtype)
        aligned = {name: self.sharing.align(p.astype(y.dtype), y.ndim) for name, p in params.items()}
        return self.record.fn(y, **aligned)


def _refuse_unknown(record: Activation, names: Collection[str], what: str) -> None:
    if unknown := sorted(set(names) - set(record.params)):
        raise ValueError(f"{record.name}: expected {what} {', '.join(record.params)}, got one for {unknown}")


def _float(dtype: DTypeLike, what: str = "param_dtype") -> np.dtype:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"expected {what} to be a float dtype, got {jnp.dtype(dtype)}")
    return jnp.dtype(dtype)
