"""Finds where in the code an operation was made: the scopes around it, and the lines that were run."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import pathlib
import re
import sys
from typing import Any, NamedTuple

import jax

from paramact_jax.programs.program import Operation, trace

_TRANSFORM = re.compile(r"[\w.]+\(([^()]*)\)")
_DIFFERENTIATED = re.compile(r"\b(jvp|transpose)\(")
_TRACING = (trace.__code__.co_filename, trace.__name__)
_PACKAGE = pathlib.Path(__file__).parent.parent
_LAYER, _REWRITTEN = (str(_PACKAGE / "layers" / name) for name in ("elementwise.py", "rewritten.py"))
_NO_PLACES = (
    *(str(_PACKAGE) + os.sep, contextlib.__file__, functools.__file__),
    *(location + os.sep for location in jax.__path__),
)
"""Files with lines that say nothing about a place."""

_LIBRARIES = (
    *_NO_PLACES,
    *(
        location + os.sep
        for name in ("jaxlib", "flax", "optax", "chex", "distrax", "equinox", "haiku")
        if (spec := importlib.util.find_spec(name)) is not None
        for location in spec.submodule_search_locations or ()
    ),
)
"""Files with lines that are not the user's own."""

_ANY = re.compile("")
_PARTS = {
    "a normalisation": (re.compile(r"normalization\.py$"), _ANY),
    "a softmax": (_ANY, re.compile(r"softmax|logsumexp|dot_product_attention|standardize")),
    "a loss": (re.compile(r"[/\\]losses[/\\]|loss\.py$"), _ANY),
    "a random draw": (re.compile(r"random\.py$"), _ANY),
}
"""Files and functions of libraries with elementwise functions that are not activations."""


class Line(NamedTuple):
    """One line of code that was run."""

    file: str
    function: str
    number: int

    def __str__(self) -> str:
        return f"{pathlib.Path(self.file).name}:{self.number} in {self.function}"


class Place(NamedTuple):
    """The place where an operation was made.

    Attributes:
      scope: names of `jax.named_scope`, which linen gives every module, joined by slashes.
      lines: the lines that were run, the innermost first; empty if JAX keeps none.
    """

    scope: str
    lines: tuple[Line, ...]

    @property
    def own_lines(self) -> tuple[Line, ...]:
        """The lines outside JAX, Flax, related libraries and this package."""
        return tuple(line for line in self.lines if not line.file.startswith(_LIBRARIES))

    @property
    def library(self) -> str | None:
        """The part of a library that it belongs to, if no activation is there: a norm, a softmax or a loss; or None."""
        for line in self.lines:
            if _is_trainable(line):
                return TRAINABLE
            if line.file.startswith(_LIBRARIES):
                for part, (file, function) in _PARTS.items():
                    if file.search(line.file) and function.search(line.function):
                        return f"part of {part}"
        return None

    def __str__(self) -> str:
        others = () if self.scope else (line for line in self.lines if not line.file.startswith(_NO_PLACES))
        line = next(itertools.chain(self.own_lines, others), "")
        return ", ".join(str(part) for part in (self.scope, line) if part) or "unknown place"


TRAINABLE = "trainable already"
"""Why an activation of this package's layers is left as it is."""


def is_trainable(place: Place) -> bool:
    """Returns whether an operation is part of a trainable activation of this package."""
    return any(map(_is_trainable, place.lines))


def _is_trainable(line: Line) -> bool:
    return line.file == _LAYER or (line.file == _REWRITTEN and line.function.endswith(".by"))


def place_of(operation: Operation) -> Place:
    """Returns the place where an operation was made."""
    around = (*operation.within, operation.equation)
    scopes = (part for equation in around for part in _scopes(equation))
    lines = [line for equation in reversed(around) for line in _lines(equation)]
    return Place("/".join(scopes), tuple(lines))


def is_differentiated(operation: Operation) -> bool:
    """Returns whether an operation belongs to a derivative that the program takes, also with `jax.experimental.jet`."""
    if _DIFFERENTIATED.search(str(operation.equation.source_info.name_stack)) is not None:
        return True
    jet = sys.modules.get("jax.experimental.jet")  # it gives its operations no scope
    return jet is not None and any(line.file == jet.__file__ for line in _lines(operation.equation))


def _scopes(equation: Any) -> list[str]:
    name = str(equation.source_info.name_stack)
    while (plain := _TRANSFORM.sub(r"\1", name)) != name:
        name = plain
    return [part for part in name.split("/") if part]


def _lines(equation: Any) -> list[Line]:
    traceback = getattr(equation.source_info, "traceback", None)
    frames = traceback.frames if traceback is not None else ()
    lines = (Line(frame.file_name, frame.function_name, frame.line_num) for frame in frames)
    return list(itertools.takewhile(lambda line: line[:2] != _TRACING, lines))  # without the caller of `trace`
