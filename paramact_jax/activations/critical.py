"""The gain at which an infinitely wide random network neither loses nor amplifies its gradient.

In a deep network z = a f(y), y = W z with weights of variance weight_std^2 / fan_in and biases of variance bias_std^2,
the y of a wide layer are normal. Their variance q goes to a fixed point q* from layer to layer, and a layer multiplies
the gradient's mean square by chi:

    q   = weight_std^2 a^2 E[f(sqrt(q) u)^2] + bias_std^2           u standard normal
    chi = weight_std^2 a^2 E[f'(sqrt(q) u)^2]

At the critical gain a0, chi is 1 at q = q*. A smaller gain puts the network in the ordered phase, where the gradient
vanishes with depth. A larger gain puts it in the chaotic phase, where the gradient explodes.

References:
  Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli, Exponential expressivity in deep neural networks through transient
  chaos, 2016. Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, Deep information propagation, 2017. Pennington, Schoenholz,
  Ganguli, Resurrecting the sigmoid in deep learning through dynamical isometry, 2017.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.activations import catalogue
from paramact_jax.activations.record import Activation, Function, activation

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_REACH = 10.0  # standard deviations; beyond lies a share of 1e-23
_EDGES = _REACH * np.sinh(np.linspace(-8, 8, 65)) / math.sinh(8)  # dense at 0, where f changes if q is large
_SMALLEST, _LARGEST = 1e-10, 1e8


def _rule(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes u between the edges, and their weights for an expectation over a standard normal u."""
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    u = (middle[:, None] + half[:, None] * _NODES).ravel()
    return u, (half[:, None] * _WEIGHTS).ravel() * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)


_U, _DENSITY = _rule(_EDGES)
_FLAT = 1e-9


@dataclasses.dataclass(frozen=True)
class Critical:
    """The critical point, where the gradient neither vanishes nor explodes.

    Attributes:
      gain: a0, the scale a at which chi is 1.
      variance: q*, the fixed point of y's variance at that gain. Without biases it is NaN if every variance is a fixed
        point, as for ReLU, or every small one, as for ReLU6. With biases it is inf for functions such as ReLU, which
        have no fixed point then. With `depth` it is the variance of y in the last layer.
      depth_scale: 1 / |log chi| of f itself (a = 1): the number of layers over which the mean square of the gradient
        changes by a factor e. It is inf if chi is 1, and 0 where the variance grows until chi has no bound.
    """

    gain: float
    variance: float
    depth_scale: float


def critical_gain(
    f: str | Activation | Callable[..., jax.Array],
    *,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    depth: int | None = None,
) -> Critical:
    """Finds the scale a0 of a f(y) at which the mean-field gradient of a deep network keeps its size.

    It computes in float64, by Gauss-Legendre quadrature between the kinks of f. The result is right to about 1e-6 for
    smooth functions and for those of the catalogue, and to 1e-3 if f has kinks that the record does not list.

    Args:
      f: a function, a record or its name. Its own scale and shift are set to 1 and 0: "ppns" gives the a of PPNS. Other
        parameters are at their start values.
      weight_std: standard deviation of the weights times sqrt(fan_in).
      bias_std: standard deviation of the biases.
      depth: number of hidden layers. The inputs of the network have mean square 1, and the gain is that at which the
        product of chi over the layers is 1. None: chi is 1 at the fixed point, as in a network of any depth.

    Returns:
      The gain, the variance and the depth scale.

    Raises:
      ValueError: for weight_std <= 0, bias_std < 0 or depth < 1, for a function with slope 0 nearly everywhere, and
        where no gain is critical, as for functions with an unbounded slope.

    Examples:
      >>> f"{critical_gain('tanh').gain:.6f} {critical_gain('relu').gain:.6f} {critical_gain('ppns').gain:.6f}"
      '1.000000 1.414214 4.000000'
      >>> f"{critical_gain('sigmoid').gain:.4f} {critical_gain('tanh', bias_std=0.3).gain:.4f}"
      '10.1493 1.3956'
    """
    for name, value, least in (("weight_std", weight_std, 0.0), ("bias_std", bias_std, -1.0)):
        if not (math.isfinite(value) and value > least and value >= 0):
            raise ValueError(f"{name}: expected a finite number {'> 0' if least == 0 else '>= 0'}, got {value}")
    if depth is not None and depth < 1:
        raise ValueError(f"depth: expected 1 or more hidden layers, or None, got {depth}")
    record = f if isinstance(f, Activation) else catalogue.get(f) if isinstance(f, str) else activation(f)
    moments = _Moments(record)
    if moments(1.0)[1] == 0:
        raise ValueError(f"f: expected a function with a slope other than 0, got {record.name}; choose another")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # functions that grow without bound overflow
        if depth is None:
            gain, variance = _at_the_fixed_point(moments, weight_std, bias_std)
        else:
            gain, variance = _over_layers(moments, weight_std, bias_std, depth)
        if not 0 < gain < math.inf:
            raise moments.refuse("its mean squared slope has no bound")
        return Critical(gain, variance, _depth_scale(moments, weight_std, bias_std))


class _Moments:
    """Computes E[f^2] and E[f'^2] over a normal y of variance q, for a = 1 and b = 0."""

    def __init__(self, record: Activation) -> None:
        params = {name: {"a": 1.0, "b": 0.0}.get(name, value) for name, value in record.params.items()}
        self._name, self._params = record.name, params
        self._functions = record.fn, record.derivative
        self._kinks = [kink.at for kink in record.kinks if kink.at != 0]  # 0 is an edge already

    def of_all(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns both at several q; in one call if f has no kinks other than at 0."""
        if self._kinks:
            square, slope = np.array([self(x) for x in q]).T
            return square, slope
        f, slope = (self._values(function, np.sqrt(q)[:, None] * _U) for function in self._functions)
        return f**2 @ _DENSITY, slope**2 @ _DENSITY

    def __call__(self, q: float) -> tuple[float, float]:
        """Returns both, in float64."""
        deviation = math.sqrt(q)
        own = [at / deviation for at in self._kinks if deviation and abs(at) < _REACH * deviation]
        u, weights = _rule(np.unique([*_EDGES, *own])) if own else (_U, _DENSITY)
        f, slope = (self._values(function, deviation * u) for function in self._functions)
        return float(f**2 @ weights), float(slope**2 @ weights)

    def _values(self, function: Function, y: np.ndarray) -> np.ndarray:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):  # the caller may be traced
            own: dict[str, Any] = {name: jnp.float64(value) for name, value in self._params.items()}
            return np.asarray(function(jnp.asarray(y, jnp.float64), **own), np.float64)

    def refuse(self, why: str) -> ValueError:
        """Returns the error for a function without a critical gain."""
        return ValueError(f"f: expected a function with a critical gain, got {self._name}: {why}")


def _at_the_fixed_point(moments: _Moments, weight_std: float, bias_std: float) -> tuple[float, float]:
    """Returns the gain with chi = 1 at its own fixed point q, and q; the smallest q if there are several."""

    def of_all(q: np.ndarray) -> np.ndarray:
        square, slope = moments.of_all(q)
        found = np.where(slope > 0, square / slope + bias_std**2 - q, math.inf)
        return np.where(np.isfinite(found), found, math.inf)

    def excess(q: float) -> float:
        return float(of_all(np.array([q]))[0])

    def gain(q: float) -> float:
        return 1 / (weight_std * math.sqrt(moments(q)[1]))

    grid = np.geomspace(_SMALLEST, _LARGEST, 73)
    excesses = of_all(grid)
    if np.all(np.abs(excesses - bias_std**2) < 1e-6 * grid):  # homogeneous, such as ReLU: chi is the same at all q
        return gain(1.0), math.inf if bias_std else math.nan
    if abs(excesses[0]) < _FLAT * grid[0] and excess(0.0) > _FLAT:  # homogeneous near 0, such as ReLU6
        return gain(grid[0]), math.nan
    if excess(0.0) < _FLAT:
        return gain(0.0), 0.0
    crossing = np.flatnonzero((excesses[:-1] >= 0) & (excesses[1:] < 0))
    if not len(crossing):
        raise moments.refuse("no gain has a fixed point of the variance with chi = 1")
    low, high = np.log(grid[crossing[0] : crossing[0] + 2])
    q = _root(lambda log_q: excess(math.exp(log_q)), low, high)
    return gain(math.exp(q)), math.exp(q)


def _over_layers(moments: _Moments, weight_std: float, bias_std: float, depth: int) -> tuple[float, float]:
    """Returns the smallest gain with a product of chi over the layers of 1, and the variance of the last layer."""

    def layers(log_gain: float) -> tuple[float, float]:
        scale = (weight_std * math.exp(log_gain)) ** 2
        q, total = weight_std**2 + bias_std**2, 0.0  # the first layer sees the inputs, which no activation scales
        for layer in range(depth):
            square, slope = moments(min(q, _LARGEST))
            total += math.log(max(scale * slope, 1e-300))
            if layer + 1 < depth:
                q = scale * square + bias_std**2
        return total, q

    grid = np.linspace(-7, 7, 57) - math.log(weight_std)
    signs = np.array([layers(x)[0] for x in grid]) >= 0
    crossing = np.flatnonzero(signs[1:] & ~signs[:-1])
    if not len(crossing):
        raise moments.refuse(f"no gain makes the product of chi over {depth} layers 1")
    i = crossing[0]
    log_gain = _root(lambda x: layers(x)[0], grid[i], grid[i + 1])
    return math.exp(log_gain), layers(log_gain)[1]


def _depth_scale(moments: _Moments, weight_std: float, bias_std: float) -> float:
    """Returns the depth scale of f itself, at the fixed point that the variance reaches from its first-layer value."""

    def change(q: float) -> float:
        return weight_std**2 * moments(q)[0] + bias_std**2 - q

    first = weight_std**2 + bias_std**2
    grows = change(first) > _FLAT * first
    path = np.geomspace(first, _LARGEST if grows else _SMALLEST, 60)
    rising = weight_std**2 * moments.of_all(path)[0] + bias_std**2 - path > 0
    turned = next((i for i in range(1, len(path)) if rising[i] != grows), None)
    if abs(change(first)) <= _FLAT * first:
        q = first
    elif turned is None:
        q = _LARGEST if grows else _SMALLEST  # not 0: with a kink at 0 the slope differs there
    else:
        q = math.exp(_root(lambda log_q: change(math.exp(log_q)), *sorted(np.log(path[turned - 1 : turned + 1]))))
    chi = weight_std**2 * moments(q)[1]
    if not 0 < chi < math.inf:
        return 0.0
    return math.inf if abs(math.log(chi)) < _FLAT else 1 / abs(math.log(chi))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Finds by bisection where a function changes its sign; it does so once between low and high."""
    rising = function(high) >= 0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if (function(middle) >= 0) == rising else (middle, high)
    return (low + high) / 2
