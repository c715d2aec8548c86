"""Which arrays of a program are elementwise functions of which others."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from paramact_jax.programs.chains import POINTWISE
from paramact_jax.programs.program import apply
from paramact_jax.programs.steps import FlatProgram, Step, flatten, trace_flat

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

_DRAWS: tuple[Draw, ...] = (
    lambda random, shape: random.choice([-1.0, 1.0], shape) * 10 ** random.uniform(-3, 3, shape),
    lambda random, shape: random.uniform(0, 1, shape),
    lambda random, shape: random.uniform(1, 10, shape),
)
"""Numbers to try: of all sizes, and for functions that are finite only there, between 0 and 1 or above 1."""


@dataclasses.dataclass(frozen=True)
class Dependence:
    """What an array depends on.

    Attributes:
      sources: numbers of the arrays it depends on, among those that were asked for.
      obstacle: the operation because of which it is not elementwise in them; None: it is, or depends on nothing.
    """

    sources: frozenset[int] = frozenset()
    obstacle: str | None = None


def dependence(
    step: Step, known: Mapping[int, Dependence], shapes: Mapping[int, tuple[int, ...]], *, linear: bool = False
) -> list[Dependence]:
    """Returns what a step's outputs depend on, from what its inputs do.

    On the safe side: an elementwise result is one by construction or by trial, and one that is called not elementwise
    might be. What is elementwise has the shape of all its sources, which therefore have one shape.

    Args:
      step: the operation.
      known: dependence of its inputs.
      shapes: of all arrays.
      linear: whether everything that depends on the sources is linear in them.
    """
    inputs = [known.get(i, Dependence()) for i in step.inputs]
    sources = frozenset().union(*(d.sources for d in inputs))
    if not sources:
        return [Dependence()] * len(step.outputs)
    if (obstacle := next((d.obstacle for d in inputs if d.obstacle), None)) is not None:
        return [Dependence(sources, obstacle)] * len(step.outputs)
    if step.custom_body is not None:
        return _of_body(step.custom_body, inputs, linear)
    alike = {shapes[source] for source in sources} == {shapes[output] for output in step.outputs}
    keeps = alike and _keeps_places(step, tuple(bool(d.sources) for d in inputs), linear)
    return [Dependence(sources, None if keeps else step.name)] * len(step.outputs)


def dependences(
    program: FlatProgram, sources: Mapping[int, Dependence], *, linear: bool = False
) -> dict[int, Dependence]:
    """Of every array of a program, where that of some is given; `linear` as in `dependence`."""
    known = dict(sources)
    shapes = dict(program.shapes)
    for step in program.steps:
        known |= dict(zip(step.outputs, dependence(step, known, shapes, linear=linear), strict=True))
    return known


def _keeps_places(step: Step, data: tuple[bool, ...], linear: bool) -> bool:
    """Returns whether the step makes of arrays of one shape others of that shape, element by element."""
    if step.name in POINTWISE or step.name == "broadcast_in_dim":
        return True
    if step.name == "reshape" and step.params.get("dimensions") is None:
        return True
    if step.equation.effects or any(hasattr(leaf, "eqns") for leaf in jax.tree.leaves(dict(step.params))):
        return False  # effects are not to be tried out, and a loop may not end for the values of a trial
    avals = tuple((tuple(atom.aval.shape), atom.aval.dtype) for atom in step.equation.invars)
    try:
        return _tried(step.equation.primitive, tuple(sorted(step.params.items())), avals, data, linear)
    except Exception:  # whatever stops a trial, such as a missing rule, leaves open what the operation does
        return False


@functools.lru_cache(maxsize=256)
def _tried(
    primitive: core.Primitive,
    params: tuple[tuple[str, Any], ...],
    avals: tuple[tuple[tuple[int, ...], Any], ...],
    data: tuple[bool, ...],
    linear: bool,
) -> bool:
    """Returns whether a primitive that is not in the list is elementwise, as its derivative and its values have it.

    Two things have to hold. Its tangents are an elementwise function of those of its inputs, by the rule that JAX has
    for it: then its Jacobian is diagonal everywhere. And a change of some elements leaves all the others as they were:
    that refuses a rank, whose derivative is 0. For a linear operation the second is enough.

    Args:
      primitive: the operation.
      params: of the operation, by name.
      avals: shape and dtype of its inputs.
      data: which of them depend on something.
      linear: whether the operation is linear in these.
    """
    random = np.random.default_rng(0)

    def function(*inputs: Any) -> Sequence[Any]:
        return apply(primitive, dict(params), inputs)

    def inputs_by(draw: Draw) -> list[np.ndarray]:
        return [_drawn(draw(random, shape), dtype, own) for (shape, dtype), own in zip(avals, data, strict=True)]

    with jax.ensure_compile_time_eval():  # the caller may be traced
        if not linear and not _has_elementwise_tangents(
            function, [jax.ShapeDtypeStruct(*aval) for aval in avals], data
        ):
            return False
        run = jax.jit(function)
        some_finite = False
        for draw in _DRAWS:
            inputs = inputs_by(draw)
            outputs = [np.asarray(output) for output in run(*inputs)]
            some_finite |= all(np.isfinite(output).all() for output in outputs)
            for changed in _separating(avals[data.index(True)][0]):
                others = [
                    np.where(changed, new, old) if own else old
                    for old, new, own in zip(inputs, inputs_by(draw), data, strict=True)
                ]
                for output, other in zip(outputs, run(*others), strict=True):
                    if output[~changed].tobytes() != np.asarray(other)[~changed].tobytes():
                        return False
    return some_finite


def _has_elementwise_tangents(
    function: Callable[..., Sequence[Any]], avals: Sequence[jax.ShapeDtypeStruct], data: Sequence[bool]
) -> bool:
    moved = [i for i, own in enumerate(data) if own and jnp.issubdtype(avals[i].dtype, jnp.inexact)]

    def tangents_of(inputs: list[Any], tangents: list[Any]) -> list[Any]:
        def of_moved(*values: Any) -> list[Any]:
            results = function(*(values[moved.index(i)] if i in moved else x for i, x in enumerate(inputs)))
            return [result for result in results if jnp.issubdtype(result.dtype, jnp.inexact)]

        return jax.jvp(of_moved, [inputs[i] for i in moved], tangents)[1]

    program = trace_flat(tangents_of, avals, [avals[i] for i in moved])
    sources = {i: Dependence(frozenset({i})) for i in program.inputs[len(avals) :]}
    found = dependences(program, sources, linear=True)
    return not any(found.get(output, Dependence()).obstacle for output in program.outputs)


def _separating(shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yields sets of positions, so many that for any two there is one that has the first and not the second."""
    positions = np.arange(math.prod(shape)).reshape(shape)
    for bit in range((positions.size - 1).bit_length()):
        for side in (0, 1):
            yield (positions >> bit) % 2 == side


def _drawn(numbers: np.ndarray, dtype: Any, data: bool) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return numbers.astype(dtype)
    if data and dtype.kind in "biu":
        return (np.abs(100 * numbers).clip(0, 100) % (2 if dtype.kind == "b" else 101)).astype(dtype)
    raise TypeError(f"no trial of {dtype}: numbers beside the data that are no floats may say where a value goes")


def _of_body(body: Any, inputs: list[Dependence], linear: bool) -> list[Dependence]:
    inner = flatten(body)
    own = {
        number: Dependence(frozenset({number}), d.obstacle)
        for number, d in zip(inner.inputs, inputs, strict=True)
        if d.sources
    }
    outside = dict(zip(inner.inputs, (d.sources for d in inputs), strict=True))
    known = dependences(inner, own, linear=linear)

    def of(output: int) -> Dependence:
        found = known.get(output, Dependence())
        return Dependence(frozenset().union(*(outside[source] for source in found.sources)), found.obstacle)

    return [of(output) for output in inner.outputs]
