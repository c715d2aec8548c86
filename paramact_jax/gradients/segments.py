"""Proof, from its jaxpr, that what a model does between two affine maps is elementwise in the first one's output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

_ELEMENTWISE, _CALLS = (
    frozenset(names.split())
    for names in (
        """
        abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh
        digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma integer_pow is_finite le lgamma log log1p
        logistic lt max min mul ne neg nextafter not or pow real reduce_precision rem round rsqrt select_n sign sin sinh
        sqrt square stop_gradient sub tan tanh xor
        """,
        "jit pjit closed_call core_call remat checkpoint custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr",
    )
)
_IDENTITY_ON_EQUAL_SHAPES = frozenset({"broadcast_in_dim", "reshape"})


@dataclasses.dataclass(frozen=True)
class Dependence:
    """What an array depends on.

    Attributes:
      sources: indices of the arguments it depends on.
      obstacle: why it is not elementwise in its one source; None: it is, or depends on nothing.
    """

    sources: frozenset[int] = frozenset()
    obstacle: str | None = None


def dependences(function: Callable[..., Sequence[jax.Array]], arguments: Sequence[jax.Array]) -> list[Dependence]:
    """On which of the arguments each result of `function(*arguments)` depends, and whether elementwise.

    The function is traced, not run. The answer is on the safe side: an elementwise result is one by construction, and
    one that is called not elementwise might be.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    return _walk(closed.jaxpr, [Dependence(frozenset({i})) for i in range(len(arguments))])


def _walk(jaxpr: Any, inputs: Sequence[Dependence]) -> list[Dependence]:
    known: dict[Any, Dependence] = dict(zip(jaxpr.invars, inputs, strict=True))
    shapes = {source: var.aval.shape for var, found in known.items() for source in found.sources}

    def of(atom: Any) -> Dependence:
        return Dependence() if isinstance(atom, core.Literal) else known.get(atom, Dependence())

    for eqn in jaxpr.eqns:
        found = [of(atom) for atom in eqn.invars]
        for var, dependence in zip(eqn.outvars, _of_equation(eqn, found, shapes), strict=True):
            known[var] = dependence
    return [of(atom) for atom in jaxpr.outvars]


def _of_equation(eqn: Any, found: list[Dependence], shapes: dict[int, tuple[int, ...]]) -> list[Dependence]:
    sources = frozenset().union(*(d.sources for d in found))
    name = eqn.primitive.name
    if not sources:
        return [Dependence()] * len(eqn.outvars)
    if (obstacle := next((d.obstacle for d in found if d.obstacle), None)) is not None:
        return [Dependence(sources, obstacle)] * len(eqn.outvars)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")) if name in _CALLS else None
    if inner is not None:
        return _walk(getattr(inner, "jaxpr", inner), found)
    if len(sources) > 1:
        return [Dependence(sources, "the outputs of several affine maps meet in it")] * len(eqn.outvars)
    (source,) = sources

    def dependence(var: Any) -> Dependence:
        same_shape = var.aval.shape == shapes.get(source)
        elementwise = same_shape and name in _ELEMENTWISE | _IDENTITY_ON_EQUAL_SHAPES
        return Dependence(sources, None if elementwise else f"{name} mixes its elements")

    return [dependence(var) for var in eqn.outvars]
