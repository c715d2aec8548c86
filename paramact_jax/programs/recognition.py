"""Recognises the activation that a piece of a program is, so that its closed forms can be used."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.activations import Activation, catalogue
from paramact_jax.programs.steps import FlatProgram, Step, trace_flat

LAID_OUT = frozenset({"reshape", "broadcast_in_dim", "convert_element_type"})
Records = tuple[Activation, ...]


class Known(NamedTuple):
    """An activation, as a program applies it.

    Attributes:
      record: the activation.
      params: number of the array that holds each of its parameters.
    """

    record: Activation
    params: Mapping[str, int]


def recognise(program: FlatProgram, y: int, z: int, dtype: Any, records: Records) -> Known | None:
    """Returns the activation z of y; None if no record has exactly the same operations.

    Args:
      program: the whole program.
      y: number of the input.
      z: number of the output.
      dtype: dtype of both.
      records: records that are compared, in addition to the catalogue's.
    """
    form, held = _form(program, y, z)
    shapes = tuple(program.shapes[number] for number in held)
    if len(set(shapes)) > 1:  # a layer's parameters are all shared in the same way
        return None
    kind = program.shapes[y], jnp.dtype(dtype), shapes, jnp.result_type(float)
    everywhere = tuple(map(catalogue.get, catalogue.names()))  # separately, so that all models share one cached result
    found = _forms(records, *kind).get(form) or _forms(everywhere, *kind).get(form)
    return Known(found[0], dict(zip(found[1], held, strict=True))) if found else None


@functools.lru_cache(maxsize=256)
def _forms(
    records: Records, shape: tuple[int, ...], dtype: Any, held: tuple[tuple[int, ...], ...], default: Any
) -> dict[str, tuple[Activation, tuple[str, ...]]]:
    """Returns form -> record and the order of its parameters, for an input and parameters of these shapes.

    JAX's `default` dtype of floats is an argument since it decides how JAX writes the numbers in a program.
    """
    known: dict[str, tuple[Activation, tuple[str, ...]]] = {}
    y = jax.ShapeDtypeStruct(shape, dtype)
    for record in records:
        if len(record.params) != len(held):
            continue
        params = {name: jax.ShapeDtypeStruct(held[0], dtype) for name in sorted(record.params)}
        program = trace_flat(lambda y, params, record=record: record.fn(y, **params), y, params)
        number, *own = program.inputs
        form, used = _form(program, number, program.outputs[0])
        if set(used) == set(own):
            names = dict(zip(own, params, strict=True))
            known.setdefault(form, (record, tuple(names[i] for i in used)))
    return known


def _form(program: FlatProgram, y: int, z: int) -> tuple[str, list[int]]:
    """Returns the operations from y to z, with arrays renamed in the order of their use, and the held arrays.

    Held arrays are parameters: no operation makes them, or operations only lay them out.
    """
    makers = program.makers()

    def is_held(number: int) -> bool:
        maker = makers.get(number)
        if maker is None:
            return number not in program.literals and number != y
        rank = len(program.shapes[y])
        lays_out = maker.name in LAID_OUT and (
            maker.name != "broadcast_in_dim" or len(program.shapes[maker.inputs[0]]) < rank
        )
        return lays_out and all(map(is_held, maker.inputs))

    steps: dict[int, Step] = {}
    pending = [z]
    while pending:
        number = pending.pop()
        if number != y and number in makers and not is_held(number) and id(makers[number]) not in steps:
            steps[id(makers[number])] = makers[number]
            pending += makers[number].inputs
    names = {y: "y"}
    held: list[int] = []
    lines: list[str] = []

    def of(number: int) -> str:
        if number in program.literals:
            return f"{program.constants[number]}"
        if number not in names:
            names[number] = f"held {len(held)}"
            held.append(number)
        return names[number]

    for step in (step for step in program.steps if id(step) in steps):
        inputs = " ".join(map(of, step.inputs))
        params = {k: str(v) for k, v in step.params.items() if not callable(v) and "fun" not in k}
        names |= {output: f"{len(lines)}.{i}" for i, output in enumerate(step.outputs)}
        lines.append(f"{step.name} {sorted(params.items())} {inputs}")
    return "\n".join([*lines, names.get(z, "?")]), held
