"""A function as the flat list of primitive operations that JAX makes of it, with numbered arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core

from paramact_jax.programs.program import (
    CALLS,
    CUSTOM,
    REMAT,
    Operation,
    apply,
    called_by,
    evaluate,
    inputs_of,
    name_of,
    opened,
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One primitive operation.

    Attributes:
      equation: the equation that JAX traced.
      inputs: numbers of the arrays that it takes.
      outputs: numbers of the arrays that it makes.
      within: the calls, loops and branches around it, the outermost first.
    """

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    within: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """Name of the primitive."""
        return name_of(self.equation)

    @property
    def params(self) -> Mapping[str, Any]:
        """Params of the primitive."""
        return self.equation.params

    @property
    def operation(self) -> Operation:
        """The same as an operation of the whole program."""
        return Operation(self.equation, self.within)

    @property
    def custom_body(self) -> Any | None:
        """The jaxpr of a function with a derivative rule of its own; None for other operations."""
        return called_by(self.equation) if self.name in CUSTOM else None


@dataclasses.dataclass
class FlatProgram:
    """Operations in order. Arrays are numbered; calls of jitted and rematerialised functions are written out.

    Attributes:
      steps: the operations.
      inputs: numbers of the arguments.
      outputs: numbers of the results.
      constants: values of the arrays that no operation makes: arrays that the function holds, and literals.
      literals: numbers of the constants that are written in the program itself.
      shapes: shapes of all arrays.
    """

    steps: list[Step]
    inputs: list[int]
    outputs: list[int]
    constants: dict[int, Any]
    literals: set[int]
    shapes: dict[int, tuple[int, ...]]

    def makers(self) -> dict[int, Step]:
        """Returns the step that makes each array."""
        return {output: step for step in self.steps for output in step.outputs}

    def run(self, *arguments: jax.Array) -> dict[int, Any]:
        """Returns every array, by its number."""
        values = self.constants | dict(zip(self.inputs, arguments, strict=True))
        return values | run_steps(self.steps, values)


def trace_flat(function: Callable[..., Any], *arguments: Any) -> FlatProgram:
    """Returns the flat program of a function for arguments of these shapes, without steps that no result needs.

    Nothing is computed.
    """
    program = flatten(jax.make_jaxpr(function)(*arguments))
    return only(program, program.outputs)


def only(program: FlatProgram, outputs: Sequence[int]) -> FlatProgram:
    """Returns the program of some of the results only, without steps that they do not need."""
    needed = set(outputs)
    steps = []
    for step in reversed(program.steps):
        if needed & set(step.outputs):
            needed |= set(step.inputs)
            steps.append(step)
    return dataclasses.replace(program, steps=steps[::-1], outputs=list(outputs))


def flatten(
    program: Any, within: tuple[Any, ...] = (), whole: Callable[[Operation], bool] = lambda _: False
) -> FlatProgram:
    """Returns a jaxpr, open without constants or closed, as a flat program.

    Args:
      program: the jaxpr.
      within: the calls, loops and branches around it.
      whole: returns for a call whether it stays one operation.
    """
    flat = FlatProgram([], [], [], {}, set(), {})

    def number(atom: Any) -> int:
        flat.shapes[len(flat.shapes)] = tuple(atom.aval.shape)
        return len(flat.shapes) - 1

    def of(atom: Any, value: Any) -> int:
        if not isinstance(atom, core.Literal):
            return value
        new = number(atom)
        flat.constants[new] = value
        flat.literals.add(new)
        return new

    def run(program: Any, inputs: Sequence[int], within: tuple[Any, ...]) -> list[int]:
        def rule(equation: Any, read: Callable[[Any], Any]) -> Sequence[int]:
            inputs = tuple(map(of, equation.invars, inputs_of(equation, read)))
            if name_of(equation) in CALLS | REMAT and not whole(Operation(equation, within)):
                return run(called_by(equation), inputs, (*within, equation))
            outputs = tuple(map(number, equation.outvars))
            flat.steps.append(Step(equation, inputs, outputs, within))
            return outputs

        jaxpr, consts = opened(program)
        held = list(map(number, jaxpr.constvars))
        flat.constants |= dict(zip(held, consts, strict=True))
        return list(map(of, jaxpr.outvars, evaluate(jaxpr, held, inputs, rule)))

    flat.inputs = list(map(number, opened(program)[0].invars))
    flat.outputs = run(program, flat.inputs, within)
    return flat


def written_out(program: FlatProgram, steps: Sequence[Step]) -> FlatProgram:
    """Returns some steps of a program, with calls that were kept whole written out."""
    found = dataclasses.replace(
        program,
        steps=[],
        constants=dict(program.constants),
        literals=set(program.literals),
        shapes=dict(program.shapes),
    )

    def write(steps: Iterable[Step], names: dict[int, int]) -> None:
        for step in steps:
            inputs = tuple(names.get(number, number) for number in step.inputs)
            outputs = tuple(names.get(number, number) for number in step.outputs)
            if step.name not in CALLS | REMAT:
                found.steps.append(dataclasses.replace(step, inputs=inputs, outputs=outputs))
                continue
            inner = flatten(called_by(step.equation))
            first = len(found.shapes)
            own = {number: first + number for number in inner.shapes}
            found.shapes.update((own[number], shape) for number, shape in inner.shapes.items())
            found.constants.update((own[number], value) for number, value in inner.constants.items())
            found.literals.update(own[number] for number in inner.literals)
            own.update(zip(inner.inputs, inputs, strict=True))
            own.update(zip(inner.outputs, outputs, strict=True))
            write(inner.steps, own)

    write(steps, {})
    return found


def run_steps(steps: Iterable[Step], values: Mapping[int, Any]) -> dict[int, Any]:
    """Returns the arrays that the steps make from these values, by number."""
    made: dict[int, Any] = {}
    for step in steps:
        inputs = [made[i] if i in made else values[i] for i in step.inputs]
        made |= dict(zip(step.outputs, apply(step.equation.primitive, step.params, inputs), strict=True))
    return made


def between(program: FlatProgram, start: int, end: int) -> list[Step]:
    """Returns the steps from one array to another: those that depend on `start` and that `end` depends on."""
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
