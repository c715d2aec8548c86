"""Finds the elementwise operations of a program that together are an activation, and names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax.extend import core

from paramact_jax.activations import Activation, own_functions
from paramact_jax.activations.record import Function
from paramact_jax.programs import likeness
from paramact_jax.programs.chains import Chains, Piece, is_elementwise, is_elementwise_program, is_float
from paramact_jax.programs.marks import mark_p
from paramact_jax.programs.pointwise import UnevenError, pointwise, pointwise_program
from paramact_jax.programs.program import called_by, name_of, opened, walk

_STRONG = {
    **{name: name for name in ("tanh", "sin", "cos", "erf", "erfc")},
    **{"logistic": "sigmoid", "atan": "arctan", "asinh": "arcsinh"},
}
"""Primitives that make a function an activation, by the names of their functions."""

NAMES = frozenset(
    (
        *("celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid"),
        *("mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus", "sparse_sigmoid"),
        *("squareplus", "swish", "tanh"),
    )
)
"""Functions of `jax.nn` and Flax that are activations wherever a program calls them."""

_LINEAR = frozenset(("add", "sub", "add_any", "neg", "convert_element_type", "copy", "reduce_precision", "copy_p"))
_SCALING = frozenset(("mul", "div"))
_COMPARING = ("gt", "ge", "lt", "le", "eq", "ne")

_LONGEST = 12
"""Largest number of consecutive functions that are tried as one: 1 / (1 + exp(-y)) is four."""

_CORNERS = frozenset(("max", "min", "clamp", "select_n", "abs", "sign"))
"""Primitives with a kink: one alone may be a known activation, such as max(y, 0)."""


def is_strong(equation: Any) -> bool:
    """Returns whether an operation is an activation by its name, or calls one."""
    if equation.primitive is mark_p or name_of(equation) in _STRONG:
        return True
    called = called_by(equation)
    return called is not None and (
        _name_of_call(equation) in NAMES or any(is_strong(inner.equation) for inner in walk(called))
    )


WRITTEN_OUT = (
    "written out in a program that takes derivatives, which would not follow; to change it, put jax.jit around the "
    "function of y"
)


class Naming:
    """Finds and names the activations among the elementwise operations of a program."""

    def __init__(self, also: Sequence[Function], *, marks: bool = False) -> None:
        """Takes further functions that count as activations, and whether programs have calls of activations marked."""
        self.marks = marks
        self._also = [
            (f.name if isinstance(f, Activation) else own_functions.name_of(f), likeness.values_of(f)) for f in also
        ]
        self._values: dict[Any, np.ndarray] = {}

    def pieces(self, chains: Chains) -> Iterator[Piece]:
        """Yields the nonlinear pieces of a program, the last one first. No operation is in two pieces."""
        taken: set[int] = set()
        parts: set[int] = set()
        for equation in reversed(chains.equations):
            v = equation.outvars[0] if len(equation.outvars) == 1 else None
            if v is None or id(equation) in taken:
                continue
            if equation.primitive is mark_p:
                why = WRITTEN_OUT if id(equation) in parts else ""
                yield Piece((equation,), equation.invars[0], _plain_name(equation), why)
                continue
            if v in chains.parent and is_float(v):
                segment = chains.segment(v) if self.marks else []
                if any(e.primitive is mark_p for e in segment):
                    parts.update(_parts_of_one_function(segment, chains))
                    continue
                piece = self._ending_with(equation, chains, taken)
                if self.marks and piece is not None:
                    piece = piece._replace(why=piece.why or WRITTEN_OUT)
            elif chains.alone(equation) and is_elementwise(equation) and _is_nonlinear(equation, chains):
                piece = Piece((equation,), equation.invars[0], _plain_name(equation), "of parameters alone")
            else:
                continue
            if piece is not None and not isinstance(piece.y, core.Literal):
                taken.update(map(id, piece.equations))
                if chains.is_smooth(piece.y):
                    yield piece

    def called(self, program: Any, name: str) -> str | None:
        """Returns the name of the activation that a function of one array is; None: it is none.

        Args:
          program: program of the function.
          name: name of the function.
        """
        if not is_elementwise_program(program):
            return None
        if name in NAMES or any(is_strong(o.equation) for o in walk(program)):
            return name
        (y,), (z,) = opened(program)[0].invars, opened(program)[0].outvars
        nonlinear = any(_never_linear(o.equation) or name_of(o.equation) == "select_n" for o in walk(program))
        if not nonlinear or not is_float(z):
            return None
        try:
            values = likeness.values_of(lambda x: pointwise_program(program, x), y.aval.dtype)
        except UnevenError:
            return None
        return None if likeness.is_affine(values, z.aval.dtype) else self._named(values, z.aval.dtype)

    def _ending_with(self, equation: Any, chains: Chains, taken: set[int]) -> Piece | None:
        (v,) = equation.outvars
        segment, start = chains.segment(v), chains.parent[v]
        if taken & set(map(id, segment)) or not chains.closed(segment):
            return None
        piece = Piece(tuple(segment), start)
        if any(map(is_strong, segment)):
            piece = _with_scaling(piece, chains, taken)
            return piece._replace(function=self._strong_name(piece, chains))
        if not any(_is_nonlinear(e, chains) for e in segment):
            return None
        longest = list(self._lengthened(piece, chains, taken))
        after = chains.only_user(v)
        scaled = [after] if after is not None and _is_scaling_by_number(after) else []
        for longer in [p._replace(equations=(*p.equations, *end)) for p in reversed(longest) for end in ([], scaled)]:
            if (name := self._known(longer, chains)) is not None:
                why = "keeps a value from 0 before a root, logarithm or quotient" if chains.guards(v) else ""
                return longer._replace(function=name, why=why if name == "relu" else "")
        if (
            len(segment) > 1
            and (values := self._values_of(piece, chains)) is not None
            and likeness.is_affine(values, v.aval.dtype)
        ):
            return None
        name = _plain_name(equation) if len(segment) == 1 else _in_words(segment, chains)
        return piece._replace(function=name, why="not known as an activation; if it is one here, name it in also=(...)")

    def _lengthened(self, piece: Piece, chains: Chains, taken: set[int]) -> Iterator[Piece]:
        """Yields a piece, then longer ones with one more segment in front, while no other operation needs the parts."""
        yield piece
        for _ in range(_LONGEST):
            before = _in_front(piece, chains, taken)
            if before is None or any(map(is_strong, before.equations)):
                return
            piece = Piece((*before.equations, *piece.equations), before.y)
            yield piece

    def _strong_name(self, piece: Piece, chains: Chains) -> str:
        strong = next(equation for equation in reversed(piece.equations) if is_strong(equation))
        call = _name_of_call(strong)
        is_one = len([e for e in piece.equations if not _is_scaling_by_number(e)]) == 1
        if is_one and (call in NAMES or name_of(strong) in _STRONG):
            return _plain_name(strong)
        known = self._known(piece, chains)
        return known or (call if call and not call.startswith("_") else f"function of {_plain_name(strong)}")

    def _known(self, piece: Piece, chains: Chains) -> str | None:
        nonlinear = [e for e in piece.equations if _is_nonlinear(e, chains)]
        dtype = piece.equations[-1].outvars[0].aval.dtype
        single = len(nonlinear) == 1 and len(chains.data(nonlinear[0])) == 1
        if single and not self._also and not _may_be_known(nonlinear[0]):
            return None
        if (values := self._values_of(piece, chains)) is None or likeness.is_affine(values, dtype):
            return None
        return self._named(values, dtype)

    def _named(self, values: np.ndarray, dtype: Any) -> str | None:
        own = next((name for name, others in self._also if likeness.alike(values, others, dtype)), None)
        return own or likeness.known_as(values, dtype)

    def _values_of(self, piece: Piece, chains: Chains) -> np.ndarray | None:
        equations = [*(chains.fixed(piece) or ()), *piece.equations]
        key = text_of(equations, piece.y)
        if key not in self._values:
            try:
                values = likeness.values_of(lambda y: pointwise(equations, piece.y, y), piece.y.aval.dtype)
            except UnevenError:
                return None
            self._values[key] = values
        return self._values[key]


def _parts_of_one_function(segment: Sequence[Any], chains: Chains) -> list[int]:
    """Returns the marks in a function that is written out in several operations; none for parts of a derivative."""
    marks = [e for e in segment if e.primitive is mark_p]
    if any(mark.params["order"] for mark in marks) or not chains.closed(segment):
        return []
    return list(map(id, marks))


def _in_words(segment: Sequence[Any], chains: Chains) -> str:
    names = (_plain_name(e) for e in segment if _is_nonlinear(e, chains))
    return f"function of {', '.join(dict.fromkeys(names))}"


def _in_front(piece: Piece, chains: Chains, taken: set[int]) -> Piece | None:
    """Returns the segment that computes y from its parent, if only this piece needs y."""
    if piece.y not in chains.parent:
        return None
    segment = chains.segment(piece.y)
    if taken & set(map(id, segment)) or not chains.closed([*segment, *piece.equations]):
        return None
    return Piece(tuple(segment), chains.parent[piece.y])


def _with_scaling(piece: Piece, chains: Chains, taken: set[int]) -> Piece:
    """Returns the piece with a multiplication by a number directly before it, such as the frequency in sin(30 y)."""
    before = _in_front(piece, chains, taken)
    if before is not None and len(before.equations) == 1 and _is_scaling_by_number(before.equations[0]):
        return Piece((*before.equations, *piece.equations), before.y)
    return piece


def _is_scaling_by_number(equation: Any) -> bool:
    return name_of(equation) in _SCALING and any(isinstance(atom, core.Literal) for atom in equation.invars)


def _is_nonlinear(equation: Any, chains: Chains) -> bool:
    """Returns whether an operation is not linear in the arrays that depend on an input."""
    name = name_of(equation)
    if (called := called_by(equation)) is not None:
        inner = [operation.equation for operation in walk(called)]
        selects = any(name_of(e) == "select_n" for e in inner)
        by_value = any(not is_float(atom) for atom in chains.data(equation)) or any(
            name_of(e) in _COMPARING for e in inner
        )
        return (selects and by_value) or any(map(_never_linear, inner))
    if name == "mul":
        return equation.invars[0] is equation.invars[1] or len(chains.data(equation)) > 1
    if name == "div":
        return not isinstance(equation.invars[1], core.Literal) and equation.invars[1] in (
            chains.data(equation) or equation.invars
        )
    if name == "select_n":
        return equation.invars[0] in chains.data(equation)
    return _never_linear(equation)


def _never_linear(equation: Any) -> bool:
    name = name_of(equation)
    return (
        called_by(equation) is None
        and is_float(equation.outvars[0])
        and name
        not in (_LINEAR | _SCALING | {"select_n", "broadcast_in_dim", "reshape", "stop_gradient", "real", "squeeze"})
    )


def _may_be_known(equation: Any) -> bool:
    called = called_by(equation)
    return called is not None or name_of(equation) in _CORNERS


def _name_of_call(equation: Any) -> str:
    """Returns the name of the function that an operation calls, directly or through a single call inside."""
    if equation.primitive is mark_p:
        return str(equation.params["name"])
    if (called := called_by(equation)) is None:
        return ""
    if name := equation.params.get("name"):
        return str(name)
    inner = opened(called)[0].eqns
    return _name_of_call(inner[0]) if len(inner) == 1 else ""


def _plain_name(equation: Any) -> str:
    name = _name_of_call(equation) or name_of(equation)
    return _STRONG.get(name, name)


def text_of(equations: Sequence[Any], y: Any) -> str:
    """Returns operations as text with renamed variables, so that the same function has the same text everywhere."""
    names = {y: "y"}
    lines = [str(y.aval.dtype)]
    for equation in equations:
        inputs = [
            repr(atom.val) if isinstance(atom, core.Literal) else names.setdefault(atom, f"v{len(names)}")
            for atom in equation.invars
        ]
        names.update({v: f"v{len(names)}" for v in equation.outvars})
        params = [(key, value) for key, value in sorted(equation.params.items()) if not callable(value)]
        lines.append(f"{name_of(equation)} {params} {inputs}")
    return "\n".join(lines)
