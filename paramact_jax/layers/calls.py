"""Turns one call of a model into a function of the arrays among its parameters and arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.programs.program import settings


class Call(NamedTuple):
    """The arguments of one call and the function that they are given to.

    Attributes:
      call: maps (learned, held, *args, **kwargs) to a result.
      scope: turns the scopes of a place into the path of a module.
      learned: tree of the learned parameters.
      held: tree of the model's other values.
      args: positional arguments. Values that are not arrays stay as they are, so flags stay flags.
      kwargs: named arguments.
    """

    call: Callable[..., Any]
    scope: Callable[[str], str]
    learned: Any
    held: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class FlatCall:
    """A call as a function of its arrays only.

    Attributes:
      call: the call.
      arrays: the arrays among its parameters and arguments, in order.
      learned: for each array, whether it is a learned parameter of a float dtype.
      given: for each array, whether it belongs to the arguments.
    """

    def __init__(self, call: Call) -> None:
        leaves, self._tree = jax.tree.flatten((call.learned, call.held, call.args, call.kwargs))
        self.call = call
        self.arrays = [x for x in leaves if is_array(x)]
        self._leaves = [_ARRAY if is_array(x) else x for x in leaves]
        own = [x for x in jax.tree.leaves(call.learned) if is_array(x)]
        held = len(own) + sum(map(is_array, jax.tree.leaves(call.held)))
        others = len(self.arrays) - len(own)
        self.learned = [bool(jnp.issubdtype(x.dtype, jnp.inexact)) for x in own] + [False] * others
        self.given = [number >= held for number in range(len(self.arrays))]

    @property
    def names(self) -> list[str]:
        """Paths of the learned parameters of a float dtype, joined by dots."""
        leaves = [(path, x) for path, x in jax.tree_util.tree_leaves_with_path(self.call.learned) if is_array(x)]
        return [_path(path) for (path, _), is_learned in zip(leaves, self.learned, strict=False) if is_learned]

    @property
    def key(self) -> Any:
        """All that decides how the call is traced; not hashable if an argument is neither an array nor hashable."""
        fixed = tuple((type(leaf), leaf) for leaf in self._leaves)
        return self.call.call, fixed, self._tree, tuple(map(jax.typeof, self.arrays)), settings()

    def function(self, arrays: Sequence[Any]) -> Any:
        """Returns the result for these arrays."""
        rest = iter(arrays)
        leaves = [next(rest) if x is _ARRAY else x for x in self._leaves]
        learned, held, args, kwargs = jax.tree.unflatten(self._tree, leaves)
        result = self.call.call(learned, held, *args, **kwargs)
        for path, x in jax.tree_util.tree_leaves_with_path(result):
            if isinstance(x, str | bytes) or callable(x):
                where = jax.tree_util.keystr(path)
                raise TypeError(
                    f"expected a model that returns arrays, got {type(x).__name__} at {where} of its result"
                )
        return result


_ARRAY = object()
"""Marks the place of an array."""


def _path(path: Any) -> str:
    """Returns the path of a parameter, without the last part "value" that nnx adds."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def is_array(x: Any) -> bool:
    """Tells whether a leaf of a tree is an array."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def as_arrays(params: Any) -> Any:
    """Returns a tree of parameters with its Python floats as arrays, since floats may be learned too."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, params)
