"""The record of one activation function, its derivatives and its properties; all other code reads it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.activations import own_functions
from paramact_jax.activations.exact import as_float
from paramact_jax.activations.own_functions import Function as Function

TRACED = "user, of a value that JAX traces"
"""The `source` of a record made from a function that depends on a traced value."""


@dataclasses.dataclass(frozen=True)
class Kink:
    """A point where the one-sided slopes differ, or where the function itself jumps.

    Attributes:
      at: the y of the kink, at the start values of the parameters.
      slope: the derivative that the closed form and autodiff both use there.
      value: the value there, for a function that jumps at this point; None for one that is continuous.
    """

    at: float
    slope: float
    value: float | None = None


@dataclasses.dataclass(frozen=True)
class OfFloats:
    """A function of floats that also accepts whole numbers."""

    fn: Function

    def __call__(self, y: jax.typing.ArrayLike, **params: jax.typing.ArrayLike) -> jax.Array:
        """Returns the function at y, in JAX's default float dtype if y is whole."""
        return self.fn(as_float(y), **params)


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """One activation function z = fn(y, **params), elementwise, with what is known about it.

    Records are compared and hashed by identity, so they can be static attributes of Flax modules and static
    arguments of jitted functions. A copy, deep or not, is the record itself. Pickle stores a record of the catalogue as
    its name, and a record that `parametric` or `activation` made as that call; a lambda cannot be pickled. Calling the
    record calls `fn`. The record, its derivative and its partials also accept whole numbers; `fn` takes floats.

    Attributes:
      name: the name that finds it in the catalogue.
      fn: the function. It takes y and one keyword argument per entry of `params`, each of a shape that broadcasts
        against y's: (1, features) against (batch, features) for one parameter value per node.
        The output has the dtype of the input.
      derivative: closed form of dz/dy, same arguments and shape as `fn`.
      partials: closed form of dz/dp for every trainable parameter p, same arguments as `fn`.
      params: the trainable parameters and their start values.
      steepest_slope: max |dz/dy| over y, at the start values of the parameters; inf where it has no bound.
      range: infimum and supremum of z at the start values of the parameters.
      kinks: the points where the derivative jumps.
      formula: the function in plain text.
      source: where it is defined, with a citation key of `paramact_jax.papers` in brackets.
      jax_nn: the function of `jax.nn` with the same values (at the start values of the parameters), or None; the
        record's accuracy is compared with its accuracy.
      recipe: the call that made the record, for pickle; None for a record that no such call made.

    Raises:
      ValueError: if a parameter has no partial or a partial no parameter, or if the steepest slope is negative or not
        a number.

    Examples:
      >>> from paramact_jax.activations import ppns
      >>> ppns
      Activation(name='ppns', formula='a * (1 / (1 + exp(-y)) - 1/2) at y - b', source='[P, Table 1 and 2]')
      >>> dict(ppns.params)
      {'a': 6.0, 'b': 0.0}
      >>> round(float(ppns(1.0, a=6.0, b=0.0)), 4)
      1.3864
    """

    name: str
    fn: Function = dataclasses.field(repr=False)
    derivative: Function = dataclasses.field(repr=False)
    steepest_slope: float = dataclasses.field(repr=False)
    range: tuple[float, float] = dataclasses.field(repr=False)
    formula: str
    source: str
    partials: Mapping[str, Function] = dataclasses.field(default_factory=dict, repr=False)
    params: Mapping[str, float] = dataclasses.field(default_factory=dict, repr=False)
    kinks: tuple[Kink, ...] = dataclasses.field(default=(), repr=False)
    jax_nn: Function | None = dataclasses.field(default=None, repr=False)
    recipe: functools.partial[Activation] | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if set(self.partials) != set(self.params):
            raise ValueError(
                f"activation {self.name!r}: expected one partial for each parameter {sorted(self.params)}, "
                f"got partials for {sorted(self.partials)}"
            )
        if not self.steepest_slope >= 0:
            raise ValueError(f"activation {self.name!r}: expected a steepest slope >= 0, got {self.steepest_slope}")
        partials = {name: _of_floats(partial) for name, partial in self.partials.items()}
        object.__setattr__(self, "derivative", _of_floats(self.derivative))
        object.__setattr__(self, "partials", MappingProxyType(partials))
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def __call__(self, y: jax.typing.ArrayLike, **params: jax.typing.ArrayLike) -> jax.Array:
        """Returns the value at y; `params` as in `fn`."""
        return self.fn(as_float(y), **params)

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        return self

    def __reduce__(self) -> tuple[Callable[..., Activation], tuple[Any, ...]]:
        from paramact_jax.activations import catalogue  # here, since it imports this file

        if catalogue.is_own(self):
            return catalogue.get, (self.name,)
        if self.recipe is None:
            values = (getattr(self, field.name) for field in dataclasses.fields(self) if field.init)
            return Activation, tuple(dict(x) if isinstance(x, MappingProxyType) else x for x in values)
        call = functools.partial(self.recipe.func, **self.recipe.keywords)
        return _made, (call, *map(_named, self.recipe.args))

    @property
    def zero_centred(self) -> bool:
        """Whether the range is symmetric about 0; that of sigmoid is not, its second fault [B2]."""
        low, high = self.range
        return low == -high


def _of_floats(fn: Function) -> Function:
    return fn if isinstance(fn, OfFloats) else OfFloats(fn)


def activation(fn: Function, name: str | None = None) -> Activation:
    """Returns the record of a user's elementwise function of y; finds its derivative and its steepest slope.

    The derivative is JAX's forward-mode derivative of `fn`, or its reverse-mode derivative if only that is defined. The
    steepest slope and the range are found numerically on |y| <= 100 (see `find_steepest_slope`). The value has the
    dtype of y: if `fn` promotes it, it is cast back. All this also works while JAX traces. If `fn` depends on a traced
    value, the steepest slope is not known, and the record has inf.

    Args:
      fn: an elementwise function of one array.
      name: a name for messages and plots; by default the name of the function, of the function in a partial, or of
        the class of another object.

    Raises:
      TypeError: if `fn` cannot be called with one array; is a Flax module, since its parameters would be frozen; cannot
        be traced or differentiated by JAX, as with NumPy functions; or gives anything but one array of real numbers.
      ValueError: if `fn` is not elementwise.

    Examples:
      >>> import jax.numpy as jnp
      >>> softsign = activation(lambda y: y / (1 + jnp.abs(y)), "softsign")
      >>> round(softsign.steepest_slope, 3)
      1.0
    """
    label = name or own_functions.name_of(fn)
    own_functions.check(fn, label)
    values = own_functions.same_dtype(fn)
    derivative = own_functions.derivative_of(values, label)
    found = own_functions.measure(values, derivative, label)
    record = Activation(
        name=label,
        fn=values,
        derivative=derivative,
        steepest_slope=found.steepest_slope if found else math.inf,
        range=found.range if found else (-math.inf, math.inf),
        formula=f"{label}(y)",
        source="user" if found else TRACED,
    )
    return remember(record, activation, fn, name)


def remember(record: Activation, make: Callable[..., Activation], *args: Any, **options: Any) -> Activation:
    """Stores in the record the call that made it, for pickle; returns the record."""
    object.__setattr__(record, "recipe", functools.partial(make, *args, **options))
    return record


class _Named(NamedTuple):
    """The name of a JAX function that pickle cannot name, since `jax.jit` or `jax.custom_jvp` wraps it."""

    module: str
    name: str


def _named(value: Any) -> Any:
    name = str(getattr(value, "__name__", "none"))
    places = [module for module in (jax.nn, jnp, jax.lax) if getattr(module, name, ...) is value]
    return _Named(places[0].__name__, name) if places else value


def _made(recipe: Callable[..., Activation], *args: Any) -> Activation:
    return recipe(*(getattr(importlib.import_module(x.module), x.name) if isinstance(x, _Named) else x for x in args))
