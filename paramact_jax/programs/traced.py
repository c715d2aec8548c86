"""A function as the program that it is for arguments of some shapes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from paramact_jax.programs.identity import Identity, describe

_TRACES = itertools.count(1)


class Traced:
    """A function traced once: called, it does what it did then, whatever has become of globals meanwhile.

    Two of them are equal if the programs are, with the names of their inputs and outputs. One whose constants have
    been changed in place since then is equal to no other, nor to itself.

    Args:
      fn: a pure function.
      args: trees of `jax.ShapeDtypeStruct`.

    Attributes:
      identity: what the program is.
      outputs: tree of the shapes that it returns.

    Examples:
      >>> shape = jax.ShapeDtypeStruct((2,), "float32")
      >>> Traced(lambda x: 2 * x, shape) == Traced(lambda y: 2 * y, shape)
      True
      >>> Traced(lambda x: 2 * x, shape) == Traced(lambda x: 3 * x, shape)
      False
    """

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        with _afresh():
            self._closed, out = jax.make_jaxpr(fn, return_shape=True)(*args)
        self.outputs = shapes_of(out)
        self._names = [path for arg in args for path in _paths(arg)], _paths(out)
        self._trees: tuple[Any, Any] = jax.tree.structure(args), jax.tree.structure(out)
        self.identity = self._describe()

    def __call__(self, *args: Any) -> Any:
        """Results, of arrays or of anything else that JAX traces."""
        if jax.tree.structure(args) != self._trees[0]:
            raise ValueError(f"expected arguments as traced, {self._trees[0]}, got {jax.tree.structure(args)}")
        return jax.tree.unflatten(self._trees[1], jaxpr_as_fun(self._closed)(*jax.tree.leaves(args)))

    def __hash__(self) -> int:
        return hash(self.identity.digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traced) or (self.identity.digest, self._trees) != (
            other.identity.digest,
            other._trees,
        ):
            return False
        return all(x._describe().digest == x.identity.digest for x in (self, other))

    def _describe(self) -> Identity:
        return describe(self._closed, inputs=self._names[0], outputs=self._names[1])


def shapes_of(tree: Any) -> Any:
    """Give shapes and dtypes of a tree of arrays, to trace with."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _paths(tree: Any) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


def _afresh() -> contextlib.AbstractContextManager[Any]:
    """Have JAX trace everything again, functions within the function too.

    JAX keeps what it traced of a loop's body or a jitted function, and does not look at the globals that they read
    again. What it keeps is found by its settings too, and this one says nothing before a program is compiled.
    """
    try:
        from jax._src.config import pgle_profiling_runs
    except ImportError:
        return contextlib.nullcontext()
    return pgle_profiling_runs(2**20 + next(_TRACES))
