"""The parametric transform f(y) -> a f(y - b) and the four functions that [P, Table 1] makes with it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.record import TRACED, Activation, Function, Kink, activation, remember
from paramact_jax.activations.zoo import pn_sigmoid, relu_from_right, sigmoid, tanh

INITIAL_STEEPEST_SLOPE = 1.5
"""The steepest slope that a f(y - b) has at the start value of a [P, section 4.1]."""


def parametric(
    f: str | Activation | Function,
    *,
    name: str | None = None,
    a: float | None = None,
    b: float = 0.0,
    learned: Iterable[str] = ("a", "b"),
    source: str | None = None,
) -> Activation:
    """Returns the activation z = a f(y - b) with trainable scale a and shift b [P, eq. 7-12].

    Partials, for any f: dz/dy = a f'(y - b), dz/da = f(y - b), dz/db = -dz/dy; those of f's own parameters are
    multiplied by a. A kink of f at u moves to y = u + b and keeps a times its slope.

    Args:
      f: a record, its name in the catalogue, or any elementwise function of one array (see `activation`). A record may
        have parameters of its own; they stay parameters of the new record. The name "relu" means `relu_from_right`, the
        base function of Parametric ReLU in [P].
      name: name of the new record; by default "parametric_" and the name of f.
      a: start value of a; by default 1.5 / max|f'|, which makes the steepest slope 1.5 [P, section 4.1].
      b: start value of b.
      learned: which of "a" and "b" are parameters. The others are frozen: constants that keep their start values. A
        constant a=1.0 or b=0.0 has no effect.
      source: where the new record is defined; by default [P] and the source of f.

    Returns:
      A record. Its parameters are the learned ones of a and b, then those of f.

    Raises:
      TypeError: if `f` is neither a name, a record nor an elementwise function of one array.
      ValueError: for an unknown name; if f already has parameters named a or b; if its slope is 0 everywhere, has no
        bound or depends on a value that JAX is tracing, and `a` is not given; if a or b is not finite; if `learned`
        contains anything but "a" and "b".

    Warns:
      UserWarning: if b is learned and the slope of f is 0 everywhere: dz/db is then 0 too, and b keeps its start value.

    Examples:
      >>> import jax.numpy as jnp
      >>> atan = parametric(jnp.arctan)
      >>> {name: round(start, 3) for name, start in atan.params.items()}
      {'a': 1.5, 'b': 0.0}
      >>> float(atan(jnp.float32(2.0), a=3.0, b=2.0))
      0.0
      >>> from paramact_jax.activations import tanh
      >>> scaled = parametric(tanh, learned=("a",))
      >>> dict(scaled.params), float(scaled(0.0, a=3.0))
      ({'a': 1.5}, 0.0)
    """
    base, name = _base(f, name)
    learned = (learned,) if isinstance(learned, str) else tuple(learned)
    if unknown := set(learned) - {"a", "b"}:
        raise ValueError(f"parametric({base.name}): expected learned to name some of a, b; got {sorted(unknown)}")
    if taken := {"a", "b"} & set(base.params):
        raise ValueError(
            f"parametric({base.name}): expected a function without parameters a, b of its own, "
            f"got one with {sorted(taken)}; it is parametric already"
        )
    if a is None and base.source == TRACED:
        raise ValueError(
            f"parametric({base.name}): the function depends on a value that JAX is tracing, so its steepest slope is "
            f"not known; pass a start value, a=... or a layer's initial={{'a': ...}}"
        )
    if a is None and not 0 < base.steepest_slope < math.inf:
        raise ValueError(
            f"parametric({base.name}): its steepest slope is {base.steepest_slope:g}, so no start value of a makes it "
            f"{INITIAL_STEEPEST_SLOPE}; pass a=..."
        )
    if not all(math.isfinite(value) for value in (a or 0.0, b)):
        raise ValueError(f"parametric({base.name}): expected finite start values, got a={a}, b={b}")
    if base.steepest_slope == 0 and "b" in learned:
        warnings.warn(
            f"parametric({base.name}): its slope is 0 everywhere, so b gets no gradient and keeps its start value; "
            'pass learned=("a",)',
            UserWarning,
            stacklevel=2,
        )
    start = INITIAL_STEEPEST_SLOPE / base.steepest_slope if a is None else float(a)
    starts = {"a": start, "b": float(b)}
    params = {p: starts[p] for p in ("a", "b") if p in learned}
    frozen = {p: value for p, value in starts.items() if p not in learned}
    forms = _with_frozen(_forms(base), frozen)
    record = Activation(
        name=name or f"parametric_{base.name}",
        fn=forms["z"],
        derivative=forms["y"],
        partials={p: forms[p] for p in (*params, *base.params)},
        params=params | dict(base.params),
        steepest_slope=abs(start) * base.steepest_slope,
        range=_scaled_range(start, base.range),
        kinks=tuple(_moved(kink, start, float(b)) for kink in base.kinks),
        formula=f"a * ({base.formula}) at y - b" + "".join(f", {p} = {value:g}" for p, value in frozen.items()),
        source=source or f"[P, eq. 7-12] over {base.source}",
    )
    return remember(record, parametric, base, name=name, a=a, b=b, learned=learned, source=source)


def _base(f: str | Activation | Function, name: str | None) -> tuple[Activation, str | None]:
    """Returns the record of f, and the name of its parametric form."""
    if not isinstance(f, str):
        return (f if isinstance(f, Activation) else activation(f)), name
    from paramact_jax.activations import catalogue  # here, since it imports this file

    return (relu_from_right if f == "relu" else catalogue.get(f)), name or f"parametric_{f}"


def _forms(base: Activation) -> dict[str, Function]:
    """Returns the value "z" of a f(y - b), and its derivatives by "y", "a", "b" and each parameter of f."""

    def fn(y: ArrayLike, *, a: ArrayLike, b: ArrayLike, **shape: ArrayLike) -> jax.Array:
        return jnp.multiply(a, base.fn(jnp.subtract(y, b), **shape))

    def slope(y: ArrayLike, *, a: ArrayLike, b: ArrayLike, **shape: ArrayLike) -> jax.Array:
        return jnp.multiply(a, base.derivative(jnp.subtract(y, b), **shape))

    def partial_a(y: ArrayLike, *, a: ArrayLike, b: ArrayLike, **shape: ArrayLike) -> jax.Array:
        return base.fn(jnp.subtract(y, b), **shape)

    def partial_b(y: ArrayLike, *, a: ArrayLike, b: ArrayLike, **shape: ArrayLike) -> jax.Array:
        return -slope(y, a=a, b=b, **shape)

    def scaled(partial: Function) -> Function:
        def of(y: ArrayLike, *, a: ArrayLike, b: ArrayLike, **shape: ArrayLike) -> jax.Array:
            return jnp.multiply(a, partial(jnp.subtract(y, b), **shape))

        return of

    own = {p: scaled(partial) for p, partial in base.partials.items()}
    return {"z": fn, "y": slope, "a": partial_a, "b": partial_b} | own


def _with_frozen(forms: dict[str, Function], frozen: dict[str, float]) -> dict[str, Function]:
    def bound(form: Function) -> Function:
        def of(y: ArrayLike, **params: ArrayLike) -> jax.Array:
            return form(y, **frozen, **params)

        return of

    return {name: bound(form) for name, form in forms.items()} if frozen else forms


def _moved(kink: Kink, a: float, b: float) -> Kink:
    value = None if kink.value is None else a * kink.value
    return Kink(at=kink.at + b, slope=a * kink.slope, value=value)


def _scaled_range(a: float, base: tuple[float, float]) -> tuple[float, float]:
    if a == 0:
        return (0.0, 0.0)
    low, high = sorted(a * bound for bound in base)
    return low, high


def _table_1(f: Activation, **options: Any) -> Activation:
    return parametric(f, source="[P, Table 1 and 2]", **options)


parametric_sigmoid = _table_1(sigmoid)
"""z = a s, s = sigmoid(y - b). dz/dy = z (1 - z/a), dz/da = s, dz/db = z (z/a - 1) [P, Table 1 and 2]. a0 = 6."""

ppns = _table_1(pn_sigmoid, name="ppns")
"""z = a s - a/2, s = sigmoid(y - b): the parametric positive-negative sigmoid [P, Table 1]. a0 = 6.

dz/dy = a/4 - z^2/a, dz/da = s - 1/2, dz/db = -dz/dy. [P, Table 2] prints dz/dy = z (1 - z/a), which holds for the
unshifted value a s = z + a/2, not for z.
"""

parametric_tanh = _table_1(tanh)
"""z = a tanh(y - b). dz/dy = a sech^2(y - b), dz/da = tanh(y - b), dz/db = -dz/dy [P, Table 1 and 2]. a0 = 1.5."""

parametric_relu = _table_1(relu_from_right, name="parametric_relu")
"""z = a (y - b) if y >= b else 0; slope a at y = b [P, Table 1 and 2]. a0 = 1.5.

It is not the PReLU of He et al., which learns the slope of the negative side.
"""
