"""Keeps each activation of a program that takes derivatives as one operation.

In a program traced as usual, the derivative of tanh is an expression like 1 - z^2, in which z must not become a z. So a
program that takes derivatives itself is traced again, with every activation as one special operation. The derivative of
this operation is such an operation too, with the activation's slope as its function.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.extend.core import primitives
from jax.interpreters import ad, batching, mlir

from paramact_jax.programs.program import afresh

Wanted = Callable[[Any, str], str | None]
"""Returns the name of the activation that a function is, from its jaxpr and its own name; None: it is none."""

mark_p = core.Primitive("activation")
"""Applies an elementwise function of one array.

Params: `jaxpr`, the closed jaxpr of the function; `name`, the activation's name; `order`, the order of the derivative.
"""


def _value(y: Any, *, jaxpr: Any, **_: Any) -> Any:
    return core.jaxpr_as_fun(jaxpr)(y)[0]


def _derivative(g: jax.Array, y: jax.Array, *, jaxpr: Any, name: str, order: int) -> jax.Array:
    def slope(y: jax.Array) -> jax.Array:  # works for a function with only a reverse-mode rule too
        z, pull_back = jax.vjp(functools.partial(_value, jaxpr=jaxpr), y)
        return pull_back(jnp.ones_like(z))[0]

    return lax.mul(g, mark_p.bind(y, jaxpr=_unmarked(slope, y), name=name, order=order + 1))


def _in_series(inputs: Sequence[Any], series: Sequence[Any], **params: Any) -> tuple[Any, list[Any]]:
    """Returns the Taylor coefficients of the function's value, from those of its slope: the rule of `jet`."""
    from jax.experimental import jet

    (y,), (coefficients,) = inputs, series
    z = mark_p.bind(y, **params)
    if not coefficients:
        return z, []

    def slope(y: jax.Array) -> jax.Array:
        return jax.jvp(lambda y: mark_p.bind(y, **params), (y,), (jnp.ones_like(y),))[1]

    first, others = jet.jet2(slope, (y,), (coefficients[:-1],))
    slopes, y_s = [first, *others], [y, *coefficients]
    return z, [sum(j * slopes[k - j] * y_s[j] for j in range(1, k + 1)) / k for k in range(1, len(y_s))]


def _batched(values: Sequence[Any], axes: Sequence[int], *, jaxpr: Any, **params: Any) -> tuple[Any, int]:
    (y,), (axis,) = values, axes
    many = jax.vmap(functools.partial(_value, jaxpr=jaxpr), axis, axis)
    return mark_p.bind(y, jaxpr=_unmarked(many, y), **params), axis


mark_p.def_impl(_value)
mark_p.def_abstract_eval(lambda y, *, jaxpr, **_: jaxpr.out_avals[0])
ad.defjvp(mark_p, _derivative)
batching.primitive_batchers[mark_p] = _batched
mlir.register_lowering(mark_p, mlir.lower_fun(_value, multiple_results=False))


class _Marking(threading.local):
    """The activations that this thread marks at the moment; None: it marks nothing."""

    wanted: Wanted | None = None


_MARKING = _Marking()
_LOCK = threading.Lock()
_PRIMITIVES = ("tanh_p", "logistic_p", "sin_p", "cos_p", "erf_p", "atan_p")


@contextlib.contextmanager
def marked(wanted: Wanted) -> Iterator[None]:
    """Makes every activation that this thread traces in the context one operation `mark_p`.

    Calls of jitted functions and of functions with a derivative rule are marked as a whole if `wanted` names them.
    Other threads wait for their turn to mark. Nothing else that they trace is changed.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        for name in _PRIMITIVES:
            _hook(stack, getattr(primitives, name), "bind", _bind_elementwise)
        _hook(stack, primitives.jit_p, "bind", _bind_call)
        for kind in (jax.custom_jvp, jax.custom_vjp):
            _hook(stack, kind, "__call__", _call_with_rule)
        if isinstance(jax.nn.gelu, types.FunctionType):  # if it is jitted, it is an ordinary call
            stack.callback(setattr, jax.nn.gelu, "__code__", jax.nn.gelu.__code__)
            jax.nn.gelu.__code__ = _gelu_hook.__code__
        if jet := sys.modules.get("jax.experimental.jet"):
            jet.jet_rules[mark_p] = _in_series
        stack.enter_context(afresh())
        _MARKING.wanted = wanted
        stack.callback(setattr, _MARKING, "wanted", None)
        yield


def _hook(stack: contextlib.ExitStack, owner: Any, name: str, hook: Callable[..., Any]) -> None:
    """Replaces a method by a hook, which gets the method, until the stack is closed."""
    before = getattr(owner, name)
    own = name in vars(owner)
    setattr(owner, name, hook(owner, before))
    stack.callback(setattr, owner, name, before) if own else stack.callback(delattr, owner, name)


def _bind_elementwise(primitive: Any, bind: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(*inputs: Any, **params: Any) -> Any:
        if _MARKING.wanted is None or not _is_traced(inputs[0]):
            return bind(*inputs, **params)
        function = _unmarked(lambda y: bind(y, **params), inputs[0])
        return mark_p.bind(inputs[0], jaxpr=function, name=str(primitive.name), order=0)

    return hooked


def _bind_call(primitive: Any, bind: Callable[..., Any]) -> Callable[..., Any]:
    del primitive

    def hooked(*inputs: Any, **params: Any) -> Any:
        mark = _mark_of(inputs, lambda *inputs: bind(*inputs, **params), str(params.get("name")))
        return bind(*inputs, **params) if mark is None else [mark]

    return hooked


def _call_with_rule(owner: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    del owner

    def hooked(self: Any, *inputs: Any, **kwargs: Any) -> Any:
        name = str(getattr(self, "__name__", "function"))
        mark = None if kwargs else _mark_of(inputs, lambda *inputs: call(self, *inputs), name)
        return call(self, *inputs, **kwargs) if mark is None else mark

    return hooked


def _mark_of(inputs: Sequence[Any], call: Callable[..., Any], name: str) -> Any | None:
    """Returns the result of a call as one operation; None if it is not an activation of the only traced array."""
    wanted, traced = _MARKING.wanted, [i for i, x in enumerate(inputs) if isinstance(x, jax.core.Tracer)]
    if wanted is None or len(traced) != 1 or not _is_traced(inputs[traced[0]]):
        return None
    (own,) = traced
    function = _unmarked(lambda y: call(*inputs[:own], y, *inputs[own + 1 :]), inputs[own])
    with _paused():
        known = wanted(function, name)
    return None if known is None else mark_p.bind(inputs[own], jaxpr=function, name=known, order=0)


def _gelu_hook(x: Any, approximate: bool = True) -> Any:
    """Replaces the code of `jax.nn.gelu`, which is not jitted. Its aliases cannot be found, but share its code."""
    import importlib

    return importlib.import_module("paramact_jax.programs.marks")._gelu(x, approximate)


def _gelu(x: Any, approximate: bool) -> Any:
    if _MARKING.wanted is None or not _is_traced(x):
        return _written_out(x, approximate)
    return mark_p.bind(x, jaxpr=_unmarked(lambda y: _written_out(y, approximate), x), name="gelu", order=0)


_written_out: Any = jax.nn.gelu
if isinstance(jax.nn.gelu, types.FunctionType):
    _written_out = types.FunctionType(jax.nn.gelu.__code__, jax.nn.gelu.__globals__, "gelu", jax.nn.gelu.__defaults__)


def _is_traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer) and jnp.issubdtype(x.dtype, jnp.floating)


def _unmarked(function: Callable[..., Any], y: Any) -> Any:
    """Returns the closed jaxpr of a function of an array like y, without marks."""
    with _paused():
        return jax.make_jaxpr(function)(jax.ShapeDtypeStruct(y.shape, y.dtype))


@contextlib.contextmanager
def _paused() -> Iterator[None]:
    """Stops this thread from marking in the context."""
    wanted, _MARKING.wanted = _MARKING.wanted, None
    try:
        yield
    finally:
        _MARKING.wanted = wanted
