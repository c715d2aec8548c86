"""The shared part of the nnx and the linen activation layers: everything except the storage of the params."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations import Activation, activation, catalogue, critical_gain, parametric
from paramact_jax.activations.record import TRACED, Function
from paramact_jax.layers.sharing import Sharing
from paramact_jax.layers.starts import Start, map_value

_OWN_NAMES = frozenset(
    {"activation", "elementwise", "features", "f", "sharing", "channel_axis", "trainable", "initial", "dtype"}
    | {"param_dtype", "name", "parent", "scope"}
)


def record_of(f: str | Activation | Function, *, has_start: bool = False) -> Activation:
    """Returns a record with parameters: that of `f` itself if it has parameters, else a f(y - b).

    If the catalogue has a parametric form of a name, the name means that form: "relu" is the Parametric ReLU of [P],
    with slope a at the kink. Two equal models share one record, and so one graphdef and one compilation. The last 256
    records are kept, except those that depend on a value that JAX is tracing.

    Args:
      f: the name, the record or the function.
      has_start: whether the layer has a start value of a, so that it need not be computed.
    """
    if isinstance(f, str) and f"parametric_{f}" in catalogue.names():
        return catalogue.get(f"parametric_{f}")
    base = catalogue.resolve(f) if isinstance(f, (str, Activation)) else _own(f)
    if base.params:
        return base
    a = 1.0 if has_start and not 0 < base.steepest_slope < math.inf else None
    return parametric(base, a=a) if TRACED in base.source else _kept_parametric(base, a)


@functools.lru_cache(maxsize=256)
def _kept_parametric(base: Activation, a: float | None) -> Activation:
    return parametric(base, a=a)


def _own(f: Function) -> Activation:
    try:
        hash(f)
    except TypeError:
        return activation(f)
    try:
        return _kept_own(f)
    except _TracedError as traced:
        return traced.record


@functools.lru_cache(maxsize=256)
def _kept_own(f: Function) -> Activation:
    record = activation(f)
    if TRACED in record.source:
        raise _TracedError(record)
    return record


class _TracedError(Exception):
    """Carries a record out of a cached function: the cache would keep a returned record, but keeps no exception."""

    def __init__(self, record: Activation) -> None:
        super().__init__()
        self.record = record


def stored_name(name: str) -> str:
    """Returns the name under which Flax holds a parameter: its own, or with "_" added if Flax already uses that name.

    Examples:
      >>> stored_name("a"), stored_name("features"), stored_name("train")
      ('a', 'features_', 'train_')
    """
    taken = name in _OWN_NAMES or any(hasattr(kind, name) for kind in (nnx.Module, linen.Module))
    return f"{name}_" if taken else name


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """One activation layer without its params: z = fn(y, **params), with params aligned to y by `sharing`.

    Attributes:
      record: the activation.
      sharing: shape of every parameter.
      trainable: names of the parameters that are learned; the others are held fixed.
      dtype: dtype of the computation and the output; None for that of the input.
      param_dtype: dtype of the stored parameters.

    Raises:
      ValueError: for a name in `trainable` that the record does not have.
      TypeError: for a dtype that is not a float dtype, or if `trainable` is one string.

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
        initial: Mapping[str, Start] | None = None,
    ) -> Elementwise:
        """Returns the layer of a name, a record or a function; for the arguments see the Flax modules."""
        record = record_of(f, has_start="a" in (initial or {}))
        if isinstance(trainable, str):
            raise TypeError(f"{record.name}: expected trainable to be a tuple of names, got {trainable!r}; add a comma")
        learned = frozenset(record.params if trainable is None else trainable)
        _refuse_unknown(record, learned, "trainable names among")
        return cls(record, sharing, learned, None if dtype is None else _float(dtype, "dtype"), _float(param_dtype))

    def start_values(self, initial: Mapping[str, Start] | None) -> dict[str, Callable[[Callable[[], jax.Array]], Any]]:
        """Returns for each parameter a function from a source of random keys to the parameter's start value.

        If an initialiser names axes of a mesh, the start value is in Flax's box with those names.

        Raises:
          ValueError: for a parameter that the record does not have, or a start value of another shape.
        """
        initial = dict(initial or {})
        _refuse_unknown(self.record, initial, "start values for")
        if isinstance(word := initial.get("a"), str):
            if word != "critical":
                raise ValueError(
                    f"{self.record.name}: expected a number, an array, an initialiser or 'critical' as the start value "
                    f"of a, got {word!r}"
                )
            initial["a"] = critical_gain(self.record).gain
        starts: dict[str, Any] = {**self.record.params, **initial}
        return {name: functools.partial(self._start, name, starts[name]) for name in self.record.params}

    def _start(self, name: str, start: ArrayLike | Initializer, key: Callable[[], jax.Array]) -> Any:
        shape = self.sharing.shape
        if callable(start):
            return map_value(
                start(key(), shape, self.param_dtype), lambda value: self._checked(name, value, allowed=[shape])
            )
        return self._checked(name, start, allowed=[(), shape])

    def _checked(self, name: str, start: ArrayLike, allowed: list[tuple[int, ...]]) -> jax.Array:
        if isinstance(start, float) and not math.isfinite(start):
            raise ValueError(f"{self.record.name}: expected a finite start value for {name}, got {start}")
        value, shape = jnp.asarray(start, self.param_dtype), self.sharing.shape
        if value.shape not in allowed:
            shapes = " or ".join(str(s) for s in dict.fromkeys(allowed))
            raise ValueError(
                f"{self.record.name}: expected a start value of shape {shapes} for {name}, got {value.shape}; "
                f"the layer's sharing is {self.sharing.kind!r}"
            )
        return jnp.broadcast_to(value, shape)

    def __call__(self, y: jax.Array, params: Mapping[str, jax.Array]) -> jax.Array:
        """Returns z, with the shape of y, in `dtype` or, if that is None, in the dtype of y.

        If the function promotes its input, the result is cast back.

        Raises:
          ValueError: if the last axes of y are not the layer's features.
          TypeError: if y does not have a float dtype.
        """
        y = jnp.asarray(y)
        self.sharing.check_input(y.shape, self.record.name)
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(f"{self.record.name}: expected an input of a float dtype, got {y.dtype}; cast it first")
        y = y.astype(self.dtype or y.dtype)
        aligned = {name: self.sharing.align(p.astype(y.dtype), y.ndim) for name, p in params.items()}
        return self.record.fn(y, **aligned).astype(y.dtype)


def _refuse_unknown(record: Activation, names: Collection[str], what: str) -> None:
    if unknown := sorted(set(names) - set(record.params)):
        raise ValueError(f"{record.name}: expected {what} {', '.join(record.params)}, got {unknown}")


def _float(dtype: DTypeLike, what: str = "param_dtype") -> np.dtype:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"expected {what} to be a float dtype, got {jnp.dtype(dtype)}")
    return jnp.dtype(dtype)
