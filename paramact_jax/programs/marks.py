"""Activations of a program that takes derivatives, kept as one operation each.

Traced as usual, the derivative of tanh in a program is an expression like 1 - z^2, in which z may not become a z. So a
program that takes derivatives within is traced again, with an operation of its own instead of every activation. Its
derivative is such an operation again, with the activation's slope as its function.
"""

from __future__ import annotations

import contextlib
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

Wanted = Callable[[Any, str], bool]
"""Tells whether the jaxpr of a function, called by this name, is to be kept as one operation."""

mark_p = core.Primitive("activation")
"""Applies an elementwise function of one array.

Params: `jaxpr`, the closed jaxpr of the function; `name`, of the activation; `order`, of the derivative that it is.
"""
mark_p.def_impl(lambda y, *, jaxpr, **_: core.jaxpr_as_fun(jaxpr)(y)[0])
mark_p.def_abstract_eval(lambda y, *, jaxpr, **_: jaxpr.out_avals[0])


def _derivative(g: jax.Array, y: jax.Array, *, jaxpr: Any, name: str, order: int) -> jax.Array:
    def slope(y: jax.Array) -> jax.Array:
        return jax.jvp(lambda y: core.jaxpr_as_fun(jaxpr)(y)[0], (y,), (jnp.ones_like(y),))[1]

    return lax.mul(g, mark_p.bind(y, jaxpr=_unmarked(slope, y), name=name, order=order + 1))


def _batched(values: Sequence[Any], axes: Sequence[int], *, jaxpr: Any, **params: Any) -> tuple[Any, int]:
    (y,), (axis,) = values, axes
    many = jax.vmap(lambda y: core.jaxpr_as_fun(jaxpr)(y)[0], axis, axis)
    return mark_p.bind(y, jaxpr=_unmarked(many, y), **params), axis


ad.defjvp(mark_p, _derivative)
batching.primitive_batchers[mark_p] = _batched
mlir.register_lowering(
    mark_p, mlir.lower_fun(lambda y, *, jaxpr, **_: core.jaxpr_as_fun(jaxpr)(y)[0], multiple_results=False)
)


class _Marking(threading.local):
    """What this thread marks at the moment; None: nothing."""

    wanted: Wanted | None = None


_MARKING = _Marking()
_LOCK = threading.Lock()
_PRIMITIVES = ("tanh_p", "logistic_p", "sin_p", "cos_p", "erf_p", "atan_p")


@contextlib.contextmanager
def marked(wanted: Wanted) -> Iterator[None]:
    """Within, every activation that this thread traces becomes one operation `mark_p`.

    Calls of jitted functions and of functions with a derivative rule are marked as a whole if `wanted` says so. Other
    threads wait for their turn to mark; what they trace otherwise is not changed.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        for name in _PRIMITIVES:
            _hook(stack, getattr(primitives, name), "bind", _bind_elementwise)
        _hook(stack, primitives.jit_p, "bind", _bind_call)
        _hook(stack, jax.custom_jvp, "__call__", _call_with_rule)
        stack.callback(setattr, jax.nn.gelu, "__code__", jax.nn.gelu.__code__)
        jax.nn.gelu.__code__ = _gelu_hook.__code__
        stack.enter_context(afresh())
        _MARKING.wanted = wanted
        stack.callback(setattr, _MARKING, "wanted", None)
        yield


def _hook(stack: contextlib.ExitStack, owner: Any, name: str, hook: Callable[..., Any]) -> None:
    """Puts a function in the place of a method, which it is handed first, and takes it out again in the end."""
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
        wanted, traced = _MARKING.wanted, [i for i, x in enumerate(inputs) if isinstance(x, jax.core.Tracer)]
        if wanted is None or len(traced) != 1 or not _is_traced(inputs[traced[0]]):
            return bind(*inputs, **params)
        name, (own,) = str(params.get("name")), traced
        function = _unmarked(lambda y: bind(*inputs[:own], y, *inputs[own + 1 :], **params), inputs[own])
        if not wanted(function, name):
            return bind(*inputs, **params)
        return [mark_p.bind(inputs[own], jaxpr=function, name=name, order=0)]

    return hooked


def _call_with_rule(owner: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    del owner

    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = _MARKING.wanted
        if wanted is None or len(args) != 1 or kwargs or not _is_traced(args[0]):
            return call(self, *args, **kwargs)
        name = str(getattr(self, "__name__", "function"))
        function = _unmarked(lambda y: call(self, y), args[0])
        if not wanted(function, name):
            return call(self, *args, **kwargs)
        return mark_p.bind(args[0], jaxpr=function, name=name, order=0)

    return hooked


def _gelu_hook(x: Any, approximate: bool = True) -> Any:
    """Takes the place of the code of `jax.nn.gelu`, which is no jitted function; its aliases are not to be found."""
    import importlib

    return importlib.import_module("paramact_jax.programs.marks")._gelu(x, approximate)


_GELU = types.FunctionType(jax.nn.gelu.__code__, jax.nn.gelu.__globals__, "gelu", jax.nn.gelu.__defaults__)


def _gelu(x: Any, approximate: bool) -> Any:
    if _MARKING.wanted is None or not _is_traced(x):
        return _GELU(x, approximate)
    return mark_p.bind(x, jaxpr=_unmarked(lambda y: _GELU(y, approximate), x), name="gelu", order=0)


def _is_traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer) and jnp.issubdtype(x.dtype, jnp.floating)


def _unmarked(function: Callable[..., Any], y: Any) -> Any:
    """Returns the closed jaxpr of a function of an array like y, in which nothing is marked."""
    wanted, _MARKING.wanted = _MARKING.wanted, None
    try:
        return jax.make_jaxpr(function)(jax.ShapeDtypeStruct(y.shape, y.dtype))
    finally:
        _MARKING.wanted = wanted
