"""Activation layers as `flax.nnx` modules."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations import Activation, catalogue, parametric
from paramact_jax.activations.record import Function


@functools.cache  # two models built alike then share one record, and so one graphdef and one compilation
def _parametric_record(f: str | Activation | Function) -> Activation:
    record = catalogue.get(f) if isinstance(f, str) else f
    return record if isinstance(record, Activation) and record.params else parametric(record)


class Parametric(nnx.Module):
    """Elementwise z = a f(y - b) with one a and one b for each of the last axis's `features`, in Flax params.

    Args:
      f: what to make parametric: a name in the catalogue ("tanh"), a record, or an elementwise function. A record
        that has parameters already ("ppns") is taken as it is.
      features: size of the last axis of the input.
      initial: start values by parameter name, each a number or an array of shape (features,); by default those of
        the record: a = 1.5 / max|f'|, b = 0 [P, section 4.1].
      param_dtype: dtype the parameters are held in. They are cast to the input's dtype in the computation, so the
        dtype that comes out is the one that went in.

    Raises:
      ValueError: for an unknown name, a parameter the record does not have, a start value of another shape, or a
        call with another size of the last axis.
      TypeError: for a call with integers.

    Examples:
      >>> import jax.numpy as jnp
      >>> layer = Parametric("tanh", features=3)
      >>> layer.a[...].tolist(), layer.b[...].tolist()
      ([1.5, 1.5, 1.5], [0.0, 0.0, 0.0])
      >>> layer(jnp.zeros((7, 3))).shape
      (7, 3)
    """

    def __init__(
        self,
        f: str | Activation | Function,
        features: int,
        *,
        initial: Mapping[str, ArrayLike] | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        record = _parametric_record(f)
        initial = dict(initial or {})
        if unknown := set(initial) - set(record.params):
            raise ValueError(
                f"{record.name}: expected start values for {', '.join(record.params)}, got one for {sorted(unknown)}"
            )
        self.activation = record
        self.features = features
        for name, start in record.params.items():
            value = jnp.asarray(initial.get(name, start), param_dtype)
            if value.shape not in ((), (features,)):
                raise ValueError(
                    f"{record.name}: expected a start value of shape () or ({features},) for {name}, got {value.shape}"
                )
            setattr(self, name, nnx.Param(jnp.broadcast_to(value, (features,))))

    def __call__(self, y: jax.Array) -> jax.Array:
        """Z of the shape and dtype of y, whose last axis has size `features`."""
        if y.ndim == 0 or y.shape[-1] != self.features:
            raise ValueError(
                f"{self.activation.name}: expected an input whose last axis has size {self.features}, "
                f"got shape {y.shape}; build the layer with features={y.shape[-1] if y.ndim else '...'}"
            )
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(f"{self.activation.name}: expected an input of a float dtype, got {y.dtype}; cast it first")
        params = {name: getattr(self, name)[...].astype(y.dtype) for name in self.activation.params}
        lead = (1,) * (y.ndim - 1)
        return self.activation.fn(y, **{name: p.reshape(*lead, self.features) for name, p in params.items()})
