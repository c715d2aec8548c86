"""Calls of nnx modules, linen modules and functions in one common form, for models that `parametrise` changes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen, nnx

from paramact_jax.layers.calls import Call, as_arrays
from paramact_jax.layers.nnx import ActivationParam
from paramact_jax.layers.rewritten import Rewritten, Values

KEY = "activations"
"""Key of the values of a and b in variables: in linen's params, or next to the params of a function."""


@dataclasses.dataclass(frozen=True)
class NnxCall:
    """Calls a method of an nnx module that it merges from graphdef and state."""

    graphdef: Any
    method: str

    def __call__(self, params: Any, rest: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any, list[Any]]:
        """Returns the result, the module's graphdef after the call, and the variables that the call changed.

        It returns changed variables of the module and of every nnx object among the arguments, such as a random stream.
        If the call adds variables to the module, as `sow` does, the graphdef differs, and all variables are returned.
        """
        model = nnx.merge(self.graphdef, params, rest, copy=True)
        (args, kwargs), objects = _whole((args, kwargs))
        before = [_values_of(one) for one in (model, *objects)]
        with _scopes(model):
            result = getattr(model, self.method)(*args, **kwargs)
        graphdef, state = nnx.split(model)
        if graphdef == self.graphdef:
            state = _changed(model, before[0])
        return result, graphdef, state, [_changed(one, old) for one, old in zip(objects, before[1:], strict=True)]


class _Parts(NamedTuple):
    """An nnx object among the arguments, split into graphdef and state."""

    graphdef: Any
    state: Any


@dataclasses.dataclass(frozen=True)
class _Again:
    """Stands for an nnx object that was among the arguments before, by its number."""

    number: int


def _apart(tree: Any) -> tuple[Any, list[Any]]:
    """Returns a tree with its nnx objects split into parts, and the list of the objects."""
    objects: list[Any] = []

    def apart(x: Any) -> Any:
        if not isinstance(x, nnx.Pytree):
            return x
        if (number := next((i for i, other in enumerate(objects) if other is x), None)) is not None:
            return _Again(number)
        objects.append(x)
        return _Parts(*nnx.split(x))

    return jax.tree.map(apart, tree, is_leaf=lambda x: isinstance(x, nnx.Pytree)), objects


def _whole(tree: Any) -> tuple[Any, list[Any]]:
    """Returns a tree with its parts merged into copies of the nnx objects, and the list of the copies."""
    objects: list[Any] = []

    def whole(x: Any) -> Any:
        if isinstance(x, _Again):
            return objects[x.number]
        if not isinstance(x, _Parts):
            return x
        objects.append(nnx.merge(x.graphdef, x.state, copy=True))
        return objects[-1]

    return jax.tree.map(whole, tree, is_leaf=lambda x: isinstance(x, _Parts)), objects


def _values_of(one: Any) -> dict[Any, Any]:
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(one))}


def _changed(one: Any, before: Mapping[Any, Any]) -> Any:
    """Returns the variables of an object that have other values than before."""
    after = nnx.to_flat_state(nnx.state(one))
    return nnx.from_flat_state([(path, v) for path, v in after if v.get_value() is not before.get(path)])


class Parametrised(nnx.Module):
    """An nnx module in which activations are replaced by a f(y - b). `parametrise` makes it.

    Attributes:
      model: an unchanged copy of the module. Its parameters are trained through this module.
      activations: name of an activation -> its learned a and b, as `ActivationParam`.
    """

    def __init__(self, model: nnx.Module, values: Values, rewritten: Rewritten) -> None:
        """Takes the module, the values of a and b, and the replacement."""
        self.model = model
        self.activations = nnx.Dict(
            {name: nnx.Dict({p: ActivationParam(x) for p, x in own.items()}) for name, own in values.items()}
        )
        self._rewritten = rewritten

    def __call__(self, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """Returns the module's result, computed with the trained activations.

        Args:
          *args: positional arguments of the module.
          method: name of the method to call.
          **kwargs: named arguments of the module.

        Raises:
          ValueError: if the call reaches an activation that the example did not reach.
        """
        call, before, objects = nnx_call(self.model, method, args, kwargs)
        result, graphdef, state, changed = self._rewritten(call, nnx.to_pure_dict(nnx.state(self.activations)))
        for one, its_state in zip(objects, changed, strict=True):
            if jax.tree.leaves(its_state):
                nnx.update(one, its_state)
        if graphdef != before:
            self.model = nnx.merge(graphdef, state)
        elif jax.tree.leaves(state):
            nnx.update(self.model, state)
        return result


def nnx_call(
    model: nnx.Module, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Call, Any, list[Any]]:
    """Returns a call of a module's method, the module's graphdef, and the nnx objects among the arguments."""
    (args, kwargs), objects = _apart((args, kwargs))
    graphdef, state = nnx.split(model)
    params, rest = nnx.split_state(state, nnx.Param, ...)
    return Call(NnxCall(graphdef, method), _innermost, params, rest, args, kwargs), graphdef, objects


def call_of(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Returns the call of an nnx module, a linen module or a function.

    Args:
      model: the model to call. A bound linen module contains its variables.
      args: positional arguments; for a linen module or a function the variables come first.
      kwargs: named arguments. `method` names the method to call in place of `__call__`, also for nnx.

    Raises:
      TypeError: if `model` is neither a module nor a function, or its variables are missing.
    """
    if isinstance(model, nnx.Module):
        kwargs = dict(kwargs)
        return nnx_call(model, kwargs.pop("method", "__call__"), args, kwargs)[0]
    if isinstance(model, linen.Module) and model.scope is not None:
        model, variables = model.unbind()
        args = (variables, *args)
    call = applied(model, args)
    return call.of(args[0], args[1:], kwargs)


def applied(model: Any, args: tuple[Any, ...]) -> LinenCall | FunctionCall:
    """Returns the kind of call for a linen module or a function; the first of `args` must be its variables.

    Raises:
      TypeError: as in `call_of`.
    """
    if isinstance(model, linen.Module):
        if not args or not isinstance(args[0], Mapping) or (args[0] and "params" not in args[0]):
            got = "none" if not args else type(args[0]).__name__
            if args and isinstance(args[0], Mapping):
                got = f"a dict of {', '.join(map(str, args[0]))}"
            raise TypeError(
                f"expected variables {{'params': ..}} after a linen module, got {got}; pass module, variables, x"
            )
        return LinenCall(model)
    if isinstance(model, type) or not callable(model):
        got = model.__name__ if isinstance(model, type) else type(model).__name__
        raise TypeError(f"expected an nnx module, a linen module or a function f(params, ...), got {got}")
    if not args:
        raise TypeError("expected params after a function, got none; pass f, params, x")
    return FunctionCall(model)


def explained(error: TypeError, call: Call) -> TypeError:
    """Returns a clearer error if the example's arguments are missing, else the error itself."""
    if call.args or call.kwargs or "argument" not in str(error):
        return error
    shape = {NnxCall: "model, x", LinenCall: "model, variables, x"}.get(type(call.call), "f, params, x")
    return TypeError(f"expected an example call, {shape}, got no arguments: {error}")


def _innermost(scope: str) -> str:
    """Returns the path of an nnx module: the last scope, which has the full path."""
    return scope.rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Apply:
    """Calls a linen module or a function with activations replaced by a f(y - b). `parametrise` makes it.

    Attributes:
      call: calls the unchanged module or function, with its variables in two trees.
      rewritten: replaces the activations.
    """

    call: LinenCall | FunctionCall
    rewritten: Rewritten

    def __call__(self, variables: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Returns the result of the module or function, computed with the trained activations.

        Args:
          variables: variables made by `parametrise`, trained or not.
          *args: the module's or function's positional arguments after its variables.
          **kwargs: its named arguments; for a linen module also `method`, `rngs` and `mutable`.

        Raises:
          ValueError: if the variables of the activations are missing, or the call reaches an activation that the
            example did not reach.
        """
        own, values = self.call.parted(variables)
        return self.rewritten(self.call.of(own, args, kwargs), values)


@dataclasses.dataclass(frozen=True, eq=False)
class LinenCall:
    """Calls a linen module."""

    module: linen.Module

    def __call__(self, params: Any, rest: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the result of `module.apply`."""
        return self.module.apply({"params": params, **rest}, *args, **kwargs)

    def of(self, variables: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Returns a call with these variables."""
        rest = {name: collection for name, collection in variables.items() if name != "params"}
        return Call(self, _below, variables.get("params", {}), rest, args, kwargs)

    def parted(self, variables: Mapping[str, Any]) -> tuple[Any, Values]:
        """Returns the module's own variables and those of the activations."""
        params = dict(_member(variables, "params"))
        values = _member(params, KEY)
        del params[KEY]
        return {**variables, "params": params}, values

    def joined(self, variables: Mapping[str, Any], values: Values) -> dict[str, Any]:
        """Returns variables with those of the activations inside the params."""
        return {**variables, "params": {**variables.get("params", {}), KEY: values}}


@dataclasses.dataclass(frozen=True, eq=False)
class FunctionCall:
    """Calls a function of params and arguments."""

    function: Callable[..., Any]

    def __call__(self, params: Any, rest: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the result of the function."""
        del rest
        return self.function(params, *args, **kwargs)

    def of(self, params: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Returns a call with these params."""
        return Call(self, _joined, as_arrays(params), (), args, kwargs)

    def parted(self, variables: Mapping[str, Any]) -> tuple[Any, Values]:
        """Returns the function's params and those of the activations."""
        return _member(variables, "params"), _member(variables, KEY)

    def joined(self, params: Any, values: Values) -> dict[str, Any]:
        """Returns a dict with the params and those of the activations."""
        return {"params": params, KEY: values}


def _below(scope: str) -> str:
    """Returns the path of a linen module, without the name of the whole module."""
    return ".".join(scope.split("/")[1:])


def _joined(scope: str) -> str:
    """Returns the named scopes around, joined by dots."""
    return scope.replace("/", ".")


def _member(variables: Any, key: str) -> Any:
    if not isinstance(variables, Mapping) or key not in variables:
        got = ", ".join(map(str, variables)) if isinstance(variables, Mapping) else type(variables).__name__
        raise ValueError(
            f"expected the variables that parametrise returned, a dict with {key!r}, got {got or 'an empty dict'}"
        )
    return variables[key]


@contextlib.contextmanager
def _scopes(model: nnx.Module) -> Iterator[None]:
    """Traces each module inside the model in a scope with the path of the module, within this context."""
    names = {
        id(module): ".".join(map(str, path))
        for path, module in nnx.iter_graph(model)
        if isinstance(module, nnx.Module) and path
    }
    classes = {type(module) for _, module in nnx.iter_graph(model) if isinstance(module, nnx.Module)}
    with contextlib.ExitStack() as stack:
        for path, module in nnx.iter_graph(model):
            if isinstance(module, nnx.Sequential):
                _scope_functions(module, path, stack)
        for cls in classes:
            if any("__call__" in vars(base) for base in cls.__mro__):
                _scope_calls(cls, names, stack)
        yield


@dataclasses.dataclass(frozen=True)
class _Scoped:
    """A function that is traced in a named scope."""

    function: Any
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(self.name):
            return self.function(*args, **kwargs)


def _scope_functions(sequential: nnx.Sequential, path: tuple[Any, ...], stack: contextlib.ExitStack) -> None:
    """Traces the layers of a Sequential that are functions and not modules in scopes of their own.

    A call inside a call gives the functions the scopes of the inner model alone.
    """
    layers = sequential.layers
    for number, layer in enumerate(layers):
        if not isinstance(layer, nnx.Module):
            function = layer.function if isinstance(layer, _Scoped) else layer
            layers[number] = _Scoped(function, ".".join(map(str, (*path, "layers", number))))
            stack.callback(layers.__setitem__, number, layer)


def _scope_calls(cls: Any, names: Mapping[int, str], stack: contextlib.ExitStack) -> None:
    before = cls.__call__
    own = "__call__" in vars(cls)

    @functools.wraps(before)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = names.get(id(self))
        with jax.named_scope(name) if name else contextlib.nullcontext():
            return before(self, *args, **kwargs)

    cls.__call__ = call
    stack.callback(setattr, cls, "__call__", before) if own else stack.callback(delattr, cls, "__call__")
