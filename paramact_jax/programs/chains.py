"""Elementwise operations of one program, by the array that each is a function of."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from paramact_jax.programs.marks import mark_p
from paramact_jax.programs.origins import Origin
from paramact_jax.programs.program import called_by, name_of, opened
from paramact_jax.programs.rules import ELEMENTWISE

POINTWISE = ELEMENTWISE | {"select_n", "clamp", "reduce_precision", "stop_gradient"}
"""Primitives that make each element from the elements at the same place in their inputs, or from single numbers."""
LAYING_OUT = frozenset(("broadcast_in_dim", "reshape"))


class Piece(NamedTuple):
    """Operations of one program that make an elementwise function of one array.

    Attributes:
      equations: the operations, in order.
      y: the variable that they are a function of.
      function: name of the function.
      why: why it does not count as an activation; empty: it counts as one.
    """

    equations: tuple[Any, ...]
    y: Any
    function: str = ""
    why: str = ""


class Chains:
    """Finds for each array of a program the earlier array that it is an elementwise function of.

    The parent of an array is the nearest earlier array that it is an elementwise function of. An array that depends on
    two unrelated arrays has no parent.
    """

    def __init__(self, jaxpr: Any, origins: Mapping[Any, Origin], *, marks: bool = False) -> None:
        """Takes an open jaxpr, the origin of each of its variables, and whether it takes derivatives.

        If it does, the derivative of a function needs the function's intermediate results.
        """
        self._origins, self._marks = origins, marks
        self.equations: list[Any] = list(jaxpr.eqns)
        self._position = {id(equation): i for i, equation in enumerate(self.equations)}
        self.maker = {v: equation for equation in self.equations for v in equation.outvars}
        self._users: dict[Any, list[Any]] = {}
        for equation in self.equations:
            for atom in _variables(equation):
                self._users.setdefault(atom, []).append(equation)
        self._results = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
        self._numbers: set[Any] = {v for v in origins if v.aval.shape == ()}
        self.parent: dict[Any, Any] = {}
        for equation in self.equations:
            if name_of(equation) in LAYING_OUT and self._numbers.issuperset(_variables(equation)):
                self._numbers.update(equation.outvars)
            self._join(equation)

    def data(self, equation: Any) -> list[Any]:
        """Returns the inputs of an operation that depend on an input of the program, without single numbers."""
        numbers = self._numbers if equation.outvars[0].aval.shape else ()
        return [atom for atom in _variables(equation) if self._origins[atom].inputs and atom not in numbers]

    def segment(self, v: Any) -> list[Any]:
        """Returns the operations that compute v from its parent, in order."""
        start, pending, found = self.parent[v], [self.maker[v]], {}
        while pending:
            equation = pending.pop()
            if id(equation) not in found:
                found[id(equation)] = equation
                pending += [self.maker[atom] for atom in self.data(equation) if atom is not start]
        return sorted(found.values(), key=lambda equation: self._position[id(equation)])

    def closed(self, segment: Sequence[Any]) -> bool:
        """Returns whether no other operation needs the intermediate results of these operations."""
        own = {id(equation) for equation in segment}
        return self._marks or all(
            v not in self._results and all(id(user) in own for user in self._users.get(v, []))
            for equation in segment[:-1]
            for v in equation.outvars
        )

    def only_user(self, v: Any) -> Any | None:
        """Returns the only operation that needs v; None if there are several, or if v is a result."""
        users = self._users.get(v, [])
        return users[0] if len(users) == 1 and v not in self._results else None

    def held(self, piece: Piece) -> tuple[Any, ...]:
        """Returns the variables other than y that a piece reads."""
        made = {v for equation in piece.equations for v in equation.outvars} | {piece.y}
        read = (atom for equation in piece.equations for atom in _variables(equation))
        return tuple(dict.fromkeys(atom for atom in read if atom not in made))

    def fixed(self, piece: Piece) -> tuple[Any, ...] | None:
        """Returns the operations before a piece that make the numbers that it holds; None if it holds other values."""
        found: dict[int, Any] = {}
        pending = list(self.held(piece))
        while pending:
            atom = pending.pop()
            if (equation := self.maker.get(atom)) is None or name_of(equation) not in POINTWISE | LAYING_OUT:
                return None
            if id(equation) not in found:
                found[id(equation)] = equation
                pending += _variables(equation)
        return tuple(sorted(found.values(), key=lambda equation: self._position[id(equation)]))

    def scale(self, v: Any) -> float:
        """Returns c if v is c times another array, with a number c; otherwise 1."""
        equation = self.maker.get(v)
        if equation is None or name_of(equation) not in ("mul", "div") or len(self.data(equation)) != 1:
            return 1.0
        number = next((atom.val for atom in equation.invars if isinstance(atom, core.Literal)), 1.0)
        if name_of(equation) == "mul":
            return float(number)
        return 1 / float(number) if isinstance(equation.invars[1], core.Literal) else 1.0

    def multiplies(self, v: Any) -> bool:
        """Returns whether v, or 1 - v, multiplies another array that depends on an input."""
        for user in self._users.get(v, []):
            if name_of(user) == "mul" and len(self.data(user)) == 2:
                return True
            if name_of(user) == "sub" and self.data(user) == [v] and self.multiplies(user.outvars[0]):
                return True
        return False

    def guards(self, v: Any) -> bool:
        """Returns whether v goes into a root, logarithm or reciprocal, perhaps after a sum with a number."""
        user = self.only_user(v)
        while user is not None and name_of(user) in ("add", "convert_element_type", "broadcast_in_dim", "reshape"):
            v = user.outvars[0]
            user = self.only_user(v)
        return user is not None and (
            name_of(user) in ("sqrt", "rsqrt", "log") or (name_of(user) == "div" and user.invars[1] is v)
        )

    def is_smooth(self, atom: Any) -> bool:
        """Returns whether an array is of a float dtype and a derivative can reach it."""
        return is_float(atom) and self._origins[atom].moves

    def alone(self, equation: Any) -> bool:
        """Returns whether an operation makes a float array that depends on learned parameters only."""
        origin = self._origins[equation.outvars[0]]
        return is_float(equation.outvars[0]) and bool(origin.learned) and not origin.inputs

    def _join(self, equation: Any) -> None:
        if not is_elementwise(equation):
            return
        (v,), data = equation.outvars, self.data(equation)
        if not data or any(atom.aval.shape != v.aval.shape for atom in data):
            return
        common = data[0]
        if len(data) > 1:
            others = [set(self._line(atom)) for atom in data[1:]]
            common = next((atom for atom in self._line(data[0]) if all(atom in line for line in others)), None)
        while common is not None and not is_float(common):
            common = self.parent.get(common)
        if common is not None:
            self.parent[v] = common

    def _line(self, atom: Any) -> Iterator[Any]:
        while atom is not None:
            yield atom
            atom = self.parent.get(atom)


def is_float(atom: Any) -> bool:
    """Returns whether a variable is of a float dtype."""
    return bool(jnp.issubdtype(atom.aval.dtype, jnp.floating))


def is_elementwise(equation: Any) -> bool:
    """Returns whether an operation makes one array, each element from the same place in its inputs or from numbers."""
    if len(equation.outvars) != 1 or equation.effects:
        return False
    if name_of(equation) in POINTWISE or equation.primitive is mark_p:
        return True
    if name_of(equation) in LAYING_OUT:
        return equation.invars[0].aval.shape in ((), equation.outvars[0].aval.shape)
    called = called_by(equation)
    return called is not None and is_elementwise_program(called)


def is_elementwise_program(program: Any) -> bool:
    """Returns whether a program makes one array, each element from the same place in its inputs or from numbers."""
    return _is_elementwise(_ById(opened(program)[0]))


class _ById:
    """A jaxpr as a key, which is equal only to itself."""

    def __init__(self, jaxpr: Any) -> None:
        self.jaxpr = jaxpr

    def __hash__(self) -> int:
        return id(self.jaxpr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.jaxpr is self.jaxpr


@functools.lru_cache(maxsize=512)
def _is_elementwise(key: _ById) -> bool:
    if len(key.jaxpr.outvars) != 1 or isinstance(key.jaxpr.outvars[0], core.Literal):
        return False
    uniform = {v for v in (*key.jaxpr.invars, *key.jaxpr.constvars) if v.aval.shape == ()}
    for equation in key.jaxpr.eqns:
        if uniform.issuperset(_variables(equation)) and name_of(equation) in POINTWISE | LAYING_OUT:
            uniform.update(equation.outvars)  # one number everywhere, whatever its shape
        elif not is_elementwise(equation):
            return False
    return True


def _variables(equation: Any) -> list[Any]:
    return list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, core.Literal)))
