"""Which function it is: its name, its source, and the values it captured."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_DEEPEST = 8
_MOST_PARTS = 50
_MOST_PARTS_NEAR_THE_TOP = 500  # where a name in a message says most
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic, jax.Array)
_BY_NAME = (types.ModuleType, types.BuiltinFunctionType, type)


def describe_function(name: str, fn: Callable[..., Any]) -> dict[str, str]:
    """What tells a function from a changed one, by name, for messages.

    Looked at are its qualified name, its source (its bytecode where there is no source), default arguments, values in
    its closure, the arguments of a `functools.partial`, the attributes of a callable object, and the global values and
    functions that it uses, all of them in the same way; the globals of functions of installed packages, other than that
    of `fn` itself, are left alone. What a function reaches as an attribute of a module or a class is not seen.

    Args:
      name: what to call it.
      fn: the function.

    Examples:
      >>> def scaled(factor):
      ...     return lambda x: factor * x
      >>> describe_function("train_one", scaled(3))["train_one.factor"]
      '3'
    """
    module = getattr(inspect.unwrap(fn), "__module__", None) or type(fn).__module__
    found: dict[str, str] = {}
    _Description(module.partition(".")[0]).add(name, fn, found, 0)
    return found


def describe_value(value: Any) -> str:
    """A value in one short line: itself where that is short, else type, shape and checksum."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {describe_value(jax.random.key_data(value))}"
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        if array.size <= 8 and array.dtype != object:
            return f"{array.dtype} {array.tolist()}"
        return f"{array.dtype}{list(array.shape)} {checksum(np.ascontiguousarray(array).tobytes())}"
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"{type(value).__name__} {checksum(text.encode())}"


def checksum(content: bytes) -> str:
    """The first twelve digits of the SHA-256."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:12]}"


class _Description:
    """Looks into values, into each once.

    Args:
      package: the package whose functions' globals are looked at.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._owned: dict[str, bool] = {}
        self._seen: dict[int, Any] = {}  # the values too: an id is only theirs while they live

    def add(self, name: str, value: Any, found: dict[str, str], depth: int) -> None:
        """Describe `value` under `name` in `found`."""
        if isinstance(value, _PLAIN):
            found[name] = describe_value(value)
            return
        if isinstance(value, _BY_NAME) or id(value) in self._seen or depth > _DEEPEST:
            kind = type(value).__qualname__
            found[name] = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", kind))
            return
        self._seen[id(value)] = value
        within: dict[str, str] = {}
        for part, inner in self._parts(name, value, found).items():
            self.add(f"{name}.{part}", inner, within, depth + 1)
        if depth and len(within) > (_MOST_PARTS if depth > 2 else _MOST_PARTS_NEAR_THE_TOP):
            within = {f"{name}.parts": f"{len(within)} {checksum(repr(sorted(within.items())).encode())}"}
        found |= within

    def _parts(self, name: str, value: Any, found: dict[str, str]) -> dict[str, Any]:
        if isinstance(value, Mapping):
            return {str(key): inner for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return {str(i): inner for i, inner in enumerate(value)}
        if isinstance(value, functools.partial):
            return {"func": value.func, **{str(i): x for i, x in enumerate(value.args)}, **value.keywords}
        if callable(value):
            method_of = getattr(value, "__self__", None)
            fn = inspect.unwrap(getattr(value, "__func__", value))
            if isinstance(fn, types.FunctionType):
                found[name] = f"{fn.__module__}.{fn.__qualname__}"
                found[f"{name}.source"] = _source(fn)
                return self._parts_of_function(fn) | ({} if method_of is None else {"self": method_of})
        found[name] = f"{type(value).__module__}.{type(value).__qualname__}"
        call = {"__call__": type(value).__call__} if callable(value) else {}
        return dict(getattr(value, "__dict__", {})) | call

    def _parts_of_function(self, fn: types.FunctionType) -> dict[str, Any]:
        parameters = inspect.signature(fn).parameters.items()
        defaults = {key: p.default for key, p in parameters if p.default is not inspect.Parameter.empty}
        captured = dict(zip(fn.__code__.co_freevars, map(_content, fn.__closure__ or ()), strict=True))
        names = sorted(_globals_of(fn.__code__)) if self._is_own(fn.__module__ or "") else []
        return defaults | {name: fn.__globals__[name] for name in names if name in fn.__globals__} | captured

    def _is_own(self, module: str) -> bool:
        """Whether a module is of the function's own package, or no installed one."""
        if module not in self._owned:
            file = getattr(sys.modules.get(module), "__file__", None)
            installed = file is not None and Path(file).resolve().is_relative_to(_STANDARD_LIBRARY)
            installed = installed or (file is not None and "site-packages" in Path(file).parts)
            self._owned[module] = module.partition(".")[0] == self._package or not installed
        return self._owned[module]


def _globals_of(code: types.CodeType) -> set[str]:
    """Names of the globals that a function reads, functions within it included."""
    names = {x.argval for x in dis.get_instructions(code) if x.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _source(fn: types.FunctionType) -> str:
    try:
        return checksum(inspect.getsource(fn).encode())
    except (OSError, TypeError):
        return checksum(_code(fn.__code__))


def _code(code: types.CodeType) -> bytes:
    constants = [_code(x) if isinstance(x, types.CodeType) else repr(x).encode() for x in code.co_consts]
    return b"|".join([code.co_code, repr(code.co_names).encode(), *constants])
