"""The state of a training as plain arrays, for blocks and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.sweeps.arguments import returned
from paramact_jax.sweeps.storage.atomic import Arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _PackedKey:
    """A random key as its data."""

    data: jax.Array
    implementation: Any = dataclasses.field(metadata={"static": True})


def pack(state: Any) -> Any:
    """Returns the state with every leaf as an array with a dtype, and random keys as their data.

    Raises:
      ValueError: in one line, for a leaf that is not an array.
    """

    def packed(path: Any, leaf: Any) -> Any:
        array = returned(f"state{_name(path)}", leaf)
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return _PackedKey(jax.random.key_data(array), jax.random.key_impl(array))
        return array.astype(array.dtype)  # no longer weakly typed, as a Python number is

    return jax.tree_util.tree_map_with_path(packed, state)


def unpack(packed: Any) -> Any:
    """Returns the state that `pack` got."""
    return jax.tree.map(
        lambda x: jax.random.wrap_key_data(x.data, impl=x.implementation) if isinstance(x, _PackedKey) else x,
        packed,
        is_leaf=lambda x: isinstance(x, _PackedKey),
    )


def check_same_kind(before: Any, after: Any) -> None:
    """Refuses a step that returns a state of another kind.

    Args:
      before: the packed state that the step got.
      after: the packed state that the step returned.

    Raises:
      ValueError: in one line, which names a leaf that is missing, new, or of another shape or dtype.
    """
    given, returned = (
        {_name(path): f"{x.dtype}{list(x.shape)}" for path, x in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (before, after)
    )
    for name in {**given, **returned}:
        if given.get(name) != returned.get(name):
            raise ValueError(
                f"step: expected a state like the one it was given, got state{name}: {returned.get(name, 'nothing')} "
                f"instead of {given.get(name, 'nothing')}; return the same tree, shapes and dtypes"
            )
    trees = [str(jax.tree.structure(tree)) for tree in (before, after)]
    if trees[0] != trees[1]:
        raise ValueError(
            f"step: expected a state like the one it was given, got {trees[1]} instead of {trees[0]}; return the same "
            f"tree"
        )


def to_named(state: Any, noted: Sequence[Arrays] = ()) -> Arrays:
    """Returns the leaves of a state by number, and the values observed before it, for a file."""
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    return leaves | {f"{i}:{name}": x for i, arrays in enumerate(noted) for name, x in arrays.items()}


def from_named(arrays: Arrays, like: Any) -> tuple[Any, list[Arrays]]:
    """Returns the state of `to_named`, as a tree like `like`, and the observed values."""
    leaves, structure = jax.tree.flatten(like)
    noted: list[Arrays] = []
    for key, x in arrays.items():
        i, separator, name = key.partition(":")
        if separator:
            noted.extend({} for _ in range(int(i) + 1 - len(noted)))
            noted[int(i)][name] = x
    return jax.tree.unflatten(structure, [arrays[str(i)] for i in range(len(leaves))]), noted


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path).removesuffix(".data")
