"""Draws values of settings to try, with a seed: at random, or as Sobol points that fill a box evenly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from paramact_jax.statistics.checks import at_least, real_number

_LARGEST_INTEGER = 2**53
_ROUNDS = 20

Quantiles = Callable[[np.ndarray], Any]
"""A function from levels within [0, 1) to values of a law."""
Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


def uniform(low: float, high: float, n: int, seed: int) -> Floats:
    """Returns n numbers within low..high, all equally likely, as for a momentum or a dropout rate.

    No two are equal, even as float32, so they can be the values of an axis. A larger n begins with the same numbers.

    The numbers depend only on the seed, low and high, on every machine and with every version of NumPy: NumPy promises
    never to change the bits of PCG64 and its seeding, and nothing else of NumPy's random numbers is used. Another range
    with the same seed is drawn independently. Give two settings with the same law and range two seeds: with one seed
    their values would be equal.

    Args:
      low: the smallest value.
      high: the largest.
      n: how many, at least 1.
      seed: a whole number >= 0.

    Raises:
      ValueError: in one line, unless low < high are finite numbers, n >= 1, and seed >= 0; and for a range with fewer
        than n different float32 numbers.

    Examples:
      >>> uniform(0, 1, 4, seed=0).round(3).tolist()
      [0.14, 0.45, 0.446, 0.316]
    """
    return _different(("uniform", low, high), n, seed)


def log_uniform(low: float, high: float, n: int, seed: int) -> Floats:
    """Returns n numbers within low..high with equally likely logarithms, as for a learning rate.

    Every decade gets equally many. No two are equal, even as float32, so they can be the values of an axis. A larger n
    begins with the same numbers. They depend only on the seed, low and high, as with `uniform`. Only the last of their
    16 digits may differ between machines, because exponential functions round differently.

    Args:
      low: the smallest value, above 0.
      high: the largest.
      n: how many, at least 1.
      seed: a whole number >= 0.

    Raises:
      ValueError: in one line, unless 0 < low < high are finite numbers, n >= 1, and seed >= 0; and for a range with
        fewer than n different float32 numbers.

    Examples:
      >>> log_uniform(1e-4, 1e-1, 4, seed=0).round(5).tolist()
      [0.05703, 0.00133, 0.06169, 0.00238]
    """
    return _different(("log_uniform", low, high), n, seed)


def integers(low: int, high: int, n: int, seed: int) -> Integers:
    """Returns n whole numbers within low..high, both ends included, all equally likely, as for a width.

    Values repeat; for an axis take np.unique(...) of them. They depend only on the seed, low and high, as with
    `uniform`.

    Args:
      low: the smallest value.
      high: the largest.
      n: how many, at least 1.
      seed: a whole number >= 0.

    Raises:
      ValueError: in one line, unless low < high are whole numbers within -2**53..2**53, n >= 1, and seed >= 0.

    Examples:
      >>> integers(1, 6, 8, seed=0).tolist()
      [1, 6, 3, 2, 6, 4, 3, 2]
    """
    quantiles, n = _quantiles("integers", ("integers", low, high)), at_least("n", n, 1)
    return np.asarray(quantiles(_levels(_stream(("integers", low, high), seed), n)))


def choices(values: Iterable[Any], n: int, seed: int) -> list[Any]:
    """Returns n of the values, all equally likely, whatever they are.

    Values repeat. The chosen positions depend only on the seed and the number of values, as with `uniform`.

    Args:
      values: at least one.
      n: how many, at least 1.
      seed: a whole number >= 0.

    Raises:
      ValueError: in one line, for no values or a single string, n < 1 or a seed < 0.

    Examples:
      >>> choices(["relu", "tanh", "ppns"], 5, seed=0)
      ['tanh', 'relu', 'tanh', 'relu', 'tanh']
    """
    given = _several("choices", values)
    levels = _levels(_stream(("choices", len(given)), seed), at_least("n", n, 1))
    return list(_quantiles("choices", ("choices", given))(levels))


def sobol(n: int, seed: int, **dimensions: tuple[Any, ...]) -> dict[str, Any]:
    """Returns n scrambled Sobol points: values for several settings at once, spread evenly over all combinations.

    If the range of a setting is cut into n equal parts, each part gets one value. Each pair of settings is covered far
    more evenly than at random. With twice as many points, the first half is the same. The points depend on the seed and
    on the dimensions in their order, as long as SciPy does not change its scrambling.

    Args:
      n: number of points: a power of two, since Sobol points are balanced only in such numbers.
      seed: of the scrambling, a whole number >= 0.
      dimensions: for each setting, the name of a function of this module and its arguments before n and seed:
        ("uniform", low, high), ("log_uniform", low, high), ("integers", low, high) or ("choices", values).

    Returns:
      The n values of each setting by its name: an array, or a list of choices.

    Raises:
      ValueError: in one line, for an n, a seed or a dimension that is not of this kind, and for no dimensions.

    References:
      Sobol, USSR Computational Mathematics and Mathematical Physics 7, 1967. Owen, Journal of Complexity 14, 1998.

    Examples:
      >>> points = sobol(4, seed=0, learning_rate=("log_uniform", 1e-4, 1e-1), depth=("integers", 1, 4))
      >>> points["learning_rate"].round(5).tolist(), points["depth"].tolist()
      ([0.0017, 0.01465, 0.05183, 0.00045], [4, 1, 3, 2])
    """
    from scipy.stats import qmc  # takes longer to import than JAX; JAX itself needs SciPy

    n, seed = at_least("n", n, 1), at_least("seed", seed, 0)
    power = n.bit_length() - 1
    if n != 2**power:
        raise ValueError(f"sobol: expected n to be a power of two, got {n}; take {2**power} or {2 ** (power + 1)}")
    if not dimensions:
        raise ValueError('sobol: expected at least one setting, got none; pass learning_rate=("log_uniform", 1e-4, 1)')
    laws = {name: _quantiles(f"sobol: {name}", law) for name, law in dimensions.items()}
    # scipy < 1.15 does not know the new name, rng
    levels = qmc.Sobol(len(laws), scramble=True, seed=np.random.default_rng(seed)).random_base2(power)
    return {name: quantiles(levels[:, i]) for i, (name, quantiles) in enumerate(laws.items())}


def _different(law: tuple[Any, ...], n: int, seed: int) -> Floats:
    """Returns the first n numbers of a law that differ as float32."""
    quantiles, stream, n = _quantiles(law[0], law), _stream(law, seed), at_least("n", n, 1)
    found = np.empty(0)
    for _ in range(_ROUNDS):
        found = np.concatenate([found, quantiles(_levels(stream, n))])
        mantissa, exponent = np.frexp(found)  # float32's digits without its range: in 64-bit mode all numbers count
        rounded = np.ldexp(np.rint(mantissa * 2**24) / 2**24, exponent)
        found = found[np.sort(np.unique(rounded, return_index=True)[1])]
        if len(found) >= n:
            return found[:n]
    raise ValueError(
        f"{law[0]}: expected a range with {n} different float32 numbers, got {law[1]!r}..{law[2]!r}; take a wider one"
    )


def _stream(law: tuple[Any, ...], seed: int) -> np.random.PCG64:
    """Returns the random bits for a seed and a law. Other laws have other bits, so that settings vary independently."""
    kind, *numbers = law
    entropy = f"{kind} {[float(number) for number in numbers]}".encode()
    return np.random.PCG64(np.random.SeedSequence([at_least("seed", seed, 0), *entropy]))


def _levels(stream: np.random.PCG64, n: int) -> Floats:
    """Returns the next n numbers within [0, 1), from the bits that NumPy promises not to change."""
    return np.asarray((stream.random_raw(n) >> np.uint64(11)) * 2.0**-53)


def _quantiles(what: str, law: Any) -> Quantiles:
    """Returns the quantiles of a law that is described as in `sobol`; raises ValueError, in one line, if it is none."""
    match law:
        case ["choices", values]:
            given = _several(what, values)
            return lambda u: [given[place] for place in (u * len(given)).astype(int)]
        case ["uniform" | "log_uniform" | "integers" as kind, low, high]:
            return _between(what, kind, low, high)
    raise ValueError(
        f'{what}: expected ("uniform", low, high), ("log_uniform", low, high), ("integers", low, high) or '
        f'("choices", values), got {law!r}'
    )


def _between(what: str, kind: str, low: Any, high: Any) -> Quantiles:
    a, b = real_number(low), real_number(high)
    if not (math.isfinite(a) and math.isfinite(b) and a < b):
        raise ValueError(f"{what}: expected finite numbers low < high, got {low!r} and {high!r}")
    if kind == "log_uniform":
        if a <= 0:
            raise ValueError(f"{what}: expected low > 0, to have a logarithm, got {low!r}; take uniform")
        return lambda u: np.clip(np.exp((1 - u) * math.log(a) + u * math.log(b)), a, b)
    if kind == "integers":
        if not (a.is_integer() and b.is_integer() and max(-a, b) <= _LARGEST_INTEGER):
            raise ValueError(f"{what}: expected whole numbers within -2**53..2**53, got {low!r} and {high!r}")
        first, count = int(a), int(b) - int(a) + 1
        return lambda u: first + np.minimum((u * count).astype(np.int64), count - 1)
    return lambda u: np.clip((1 - u) * a + u * b, a, b)


def _several(what: str, values: Any) -> list[Any]:
    given = [] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if not given:
        raise ValueError(f"{what}: expected a list of at least one value to choose from, got {values!r}")
    return given
