"""Which arrays of a program are elementwise functions of which others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paramact_jax.gradients.program import Program, Step, flatten

_ELEMENTWISE = frozenset(
    name
    for names in (
        "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh",
        "digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma integer_pow is_finite le lgamma log log1p",
        "logistic lt max min mul ne neg nextafter not or pow real reduce_precision rem round rsqrt select_n sign sin",
        "sinh sqrt square stop_gradient sub tan tanh xor",
    )
    for name in names.split()
)


@dataclasses.dataclass(frozen=True)
class Dependence:
    """What an array depends on.

    Attributes:
      sources: numbers of the arrays it depends on, among those that were asked for.
      obstacle: the operation because of which it is not elementwise in them; None: it is, or depends on nothing.
    """

    sources: frozenset[int] = frozenset()
    obstacle: str | None = None


def dependence(step: Step, known: Mapping[int, Dependence], shapes: Mapping[int, tuple[int, ...]]) -> list[Dependence]:
    """Of a step's outputs, from that of its inputs.

    On the safe side: an elementwise result is one by construction, and one that is called not elementwise might be.
    What is elementwise has the shape of all its sources, which therefore have one shape.
    """
    inputs = [known.get(i, Dependence()) for i in step.inputs]
    sources = frozenset().union(*(d.sources for d in inputs))
    if not sources:
        return [Dependence()] * len(step.outputs)
    if (obstacle := next((d.obstacle for d in inputs if d.obstacle), None)) is not None:
        return [Dependence(sources, obstacle)] * len(step.outputs)
    if step.custom_body is not None:
        return _of_body(step.custom_body, inputs)
    shape = {shapes[source] for source in sources}

    def of(output: int) -> Dependence:
        alike = shape == {shapes[output]}
        return Dependence(sources, None if alike and _keeps_places(step) else step.name)

    return [of(output) for output in step.outputs]


def dependences(program: Program, sources: Mapping[int, Dependence]) -> dict[int, Dependence]:
    """Of every array of a program, where that of some is given."""
    known = dict(sources)
    shapes = dict(program.shapes)
    for step in program.steps:
        known |= dict(zip(step.outputs, dependence(step, known, shapes), strict=True))
    return known


def _keeps_places(step: Step) -> bool:
    """Whether the step makes of arrays of one shape another of that shape, element by element."""
    if step.name == "reshape":
        return step.params.get("dimensions") is None
    return step.name in _ELEMENTWISE or step.name == "broadcast_in_dim"


def _of_body(body: Any, inputs: list[Dependence]) -> list[Dependence]:
    inner = flatten(getattr(body, "jaxpr", body), getattr(body, "consts", ()))
    own = {
        number: Dependence(frozenset({number}), d.obstacle)
        for number, d in zip(inner.inputs, inputs, strict=True)
        if d.sources
    }
    outside = dict(zip(inner.inputs, (d.sources for d in inputs), strict=True))
    known = dependences(inner, own)

    def of(output: int) -> Dependence:
        found = known.get(output, Dependence())
        return Dependence(frozenset().union(*(outside[source] for source in found.sources)), found.obstacle)

    return [of(output) for output in inner.outputs]
