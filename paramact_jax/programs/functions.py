"""Describes a Python function that a program calls while it runs, since its operations cannot be read."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramact_jax.programs.values import checksum, describe_value, is_array

_DEEPEST = 8
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.dtype)


def describe_function(fn: Any) -> str:
    """Returns the name of a function, and a checksum of everything that its results depend on, as far as possible.

    The checksum covers its bytecode, its default arguments, the values in its closure, the object that it is a method
    of, the attributes of a callable object, and the globals and functions of modules that it uses, all in the same way.
    It leaves out the bytecode and the globals of functions of installed packages, and values eight levels deep.

    Args:
      fn: a function or any other callable.

    Examples:
      >>> def scaled(factor):
      ...     return lambda x: factor * x
      >>> describe_function(scaled(2)) == describe_function(scaled(2))
      True
      >>> describe_function(scaled(2)) == describe_function(scaled(3))
      False
    """
    parts = _Parts()
    parts.add("", fn, 0)
    return f"{_name(fn)} {checksum(chr(10).join(parts.found).encode())}"


class _Parts:
    """Describes values and their parts, each once, in an order that depends only on the values."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._seen: dict[int, tuple[int, Any]] = {}  # with the values, so that their ids stay their own

    def add(self, name: str, value: Any, depth: int) -> None:
        if isinstance(value, _PLAIN) or is_array(value):
            self.found.append(f"{name} {describe_value(value)}")
        elif id(value) in self._seen:
            self.found.append(f"{name} again {self._seen[id(value)][0]}")
        else:
            self._seen[id(value)] = len(self._seen), value
            self.found.append(f"{name} {_name(value)}")
            if depth < _DEEPEST and not isinstance(value, types.ModuleType | types.BuiltinFunctionType | type):
                for part, inner in _within(value):
                    self.add(f"{name}.{part}", inner, depth + 1)


def _within(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), value[key]) for key in sorted(value, key=str)]
    if isinstance(value, set | frozenset):
        return [(str(i), x) for i, x in enumerate(sorted(value, key=describe_value))]
    if isinstance(value, tuple | list):
        return [(str(i), x) for i, x in enumerate(value)]
    if isinstance(value, functools.partial):
        return [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
    if isinstance(value, types.MethodType):
        return [("self", value.__self__), ("function", value.__func__)]
    if isinstance(value, types.CodeType):
        return _of_code(value)
    if isinstance(value, types.FunctionType):
        return _of_function(value)
    if dataclasses.is_dataclass(value):
        attributes = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    else:
        slots = getattr(type(value), "__slots__", ())
        attributes = {name: getattr(value, name, None) for name in ((slots,) if isinstance(slots, str) else slots)}
    attributes |= getattr(value, "__dict__", {})
    method = inspect.getattr_static(type(value), "__call__", None)
    return [*sorted(attributes.items()), *([("call", method)] if isinstance(method, types.FunctionType) else [])]


def _of_code(code: types.CodeType) -> list[tuple[str, Any]]:
    return [("code", code.co_code), ("names", code.co_names), ("constants", code.co_consts)]


def _of_function(fn: types.FunctionType) -> Iterable[tuple[str, Any]]:
    closure = {name: _content(cell) for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)}
    parts = [("defaults", fn.__defaults__), ("keywords", fn.__kwdefaults__), *sorted(closure.items())]
    if _is_installed(fn.__module__):
        return parts
    names = sorted(_names(fn.__code__))
    used = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
    modules = [x for x in used.values() if isinstance(x, types.ModuleType) and not _is_installed(x.__name__)]
    reached = {f"{m.__name__}.{name}": getattr(m, name) for m in modules for name in names if hasattr(m, name)}
    return [("bytecode", fn.__code__), *parts, *used.items(), *reached.items()]


def _names(code: types.CodeType) -> set[str]:
    """Returns the names that a function looks up, with those of functions inside it."""
    inner = (_names(x) for x in code.co_consts if isinstance(x, types.CodeType))
    return set(code.co_names).union(*inner)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


@functools.cache
def _is_installed(module: str | None) -> bool:
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None:  # from a notebook, or from the interpreter itself
        return module in sys.builtin_module_names
    return "site-packages" in Path(file).parts or Path(file).resolve().is_relative_to(_STANDARD_LIBRARY)


def _name(value: Any) -> str:
    named = inspect.unwrap(value) if isinstance(value, types.FunctionType) else value
    if isinstance(named, types.CodeType):
        return "code"
    if isinstance(named, types.ModuleType):
        return named.__name__
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"
