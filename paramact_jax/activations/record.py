"""The record that everything else reads: one activation function, its derivatives and its properties."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

Function = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Kink:
    """A point where the one-sided slopes differ, or where the function itself jumps.

    Attributes:
      at: the y where the kink lies, at the start values of the parameters.
      slope: the derivative used there, by the closed form and by autodiff alike.
      value: the value there, for a function that jumps at this point; None for one that is continuous.
    """

    at: float
    slope: float
    value: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """One activation function z = fn(y, **params), elementwise, with what is known about it.

    Records are compared and hashed by identity, so they can be static attributes of Flax modules and static
    arguments of jitted functions. Calling the record calls `fn`.

    Attributes:
      name: the name it is found by in the catalogue.
      fn: the function. Takes y and one keyword argument per entry of `params`, each of a shape that broadcasts
        against y's: (1, features) beside (batch, features) for one of each per node.
        The dtype that comes out is the one that went in.
      derivative: closed form of dz/dy, same arguments and shape as `fn`.
      partials: closed form of dz/dp for every trainable parameter p, same arguments as `fn`.
      params: the trainable parameters and their start values.
      steepest_slope: max |dz/dy| over y, at the start values of the parameters; inf where it has no bound.
      range: infimum and supremum of z at the start values of the parameters.
      kinks: the points where the derivative jumps.
      formula: the function in plain text.
      source: where it is defined, with a citation key of `paramact_jax.papers` in brackets.
      jax_nn: the function of `jax.nn` with these values (at the start values of the parameters), or None. It is
        `fn` itself except where that one overflows in float16; accuracy is measured beside it.

    Raises:
      ValueError: if a partial is missing for a parameter or given for none, or the steepest slope is negative or
        not a number.

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

    def __post_init__(self) -> None:
        if set(self.partials) != set(self.params):
            raise ValueError(
                f"activation {self.name!r}: expected one partial for each parameter {sorted(self.params)}, "
                f"got partials for {sorted(self.partials)}"
            )
        if not self.steepest_slope >= 0:
            raise ValueError(f"activation {self.name!r}: expected a steepest slope >= 0, got {self.steepest_slope}")
        object.__setattr__(self, "partials", MappingProxyType(dict(self.partials)))
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def __call__(self, y: jax.typing.ArrayLike, **params: jax.typing.ArrayLike) -> jax.Array:
        """Value at y; `params` as in `fn`."""
        return self.fn(y, **params)

    @property
    def zero_centred(self) -> bool:
        """Whether the range is symmetric about 0 (sigmoid's second fault [B2] is that its range is not)."""
        low, high = self.range
        return low == -high


def activation(fn: Function, name: str | None = None) -> Activation:
    """Record of a user's own elementwise function of y, with derivative and steepest slope found for it.

    The derivative is JAX's forward-mode derivative of `fn`; the steepest slope and the range are found numerically
    on |y| <= 100 (see `find_steepest_slope`).

    Args:
      fn: an elementwise function of one array.
      name: a name for messages and plots; by default the function's own.

    Raises:
      TypeError: if `fn` is not callable, or cannot be differentiated by JAX, as a NumPy function cannot.
      ValueError: if `fn` is not elementwise.

    Examples:
      >>> import jax.numpy as jnp
      >>> softsign = activation(lambda y: y / (1 + jnp.abs(y)), "softsign")
      >>> round(softsign.steepest_slope, 3)
      1.0
    """
    if not callable(fn):
        raise TypeError(f"expected an elementwise function of one array, got {type(fn).__name__}")
    label = name or str(getattr(fn, "__name__", "user function"))

    def derivative(y: jax.typing.ArrayLike) -> jax.Array:
        y = jnp.asarray(y)
        return jax.jvp(fn, (y,), (jnp.ones_like(y),))[1]

    try:
        jax.eval_shape(derivative, jax.ShapeDtypeStruct(_GRID.shape, jnp.float32))
    except jax.errors.TracerArrayConversionError as error:
        raise TypeError(f"activation {label!r}: expected a function JAX can trace; write it with jax.numpy") from error

    values, alone = (np.asarray(fn(jnp.asarray(y, jnp.float32))) for y in (_GRID, _GRID[_SOME]))
    if values.shape != _GRID.shape or not np.allclose(values[_SOME], alone, equal_nan=True):
        raise ValueError(
            f"activation {label!r}: expected an elementwise function, whose value at a y does not depend on the other "
            f"elements; got one of shape {_GRID.shape} -> {values.shape} that is not"
        )
    return Activation(
        name=label,
        fn=fn,
        derivative=derivative,
        steepest_slope=find_steepest_slope(derivative),
        range=(float(values.min()), float(values.max())),
        formula=f"{label}(y)",
        source="user",
    )


_GRID = np.sort(np.concatenate([np.sinh(np.linspace(-6, 6, 4001)) * (100 / np.sinh(6)), [0.0]]))
_SOME = slice(701, 3301, 3)  # other ends, other neighbours, another number of elements
_STILL_GROWING = 1.05  # how much steeper a slope without a bound is on twice the interval, at least


def find_steepest_slope(derivative: Function) -> float:
    """Numerical max |f'(y)| on |y| <= 100: a grid dense at 0, then three refinements around its best point.

    Returns inf where the derivative is not finite somewhere on the grid, or is still growing: more than 5 % steeper on
    |y| <= 100 than on |y| <= 50.
    """
    grid, best = _GRID, 0.0
    for _ in range(4):
        slopes = np.abs(np.asarray(derivative(jnp.asarray(grid, jnp.float32)), np.float64))
        if not np.isfinite(slopes).all():
            return math.inf
        if grid is _GRID and slopes.max() > _STILL_GROWING * slopes[np.abs(grid) <= 50].max():
            return math.inf
        i = int(slopes.argmax())
        best = max(best, float(slopes[i]))
        grid = np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 401)
    return best
