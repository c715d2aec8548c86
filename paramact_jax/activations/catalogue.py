"""Every activation record by name."""

from __future__ import annotations

import difflib

from paramact_jax.activations import zoo
from paramact_jax.activations.parametric import parametric_relu, parametric_sigmoid, parametric_tanh, ppns
from paramact_jax.activations.record import Activation

_RECORDS = (
    zoo.identity,
    zoo.sigmoid,
    parametric_sigmoid,
    zoo.pn_sigmoid,
    ppns,
    zoo.tanh,
    parametric_tanh,
    zoo.relu,
    zoo.relu_from_right,
    parametric_relu,
)
_BY_NAME = {record.name: record for record in _RECORDS}
if len(_BY_NAME) != len(_RECORDS):
    raise RuntimeError("two activation records share a name")


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_BY_NAME)


def get(name: str) -> Activation:
    """The record called `name`.

    Raises:
      ValueError: if there is none; the message lists the names and the nearest one.

    Examples:
      >>> get("ppns").params["a"]
      6.0
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"unknown activation {name!r}: expected one of {', '.join(_BY_NAME)}{hint}")
