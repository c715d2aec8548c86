"""Every activation record by name."""

from __future__ import annotations

import difflib

from paramact_jax.activations import rectifiers, shaped, wrapped, zoo
from paramact_jax.activations.hexpo import hexpo, parametric_hexpo
from paramact_jax.activations.parametric import parametric_relu, parametric_sigmoid, parametric_tanh, ppns
from paramact_jax.activations.record import Activation
from paramact_jax.activations.reltanh import reltanh

_RECORDS = (
    zoo.identity,
    rectifiers.step,
    rectifiers.sgn,
    zoo.sigmoid,
    parametric_sigmoid,
    zoo.pn_sigmoid,
    ppns,
    zoo.tanh,
    parametric_tanh,
    zoo.relu,
    zoo.relu_from_right,
    parametric_relu,
    rectifiers.leaky_relu,
    rectifiers.leaky_relu_tenth,
    shaped.prelu,
    rectifiers.elu,
    shaped.elu_alpha,
    rectifiers.relu6,
    rectifiers.thresholded_relu,
    zoo.softsign,
    zoo.arctan,
    zoo.softplus,
    zoo.bent_identity,
    zoo.gaussian,
    hexpo,
    parametric_hexpo,
    reltanh,
    shaped.isigmoid,
    shaped.swish,
    wrapped.silu,
    wrapped.gelu,
    wrapped.gelu_tanh,
    wrapped.selu,
    wrapped.mish,
    wrapped.celu,
    wrapped.hard_tanh,
    wrapped.hard_sigmoid,
    wrapped.hard_silu,
    wrapped.squareplus,
    wrapped.log_sigmoid,
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
      ValueError: if there is none; the message says the nearest names, then all.

    Examples:
      >>> get("ppns").params["a"]
      6.0
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"unknown activation {name!r}: {hint}expected one of {', '.join(_BY_NAME)}")


def resolve(activation: str | Activation) -> Activation:
    """The record itself, or the one of that name; raises ValueError as `get` does."""
    return get(activation) if isinstance(activation, str) else activation
