"""Carries out operations of a program on arrays of other shapes than they were traced for."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from paramact_jax.programs.chains import LAYING_OUT
from paramact_jax.programs.program import Rule, apply, called_by, evaluate, name_of, opened, run_equations

SAMPLE = 0.25
"""Stands for a number that a function holds and that is not known."""


class UnevenError(ValueError):
    """Raised if a function is not the same at all places, since it holds an array."""


def pointwise(equations: Sequence[Any], variable: Any, y: jax.Array) -> jax.Array:
    """Returns the result of the last of some elementwise operations for an array with one axis.

    Args:
      equations: operations that make an elementwise function of one variable, with the operations of its numbers.
      variable: the variable.
      y: its values. Other variables that no operation here makes, such as a learned slope, are `SAMPLE`.

    Raises:
      UnevenError: if the function is not the same at all places.
    """
    env = collections.defaultdict(lambda: SAMPLE, {variable: y})
    return run_equations(equations, env, equations[-1].outvars, _at_each_place(y.shape))[0]


def pointwise_program(program: Any, y: jax.Array) -> jax.Array:
    """Returns the result of the program of an elementwise function for an array with one axis.

    Raises:
      UnevenError: as `pointwise`.
    """
    return evaluate(*opened(program), [y], _at_each_place(y.shape))[0]


def _at_each_place(shape: tuple[int, ...]) -> Rule:
    """Returns the rule that carries out elementwise operations on arrays of one shape."""

    def spread(value: Any, dtype: Any) -> jax.Array:
        if jnp.ndim(value) and jnp.shape(value) != shape:
            raise UnevenError
        return jnp.broadcast_to(jnp.asarray(value, dtype), shape)

    def rule(equation: Any, read: Callable[[Any], Any]) -> Sequence[Any]:
        inputs = [spread(read(atom), atom.aval.dtype) for atom in equation.invars]
        if name_of(equation) in LAYING_OUT:
            return inputs[:1]
        if (called := called_by(equation)) is not None:
            return evaluate(*opened(called), inputs, rule)
        return apply(equation.primitive, equation.params, inputs)

    return rule
