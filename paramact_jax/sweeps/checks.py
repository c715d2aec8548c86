"""Reports for each trial which `jax.experimental.checkify.check` in it failed."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from paramact_jax.programs.program import Program, walk

ERROR, SHOWN_AS = " error", "error"
"""Name of the error message among a trial's results, which no user's result can have, and in a dataset."""
LONGEST = 200
"""Number of bytes that are kept of a message."""


def has_checks(program: Program) -> bool:
    """Returns whether there is a `checkify.check` in a program."""
    return any(operation.name == "check" for operation in walk(program))


def checked(fn: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Returns a function with one more result: the first check that failed, as an `Error` of checkify."""

    def run(*arguments: Any) -> dict[str, Any]:
        error, results = checkify.checkify(fn, errors=checkify.user_checks)(*arguments)
        return {**results, ERROR: error}

    return run


class Raised:
    """The first check of a step that failed, kept as a part of the state {"own", "raised"}."""

    def __init__(self, step: Callable[..., Any], *arguments: Any) -> None:
        """Takes the step and the shapes of its arguments."""
        self._step = checkify.checkify(step, errors=checkify.user_checks)
        self._shapes = jax.eval_shape(lambda *own: jax.tree.leaves(self._step(*own)[0]), *arguments)
        self._tree: Any = None

    def init(self, init: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `init` with a state in which no check has failed."""
        return lambda *own: {"own": init(*own), "raised": [jnp.zeros(x.shape, x.dtype) for x in self._shapes]}

    def step(self, trial: dict[str, Any], *rest: Any) -> dict[str, Any]:
        """Carries out the step. A check that failed before is kept."""
        error, after = self._step(trial | {"state": trial["state"]["own"]}, *rest)
        found, self._tree = jax.tree.flatten(error)
        before = trial["state"]["raised"]
        holds = itertools.takewhile(lambda x: x.dtype == np.bool_, before)  # they say whether a check failed
        raised = functools.reduce(jnp.logical_or, holds)
        return {"own": after, "raised": [jnp.where(raised, x, y) for x, y in zip(before, found, strict=True)]}

    def told(self, fn: Callable[..., dict[str, Any]], *, tell: bool) -> Callable[..., dict[str, Any]]:
        """Returns a function of the state. With `tell`, its results include the check that failed."""

        def run(trial: dict[str, Any], *rest: Any) -> dict[str, Any]:
            results = fn(trial | {"state": trial["state"]["own"]}, *rest)
            error = jax.tree.unflatten(self._tree, trial["state"]["raised"])
            return {**results, ERROR: error} if tell else results

        return run


@contextlib.contextmanager
def counted_anew() -> Iterator[None]:
    """Numbers the checks of each traced program from the same number on.

    Before JAX 0.12 the numbers go on within a process, so that a program would differ each time it is traced.
    """
    from jax._src import checkify as own

    names = vars(own)
    before = names.get("next_code")
    if before is None:
        yield
        return
    names["next_code"] = itertools.count(1).__next__
    try:
        yield
    finally:
        names["next_code"] = before


def shapes(results: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of results, with a message in place of the `Error`."""
    message = jax.ShapeDtypeStruct((LONGEST,), np.uint8)
    return {name: message if name == ERROR else x for name, x in results.items()}


def with_messages(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the results of trials with messages in place of the `Error`: bytes, filled up with zeros."""
    if ERROR not in results:
        return dict(results)
    leaves = jax.tree.leaves(results[ERROR])
    found = np.zeros((len(leaves[0]), LONGEST), np.uint8)
    raised = np.any([x for x in leaves if x.dtype == np.bool_ and x.ndim == 1], axis=0)
    for i in np.flatnonzero(raised):
        message = jax.tree.map(lambda x, i=i: x[i], results[ERROR]).get() or ""
        content = " ".join(message.removesuffix(" (`check` failed)").split()).encode()[:LONGEST]
        found[i, : len(content)] = np.frombuffer(content, np.uint8)
    return {**results, ERROR: found}


def to_strings(messages: np.ndarray) -> np.ndarray:
    """Returns the messages as strings, without the last axis."""
    flat = [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in messages.reshape(-1, LONGEST)]
    return np.array(flat).reshape(messages.shape[:-1])
