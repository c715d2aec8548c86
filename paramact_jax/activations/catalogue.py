"""Finds activation records by name: the package's own, those that a user registers, and functions in a user's files."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from paramact_jax.activations import rectifiers, shaped, wrapped, zoo
from paramact_jax.activations.hexpo import hexpo, parametric_hexpo
from paramact_jax.activations.parametric import parametric, parametric_relu, parametric_sigmoid, parametric_tanh, ppns
from paramact_jax.activations.record import Activation, activation
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
_REGISTERED: dict[str, Activation] = {}
_PARAMETRIC = "parametric"


def names() -> tuple[str, ...]:
    """Returns the names that `get` knows: the package's own first, then the registered ones."""
    return (*_BY_NAME, *_REGISTERED)


def get(name: str) -> Activation:
    """Returns the record of a name.

    A name with a colon finds a function or a record outside the catalogue: "package.module:gate" in a module that can
    be imported, "files/mine.py:gate" in a file. "parametric:gelu" or "parametric:files/mine.py:gate" is `parametric` of
    the function after the first colon. Each record is made once, so equal names give the same record.

    Raises:
      ValueError: if the name is unknown (the message lists the nearest names, then all names), or if a module or a file
        cannot be imported (the message says why).

    Examples:
      >>> get("ppns").params["a"]
      6.0
      >>> get("parametric:softsign").formula
      'a * (y / (1 + |y|)) at y - b'
      >>> get("jax.nn:gelu").name
      'gelu'
    """
    found = _BY_NAME.get(name) or _REGISTERED.get(name)
    if found is not None:
        return found
    if ":" in name:
        return _elsewhere(name)
    near = difflib.get_close_matches(name, names())
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"unknown activation {name!r}: {hint}expected one of {', '.join(names())}")


def register(own: Activation | Callable[..., jax.Array], name: str | None = None) -> Activation:
    """Adds a record, or the record of an elementwise function, to the catalogue of this process.

    Args:
      own: a record, or a function that `activation` accepts.
      name: the name that finds it; by default its own name.

    Returns:
      The record.

    Raises:
      ValueError: if another record has the name, or the name has a colon.
      TypeError, ValueError: as `activation` raises them.

    Examples:
      >>> register(lambda y: y * jax.nn.sigmoid(1.702 * y), name="quick_gelu").name
      'quick_gelu'
      >>> get("quick_gelu").params, "quick_gelu" in names()
      (mappingproxy({}), True)
    """
    record = own if isinstance(own, Activation) else activation(own, name)
    name = name or record.name
    if ":" in name:
        raise ValueError(f"name: expected one without a colon, which stands between a module and a name, got {name!r}")
    if (_BY_NAME | _REGISTERED).get(name, record) is not record:
        raise ValueError(f"name: expected one that no other record has, got {name!r}; choose another")
    if name not in _BY_NAME:
        _REGISTERED[name] = record
    return record


def is_own(record: Activation) -> bool:
    """Returns whether a record belongs to the package's own catalogue, which every process has."""
    return _BY_NAME.get(record.name) is record


def resolve(activation: str | Activation) -> Activation:
    """Returns the record itself, or the record of that name; raises ValueError as `get` does."""
    return get(activation) if isinstance(activation, str) else activation


@functools.cache
def _elsewhere(name: str) -> Activation:
    place, _, attribute = name.rpartition(":")
    if name.startswith(f"{_PARAMETRIC}:"):
        return parametric(get(name.removeprefix(f"{_PARAMETRIC}:")))
    found = getattr(_module(place, name), attribute, None)
    if isinstance(found, Activation):
        return found
    if not callable(found):
        got = "no such name" if found is None else repr(found)
        raise ValueError(f"activation {name!r}: expected a function or a record called {attribute!r} there, got {got}")
    try:
        return activation(found)
    except TypeError as error:  # the user gave a name, which is a wrong value and not a wrong type
        raise ValueError(f"activation {name!r}: {error}") from error


def _module(place: str, name: str) -> Any:
    """Imports and returns the module of this name or file."""
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).resolve()
        called = f"activations_of_{path.stem}"
        spec = importlib.util.spec_from_file_location(called, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        module = sys.modules[called] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise ValueError(
            f"activation {name!r}: expected a module or a file that can be imported before the colon, got "
            f"{type(error).__name__}: {error}"
        ) from error
    return module
