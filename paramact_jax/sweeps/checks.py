"""Trials that raise: what `jax.experimental.checkify.check` finds within them, told for each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import checkify

from paramact_jax.programs.program import Program, walk

ERROR, SHOWN_AS = " error", "error"
"""Name of what a trial raised among its results, which no user's result has, and in a dataset."""
LONGEST = 200
"""Bytes of a message that are kept."""


def has_checks(program: Program) -> bool:
    """Returns whether there is a `checkify.check` in a program."""
    return any(operation.name == "check" for operation in walk(program))


def checked(fn: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Returns a function whose results hold also the first check that did not hold, as an `Error` of checkify."""

    def run(*arguments: Any) -> dict[str, Any]:
        error, results = checkify.checkify(fn, errors=checkify.user_checks)(*arguments)
        return {**results, ERROR: error}

    return run


def shapes(results: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of results with the message in place of the `Error`."""
    message = jax.ShapeDtypeStruct((LONGEST,), np.uint8)
    return {name: message if name == ERROR else x for name, x in results.items()}


def with_messages(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns results of trials with messages, as bytes filled up with zeros, in place of the `Error`."""
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
    """Returns the messages, without their last axis, as strings."""
    flat = [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in messages.reshape(-1, LONGEST)]
    return np.array(flat).reshape(messages.shape[:-1])
