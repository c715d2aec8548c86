"""Finds the values of a program that differ between trials, without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend import core

from paramact_jax.programs.program import called_by, name_of, opened, parts_of_scan, parts_of_while

Own = list[bool]
"""For each of some values, whether every trial has its own."""


class Dependence:
    """Follows through programs which values depend on a value that differs between trials."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, tuple[bool, ...]], tuple[Any, Own]] = {}

    def of(self, program: Any, own: Sequence[bool]) -> Own:
        """Returns for each output of a program whether every trial has its own.

        Args:
          program: open or closed.
          own: for each input, whether every trial has its own.
        """
        key = id(program), tuple(own)
        if key not in self._found:
            self._found[key] = program, self._follow(program, own)  # with the program, so that its id stays its own
        return self._found[key][1]

    def of_while(self, equation: Any, own: Sequence[bool]) -> tuple[Own, bool]:
        """Returns the same for the carried values of a while loop, and whether trials end at different steps."""
        params = equation.params
        condition, body, carry = parts_of_while(equation, own)
        jaxpr, _ = opened(params["body_jaxpr"])
        changed = [before is not after for before, after in zip(jaxpr.invars[len(body) :], jaxpr.outvars, strict=True)]
        while True:
            differs = self.of(params["cond_jaxpr"], [*condition, *carry])[0]
            after = self.of(params["body_jaxpr"], [*body, *carry])
            new = [a or b or (differs and c) for a, b, c in zip(carry, after, changed, strict=True)]
            if new == carry:
                return carry, differs
            carry = new

    def of_scan(self, equation: Any, own: Sequence[bool]) -> tuple[Own, Own]:
        """Returns the same for the carried values of a scan and for the values of its steps."""
        params = equation.params
        consts, carry, xs = parts_of_scan(equation, own)
        while True:
            after = self.of(params["jaxpr"], [*consts, *carry, *xs])
            new = [a or b for a, b in zip(carry, after, strict=False)]
            if new == carry:
                return carry, after[len(carry) :]
            carry = new

    def of_branches(self, branches: Sequence[Any], own: Sequence[bool]) -> Own:
        """Returns the same for the results of a conditional in which all trials take the same branch."""
        return [any(of_one) for of_one in zip(*(self.of(branch, own) for branch in branches), strict=True)]

    def _follow(self, program: Any, own: Sequence[bool]) -> Own:
        jaxpr, _ = opened(program)
        is_own: dict[Any, bool] = dict(zip(jaxpr.invars, own, strict=True))

        def read(atom: Any) -> bool:
            return not isinstance(atom, core.Literal) and is_own.get(atom, False)

        for equation in jaxpr.eqns:
            outputs = self._of_equation(equation, [read(atom) for atom in equation.invars])
            is_own.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _of_equation(self, equation: Any, own: Own) -> Own:
        name = name_of(equation)
        if (called := called_by(equation)) is not None:
            return self.of(called, own)
        if name == "while":
            return self.of_while(equation, own)[0]
        if name == "scan":
            return [x for part in self.of_scan(equation, own) for x in part]
        if name == "cond" and not own[0]:
            return self.of_branches(equation.params["branches"], own[1:])
        return [any(own)] * len(equation.outvars)
