"""Start values of parameters: numbers, arrays and initialisers, also with named axes of a mesh."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from flax.core import meta
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

Start = ArrayLike | Initializer | Literal["critical"]

_NAMES_OF_AXES = ("sharding", "sharding_names", "out_sharding")  # names in different versions of Flax


class Starts(Mapping[str, Start]):
    """Start values by parameter name; they are compared and hashed by value, arrays by content.

    So a linen module that holds them is hashable, which `jax.jit(model.init)` needs.

    Examples:
      >>> one, other = (Starts({"a": np.ones(3), "b": 0.5}) for _ in range(2))
      >>> one == other, hash(one) == hash(other), one == Starts({"a": np.ones(2)})
      (True, True, False)
    """

    def __init__(self, starts: Mapping[str, Start]) -> None:
        self._starts = dict(starts)

    def __getitem__(self, name: str) -> Start:
        return self._starts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        return repr(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Starts) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> frozenset[Any]:
        return frozenset((name, _content(start)) for name, start in self._starts.items())


def _content(start: Any) -> Any:
    if callable(start):
        return start
    if isinstance(start, jax.core.Tracer):
        return id(start)
    array = np.asarray(start)
    return array.shape, str(array.dtype), array.tobytes()


def map_value(made: Any, fn: Callable[[Any], jax.Array], *, axes_before: int | None = None) -> Any:
    """Returns fn(array) for the result of an initialiser, in the same Flax box with names of mesh axes if it has one.

    Args:
      made: an array, or the box of `nnx.with_partitioning` or `linen.with_partitioning`.
      fn: function of the array.
      axes_before: number of axes of the array. Give it if fn adds an axis after the first: if the box has this number
        of names, the new axis has no name. None: the names stay.
    """

    def named(names: Any) -> Any:
        return (*names[:1], None, *names[1:]) if axes_before is not None and len(names) == axes_before else names

    if isinstance(made, nnx.VariableMetadata):
        axes = {key: named(made.metadata[key]) for key in _NAMES_OF_AXES if made.metadata.get(key)}
        return dataclasses.replace(made, raw_value=fn(made.raw_value), metadata={**made.metadata, **axes})
    if isinstance(made, meta.Partitioned):
        return made.replace(value=fn(made.value), names=named(made.names))
    if isinstance(made, meta.AxisMetadata):
        return made.replace_boxed(fn(made.unbox()))
    return fn(made)
