"""Run a Flax model and see its affine maps and activations: what goes into each, what comes out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from paramact_jax.activations import Activation, catalogue
from paramact_jax.layers import linen as linen_layers
from paramact_jax.layers.elementwise import Elementwise
from paramact_jax.layers.nnx import Parametric

Model = nnx.Module | linen.Module


@dataclasses.dataclass(frozen=True)
class Affine:
    """One call y = W^T z + w0 of an `nnx.Linear` or a linen `Dense`.

    Attributes:
      name: of the module within the model.
      z, y: input (samples, fan_in) and output (samples, fan_out).
      kernel: (fan_in, fan_out).
      has_bias: whether there is a w0.
    """

    name: str
    z: jax.Array
    y: jax.Array
    kernel: jax.Array
    has_bias: bool


@dataclasses.dataclass(frozen=True)
class Applied:
    """One call of an activation whose record is known.

    Attributes:
      record: the activation.
      params: its parameters, with axes of size 1 so that they broadcast against y.
      shapes: the shapes that the parameters are held in.
      y, z: input and output.
    """

    record: Activation
    params: Mapping[str, jax.Array]
    shapes: Mapping[str, tuple[int, ...]]
    y: jax.Array
    z: jax.Array


@dataclasses.dataclass
class Observed:
    """What was seen while a model ran, in the order of the calls.

    Attributes:
      affine: the affine maps.
      applied: the activations whose record is known. A function that the model's `__call__` names itself, as in
        `nnx.relu(self.linear(x))`, is not seen.
      output: what the model returned.
      replacements: in place of its own result, affine map i returned entry i.
    """

    affine: list[Affine] = dataclasses.field(default_factory=list)
    applied: list[Applied] = dataclasses.field(default_factory=list)
    output: Any = None
    replacements: Sequence[jax.Array] | None = None

    def call_affine(self, name: str, module: Any, kernel: Any, has_bias: bool, z: jax.Array) -> jax.Array:
        """The affine map's result, or what replaces it."""
        y = module(z) if self.replacements is None else self.replacements[len(self.affine)]
        self.affine.append(Affine(name, z, y, kernel, has_bias))
        return y

    def call_activation(
        self, function: Any, record: Activation, layer: Elementwise | None, held: Mapping[str, jax.Array], y: jax.Array
    ) -> jax.Array:
        """The activation's result."""
        z = function(y)
        params = {name: layer.sharing.align(p.astype(y.dtype), y.ndim) for name, p in held.items()} if layer else {}
        self.applied.append(Applied(record, params, {name: p.shape for name, p in held.items()}, y, z))
        return z


def observe(model: Model, x: jax.Array, replacements: Sequence[jax.Array] | None = None) -> Observed:
    """Run the model on x and note every affine map and every activation whose record is known.

    Args:
      model: an nnx module, which is not changed, or a bound linen module.
      x: its input.
      replacements: values that the affine maps return in place of their own results, in the order of the calls.

    Raises:
      TypeError: if `model` is neither.
    """
    observed = Observed(replacements=replacements)
    if isinstance(model, nnx.Module):
        observed.output = _with_observers(model, observed)(x)
    elif isinstance(model, linen.Module) and model.scope is not None:
        with linen.intercept_methods(functools.partial(_intercept, observed)):
            observed.output = model(x)
    elif isinstance(model, linen.Module):
        raise TypeError(
            f"expected a bound linen module, got {type(model).__name__} without variables; pass model.bind(variables)"
        )
    else:
        raise TypeError(f"expected a flax.nnx module or a bound linen module, got {type(model).__name__}")
    return observed


class _Observer:
    """Stands in for a callable attribute of an nnx module; all else of it stays visible."""

    def __init__(self, module: Any, call: Any) -> None:
        self._module, self._call = module, call

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._call(x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)


def _with_observers(model: nnx.Module, observed: Observed) -> Any:
    if (observer := _observer("", model, observed)) is not None:
        return observer
    copy = nnx.clone(model)
    for path, node in list(nnx.iter_graph(copy)):
        if not isinstance(node, nnx.Module):
            continue
        for attribute, value in list(vars(node).items()):
            observer = _observer(".".join(map(str, (*path, attribute))), value, observed)
            if observer is not None:
                setattr(node, attribute, nnx.static(observer))
    return copy


def _observer(name: str, value: Any, observed: Observed) -> _Observer | None:
    if type(value) is nnx.Linear:  # a subclass may compute something else
        kernel, has_bias = value.kernel[...], value.bias is not None
        return _Observer(value, functools.partial(observed.call_affine, name, value, kernel, has_bias))
    if type(value) is Parametric:
        held = {p: getattr(value, p)[...] for p in value.activation.params}
        return _Observer(
            value, functools.partial(observed.call_activation, value, value.activation, value.elementwise, held)
        )
    record = _record_of(value)
    if record is not None and not record.params:
        return _Observer(value, functools.partial(observed.call_activation, value, record, None, {}))
    return None


def _intercept(observed: Observed, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    module = context.module
    if context.method_name != "__call__" or len(args) != 1 or kwargs:
        return call(*args, **kwargs)
    name = "/".join(module.path)
    if type(module) is linen.Dense:
        y = call(*args) if observed.replacements is None else None
        held = linen.meta.unbox(module.variables["params"])
        return observed.call_affine(name, lambda z: y, held["kernel"], "bias" in held, *args)
    if type(module) is linen_layers.Parametric:
        z = call(*args)
        variables = linen.meta.unbox(module.variables)
        layer = module.elementwise
        held = {p: variables[c][p] for c in variables for p in variables[c] if p in layer.record.params}
        return observed.call_activation(lambda y: z, layer.record, layer, held, *args)
    return call(*args)


def _record_of(value: Any) -> Activation | None:
    """The record of an activation function held by a module: its own, or the catalogue's of that function."""
    if isinstance(value, Activation):
        return value
    return _records_by_function().get(value) if callable(value) and value.__hash__ else None


@functools.cache
def _records_by_function() -> dict[Any, Activation]:
    known: dict[Any, Activation] = {jnp.tanh: catalogue.get("tanh"), jax.lax.logistic: catalogue.get("sigmoid")}
    for record in map(catalogue.get, catalogue.names()):
        if not record.params:
            for function in (record.fn, record.jax_nn):
                if function is not None:
                    known.setdefault(function, record)
    return known
