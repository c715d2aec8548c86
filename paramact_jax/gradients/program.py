"""A model as the flat list of primitive operations that JAX makes of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core

_INLINED = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
_CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"})


@dataclasses.dataclass(frozen=True)
class Step:
    """One primitive operation.

    Attributes:
      equation: as JAX traced it.
      inputs: numbers of the arrays it takes.
      outputs: numbers of the arrays it makes.
    """

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the primitive."""
        return str(self.equation.primitive.name)

    @property
    def params(self) -> Mapping[str, Any]:
        """Of the primitive."""
        return self.equation.params

    @property
    def custom_body(self) -> Any | None:
        """What a function with a derivative rule of its own computes, as a jaxpr; None for other operations."""
        if self.name not in _CUSTOM:
            return None
        return self.params.get("call_jaxpr", self.params.get("fun_jaxpr"))


@dataclasses.dataclass
class Program:
    """Operations in order. Arrays are numbered; calls of jitted and rematerialised functions are written out.

    Attributes:
      steps: the operations.
      inputs: numbers of the arguments.
      outputs: numbers of the results.
      constants: values of the arrays that no operation makes: what the function holds, and literals.
      literals: numbers of the constants that are written in the program itself.
      shapes: of all arrays.
    """

    steps: list[Step]
    inputs: list[int]
    outputs: list[int]
    constants: dict[int, Any]
    literals: set[int]
    shapes: dict[int, tuple[int, ...]]

    def makers(self) -> dict[int, Step]:
        """The step that makes each array."""
        return {output: step for step in self.steps for output in step.outputs}

    def run(self, *arguments: jax.Array) -> dict[int, Any]:
        """Every array, by its number."""
        values = self.constants | dict(zip(self.inputs, arguments, strict=True))
        return values | evaluate(self.steps, values)


def trace(function: Callable[..., Any], *arguments: Any) -> Program:
    """The program of a function for arguments of these shapes, without what its results do not need.

    Nothing is computed.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    program = flatten(closed.jaxpr, closed.consts)
    needed = set(program.outputs)
    steps = []
    for step in reversed(program.steps):
        if needed & set(step.outputs):
            needed |= set(step.inputs)
            steps.append(step)
    return dataclasses.replace(program, steps=steps[::-1])


def flatten(jaxpr: Any, consts: Sequence[Any] = ()) -> Program:
    """The program of a jaxpr."""
    program = Program([], [], [], {}, set(), {})
    fresh = itertools.count()

    def number(var: Any) -> int:
        new = next(fresh)
        program.shapes[new] = tuple(var.aval.shape)
        return new

    def walk(jaxpr: Any, names: dict[Any, int]) -> list[int]:
        def of(atom: Any) -> int:
            if not isinstance(atom, core.Literal):
                return names[atom]
            new = number(atom)
            program.constants[new] = atom.val
            program.literals.add(new)
            return new

        for equation in jaxpr.eqns:
            inputs = tuple(of(atom) for atom in equation.invars)
            inner = equation.params.get("jaxpr") if equation.primitive.name in _INLINED else None
            if inner is None:
                outputs = tuple(number(var) for var in equation.outvars)
                program.steps.append(Step(equation, inputs, outputs))
            else:
                outputs = tuple(walk(*_opened(inner, inputs)))
            names |= dict(zip(equation.outvars, outputs, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def _opened(inner: Any, inputs: tuple[int, ...]) -> tuple[Any, dict[Any, int]]:
        body = getattr(inner, "jaxpr", inner)
        held = dict(zip(body.constvars, map(number, body.constvars), strict=True))
        for var, value in zip(body.constvars, getattr(inner, "consts", ()), strict=True):
            program.constants[held[var]] = value
        return body, held | dict(zip(body.invars, inputs, strict=True))

    names = {var: number(var) for var in (*jaxpr.constvars, *jaxpr.invars)}
    program.constants |= {names[var]: value for var, value in zip(jaxpr.constvars, consts, strict=True)}
    program.inputs = [names[var] for var in jaxpr.invars]
    program.outputs = walk(jaxpr, names)
    return program


def evaluate(steps: Iterable[Step], values: Mapping[int, Any]) -> dict[int, Any]:
    """What the steps make of the values that they start from."""
    made: dict[int, Any] = {}
    for step in steps:
        inputs = [made[i] if i in made else values[i] for i in step.inputs]
        made |= dict(zip(step.outputs, apply(step.equation.primitive, step.params, inputs), strict=True))
    return made


def apply(primitive: core.Primitive, params: Mapping[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """What one primitive operation makes of its inputs: a value for each output."""
    bound = primitive.get_bind_params(params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # a pair in older versions of JAX
    results = primitive.bind(*functions, *inputs, **params)
    return results if primitive.multiple_results else [results]


def between(program: Program, start: int, end: int) -> list[Step]:
    """The steps on the way from one array to another, those that make `end` of what depends on `start`."""
    reached, forward = {start}, []
    for step in program.steps:
        if reached & set(step.inputs):
            reached |= set(step.outputs)
            forward.append(step)
    wanted, steps = {end}, []
    for step in reversed(forward):
        if wanted & set(step.outputs) and start not in step.outputs:
            wanted |= set(step.inputs) & reached
            steps.append(step)
    return steps[::-1]
