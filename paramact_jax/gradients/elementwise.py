"""Finds which arrays of a program are elementwise functions of which others."""

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
"""Draws of numbers to try: of all sizes; then between 0 and 1 and above 1, for functions that are finite only there."""


@dataclasses.dataclass(frozen=True)
class Dependence:
    """What an array depends on.

    Attributes:
      sources: numbers of the arrays that it depends on, among the sources of interest.
      obstacle: the operation that keeps it from being elementwise in them; None: it is elementwise, or depends on none.
    """

    sources: frozenset[int] = frozenset()
    obstacle: str | None = None


def dependence(
    step: Step, known: Mapping[int, Dependence], shapes: Mapping[int, tuple[int, ...]], *, linear: bool = False
) -> list[Dependence]:
    """Returns what a step's outputs depend on, from what its inputs depend on.

    It errs on the safe side: a result is called elementwise only if its construction or a test shows it. A result that
    is not called so may be elementwise too. An elementwise result has the shape of all its sources.

    Args:
      step: the operation.
      known: dependence of its inputs.
      shapes: shapes of all arrays.
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
    """Returns the dependence of every array of a program, from that of the sources; `linear` as in `dependence`."""
    known = dict(sources)
    shapes = dict(program.shapes)
    for step in program.steps:
        known |= dict(zip(step.outputs, dependence(step, known, shapes, linear=linear), strict=True))
    return known


def _keeps_places(step: Step, data: tuple[bool, ...], linear: bool) -> bool:
    """Returns whether the step computes its outputs element by element from arrays of the same shape."""
    if step.name in POINTWISE or step.name == "broadcast_in_dim":
        return True
    if step.name == "reshape" and step.params.get("dimensions") is None:
        return True
    if step.equation.effects or any(hasattr(leaf, "eqns") for leaf in jax.tree.leaves(dict(step.params))):
        return False  # effects must not be tested, and a loop may not end for the values of a test
    avals = tuple((tuple(atom.aval.shape), atom.aval.dtype) for atom in step.equation.invars)
    try:
        return _tried(step.equation.primitive, tuple(sorted(step.params.items())), avals, data, linear)
    except Exception:  # any failed test, as by a missing rule, leaves the question open
        return False


@functools.lru_cache(maxsize=256)
def _tried(
    primitive: core.Primitive,
    params: tuple[tuple[str, Any], ...],
    avals: tuple[tuple[tuple[int, ...], Any], ...],
    data: tuple[bool, ...],
    linear: bool,
) -> bool:
    """Returns whether a primitive that is not in the list is elementwise, by tests of its derivative and its values.

    Two conditions have to hold. First, by JAX's rule its tangents are an elementwise function of the tangents of its
    inputs. Then its Jacobian is diagonal everywhere. Second, a change of some elements leaves all other elements as
    they were. This excludes ranking, which has the derivative 0. For a linear operation the second condition is enough.

    Args:
      primitive: the operation.
      params: params of the operation, by name.
      avals: shape and dtype of its inputs.
      data: for each input, whether it depends on a source.
      linear: whether the operation is linear in such inputs.
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
    """Yields sets of positions. For any two positions, one of the sets has the first and not the second."""
    positions = np.arange(math.prod(shape)).reshape(shape)
    for bit in range((positions.size - 1).bit_length()):
        for side in (0, 1):
            yield (positions >> bit) % 2 == side


def _drawn(numbers: np.ndarray, dtype: Any, data: bool) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return numbers.astype(dtype)
    if data and dtype.kind in "biu":
        return (np.abs(100 * numbers).clip(0, 100) % (2 if dtype.kind == "b" else 101)).astype(dtype)
    raise TypeError(f"no test with {dtype}: numbers that are neither data nor floats may say where a value goes")


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
