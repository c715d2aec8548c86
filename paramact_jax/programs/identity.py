"""The identity of a program: its operations and constants as text, the same in every process, and the text's digest."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import numpy as np
from jax.extend.core import Literal

from paramact_jax.programs.functions import describe_function
from paramact_jax.programs.values import describe_value, is_array, without_addresses

_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call")  # their rules are no longer evaluated
_SILENT = {"np_printoptions", "logging_record", "donated_invars", "keep_unused", "inline"}  # compute nothing
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_UNSPECIFIED = re.compile(r"\((None|UnspecifiedValue|,)*\)")


@dataclasses.dataclass(frozen=True)
class Identity:
    """A program as text.

    Attributes:
      lines: the inputs, the operations, the outputs. Programs inside an operation are indented below it; a program that
        occurs again has only its number. A constant is written where it is used, a long constant as its checksum.
      sources: the source of each line, as JAX keeps it. It is not part of the identity.
    """

    lines: tuple[str, ...]
    sources: tuple[Any, ...] = dataclasses.field(default=(), repr=False, compare=False)

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the text."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    def where(self, line: int) -> str:
        """Returns the file and line of a line's source, in the user's own code if possible; empty if not known."""
        try:
            from jax._src.source_info_util import user_frames

            frames = list(user_frames(self.sources[line].traceback))
        except (ImportError, AttributeError, IndexError, TypeError):
            return ""
        own = [frame for frame in frames if "site-packages" not in frame.file_name] or frames
        return f"{own[0].file_name.rpartition('/')[2]}:{own[0].start_line}" if own else ""


def describe(closed: Any, *, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Identity:
    """Returns the identity of a traced program.

    Names of functions and lines of the source do not count. For Python functions that the program calls while it runs,
    see `describe_function`.

    Args:
      closed: a ClosedJaxpr, as `jax.make_jaxpr` returns it.
      inputs: names of the inputs, which are part of the identity.
      outputs: names of the outputs, which are part of it too.

    Examples:
      >>> import jax
      >>> for line in describe(jax.make_jaxpr(lambda x: 2 * x + 1)(1.0)).lines:
      ...     print(line)
      input v0:f32[]~
      v1:f32[]~ = mul 2.0:f32[]~ v0
      v2:f32[]~ = add v1 1.0:f32[]~
      output v2
    """
    reader = _Reader()
    reader.put(reader.read(closed, inputs, outputs), 0)
    return Identity(tuple(reader.lines), tuple(reader.sources))


class _Line(NamedTuple):
    text: str
    source: Any = None
    programs: tuple[tuple[str, _Program], ...] = ()


class _Program(NamedTuple):
    lines: tuple[_Line, ...]
    digest: str


class _Reader:
    """Reads and writes every program only once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sources: list[Any] = []
        self._read: dict[int, tuple[Any, _Program]] = {}  # with the program, so that its id stays its own
        self._constants: dict[int, tuple[Any, str]] = {}
        self._numbers: dict[str, int] = {}

    def put(self, program: _Program, depth: int) -> None:
        """Writes a program, and the programs inside it where they occur first."""
        for line in program.lines:
            self._put("  " * depth + line.text, line.source)
            for name, inner in line.programs:
                again = inner.digest in self._numbers
                number = self._numbers.setdefault(inner.digest, len(self._numbers) + 1)
                self._put("  " * (depth + 1) + f"program {name} {number}{' again' if again else ''}", line.source)
                if not again:
                    self.put(inner, depth + 2)

    def _put(self, text: str, source: Any) -> None:
        self.lines.append(text)
        self.sources.append(source)

    def read(self, program: Any, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> _Program:
        """Reads a program, closed or with variables for its constants."""
        if id(program) not in self._read:
            lines = tuple(self._lines(program, inputs, outputs))
            digest = hashlib.sha256()
            for line in lines:
                digest.update(f"{line.text}\n{[(name, inner.digest) for name, inner in line.programs]}\n".encode())
            self._read[id(program)] = program, _Program(lines, digest.hexdigest())
        return self._read[id(program)][1]

    def _lines(self, program: Any, inputs: Sequence[str], outputs: Sequence[str]) -> list[_Line]:
        jaxpr, constants = getattr(program, "jaxpr", program), getattr(program, "consts", ())
        names: dict[Any, str] = {}

        def define(variable: Any) -> str:
            names[variable] = f"v{len(names)}"
            return f"{names[variable]}:{_type(variable.aval)}"

        def use(atom: Any) -> str:
            if not isinstance(atom, Literal):
                return known[atom] if atom in known else names[atom]
            value, aval = atom.val, cast(Any, atom.aval)
            number = isinstance(aval.dtype, np.dtype) and not np.shape(value)
            text = str(np.asarray(value, aval.dtype)[()]) if number else self._constant(value)  # exact, and short
            return f"{text}:{_type(aval)}"

        known: dict[Any, str] = {}
        open_ = list(jaxpr.constvars)
        if len(constants) == len(open_):
            known = {v: f"{self._constant(x)}:{_type(v.aval)}" for v, x in zip(open_, constants, strict=True)}
            open_ = []
        given = [*open_, *jaxpr.invars]
        lines = [_Line(f"input {_label(inputs, i)}{define(v)}") for i, v in enumerate(given)]
        for eqn in jaxpr.eqns:
            operands = [use(atom) for atom in eqn.invars]
            programs: list[tuple[str, _Program]] = []
            params = self._params(eqn, programs)
            left = " ".join(define(v) for v in eqn.outvars)
            text = " ".join([f"{left} =", eqn.primitive.name, *operands, *params, *_context(eqn)])
            lines.append(_Line(text, eqn.source_info, tuple(programs)))
        return [*lines, *(_Line(f"output {_label(outputs, i)}{use(v)}") for i, v in enumerate(jaxpr.outvars))]

    def _params(self, eqn: Any, programs: list[tuple[str, _Program]]) -> list[str]:
        rules = eqn.primitive.name.startswith(_DERIVATIVES)
        found: dict[str, str] = {}
        for name, value in sorted(eqn.params.items()):
            empty = value is None or getattr(value, "empty", False)  # such as an empty mesh
            rule = rules and not (_is_program(value) or isinstance(value, bool | int))
            if not (name in _SILENT or empty or rule):
                found[name] = self._value(name, value, programs)
        if programs:
            found.pop("name", None)
        return [f"{name}={text}" for name, text in found.items() if not _UNSPECIFIED.fullmatch(text)]

    def _value(self, path: str, value: Any, programs: list[tuple[str, _Program]]) -> str:
        """Returns a parameter as one word; programs in it are added to `programs`."""
        within = functools.partial(self._value, programs=programs)
        if _is_program(value):
            programs.append((path, self.read(value)))
            return "program"
        if isinstance(value, enum.Enum):
            return str(value)
        if is_array(value):
            return self._constant(value)
        if isinstance(value, type) or value is None:
            return getattr(value, "__name__", "None")
        if isinstance(value, Mapping):
            parts = [f"{key}:{within(f'{path}.{key}', value[key])}" for key in sorted(value, key=str)]
            return "{" + ",".join(parts) + "}"
        if isinstance(value, set | frozenset):
            return "{" + ",".join(sorted(within(path, x) for x in value)) + "}"
        if isinstance(value, tuple | list):
            names = getattr(value, "_fields", range(len(value)))
            parts = [within(f"{path}.{name}", x) for name, x in zip(names, value, strict=True)]
            return "(" + ",".join(parts) + ")"
        if hasattr(value, "str_short"):
            return _type(value)
        if isinstance(value, np.dtype):
            return str(value)
        return _word(describe_function(value) if _ADDRESS.search(repr(value)) else describe_value(value))

    def _constant(self, value: Any) -> str:
        if id(value) not in self._constants:
            self._constants[id(value)] = value, _word(describe_value(value))
        return self._constants[id(value)][1]


def _is_program(value: Any) -> bool:
    return hasattr(value, "eqns") and hasattr(getattr(value, "jaxpr", value), "invars")


def _type(aval: Any) -> str:
    short = aval.str_short(True) if hasattr(aval, "str_short") else without_addresses(str(aval))
    return _word(short) + ("~" if getattr(aval, "weak_type", False) else "")


def _context(eqn: Any) -> list[str]:
    """Returns the settings around an operation that its results depend on."""
    partitionable = getattr(eqn.ctx, "threefry_partitionable", True)
    words = [] if partitionable else ["threefry_partitionable=False"]
    for name in ("compute_type", "xla_metadata"):
        if value := getattr(eqn.ctx, name, None):
            words.append(f"{name}={_word(repr(sorted(value.items()) if isinstance(value, Mapping) else value))}")
    return words


def _label(names: Sequence[str], i: int) -> str:
    return f"{quote(names[i])} " if i < len(names) else ""


def _word(text: str) -> str:
    return text.replace(", ", ",").replace("\n", "").replace(" ", "_")
