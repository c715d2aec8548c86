"""One call of a model, as a function of the arrays among its parameters and arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.programs.program import settings


class Call(NamedTuple):
    """The arguments of one call, and how to call with them.

    Attributes:
      call: maps (learned, held, *args, **kwargs) to a result.
      scope: makes the path of a module of the scopes of a place.
      learned: tree of the learned parameters.
      held: tree of what else belongs to the model.
      args: positional arguments. What is no array in them is as it is, so that flags stay flags.
      kwargs: named arguments.
    """

    call: Callable[..., Any]
    scope: Callable[[str], str]
    learned: Any
    held: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class FlatCall:
    """A call as a function of its arrays alone.

    Attributes:
      call: the call.
      arrays: among its parameters and arguments, in order.
      learned: for each of them, whether it is a learned parameter of a float dtype.
      given: for each of them, whether it is one of the arguments.
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
        """What decides how the call is traced. It cannot be hashed if an argument that is no array cannot."""
        fixed = tuple((type(leaf), leaf) for leaf in self._leaves)
        return self.call.call, fixed, self._tree, tuple(map(jax.typeof, self.arrays)), settings()

    def function(self, arrays: Sequence[Any]) -> Any:
        """Returns the result for these arrays."""
        rest = iter(arrays)
        leaves = [next(rest) if x is _ARRAY else x for x in self._leaves]
        learned, held, args, kwargs = jax.tree.unflatten(self._tree, leaves)
        return self.call.call(learned, held, *args, **kwargs)


_ARRAY = object()
"""Stands where an array was."""


def _path(path: Any) -> str:
    """The path of a parameter; nnx has the variable's value below it."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def is_array(x: Any) -> bool:
    """Tells whether a leaf of a tree is an array."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def as_arrays(params: Any) -> Any:
    """Returns a tree of parameters with arrays for its Python floats, which may be learned as well."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, params)
