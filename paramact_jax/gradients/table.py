"""Prints an attribution as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from paramact_jax.gradients.attribution import Attribution

_DECADE = float(np.log(10))


def table(found: Attribution, rows: int = 12) -> str:
    """Returns the attribution of one network as text: kinds, the largest losses, branches, activations, parameters.

    Args:
      found: the attribution. For several networks, from `jax.vmap`, the text is one line that says so.
      rows: largest number of operations, activations and parameters in the lists.
    """
    if isinstance(found.share, jax.core.Tracer):
        return f"Attribution of {len(found.operations)} operations, with numbers that JAX is tracing"
    if found.share.ndim > 1:
        shape = found.share.shape[:-1]
        return f"Attribution of {shape} networks; to print one, take it: jax.tree.map(lambda x: x[0], found)"
    parts = (
        *(_summary(found), _by_kind(found), _losses(found, rows)),
        *(_branches(found, rows), _units(found, rows), _parameters(found, rows)),
    )
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _summary(found: Attribution) -> Iterator[str]:
    first, last = _power(found.log_norm[0]), _power(found.log_norm[-1])
    yield (
        f"Gradient by {found.points[0].name}: norm {first}; by {found.points[-1].name}: {last}; ratio "
        f"{_power(found.total)}"
    )
    for number, what in (
        (found.first_nan, "The first operation that makes a NaN"),
        (found.first_non_finite, "The first operation on the way back with a gradient that is not finite"),
        (found.first_zero, "The first operation on the way back that makes a gradient exactly 0"),
    ):
        if int(number) >= 0:
            operation = found.operations[int(number)]
            yield f"{what}: {operation.function} ({operation.kind}) at {operation.place}"


def _by_kind(found: Attribution) -> Iterator[str]:
    counts = {kind: sum(o.kind is kind for o in found.operations) for kind in found.by_kind()}
    shares = sorted(found.by_kind().items(), key=lambda item: _order(item[1]))
    yield from _columns(
        ["share, decades", "kind", "operations"],
        [[_decades(share), str(kind), str(counts[kind])] for kind, share in shares],
    )


def _losses(found: Attribution, rows: int) -> Iterator[str]:
    share = np.asarray(found.share)
    order = sorted(range(len(share)), key=lambda i: _order(share[i]))
    lost = [i for i in order if share[i] < 0][:rows]
    if lost:
        yield from _columns(
            ["largest losses", "kind", "operation", "place"],
            [
                [
                    _decades(share[i]),
                    str(found.operations[i].kind),
                    found.operations[i].function,
                    found.operations[i].place,
                ]
                for i in lost
            ],
        )


def _branches(found: Attribution, rows: int) -> Iterator[str]:
    if found.branches:
        yield from _columns(
            ["part of square", "change, decades", "branch"],
            [
                [f"{float(part):.1%}", _decades(change), branch.name]
                for branch, part, change in list(
                    zip(found.branches, found.branch_part, found.branch_change, strict=True)
                )[:rows]
            ],
        )
        yield from _left(len(found.branches), rows, "branches")


def _units(found: Attribution, rows: int) -> Iterator[str]:
    names = ("slope_at_least_one", "saturated", "dead", "one_sign")
    shares = [np.asarray(getattr(found.units, name)) for name in names]
    if found.activations:
        yield from _columns(
            ["slopes >= 1", "saturated", "dead", "one sign", "activation", "place"],
            [
                [*("" if np.isnan(own[i]) else f"{own[i]:.1%}" for own in shares), a.function, a.place]
                for i, a in enumerate(found.activations[:rows])
            ],
        )
        yield from _left(len(found.activations), rows, "activations")


def _parameters(found: Attribution, rows: int) -> Iterator[str]:
    order = sorted(range(len(found.parameters)), key=lambda i: _order(found.gradient_log_norm[i]))
    if order:
        yield from _columns(
            ["gradient norm", "by parameter's", "parameters with the smallest gradients"],
            [[_power(found.gradient_log_norm[i]), _power(found.ratio[i]), found.parameters[i]] for i in order[:rows]],
        )


def _left(count: int, rows: int, what: str) -> Iterator[str]:
    if count > rows:
        yield f"  and {count - rows} more {what}"


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _order(share: Any) -> float:
    value = float(share)
    return np.inf if np.isnan(value) else value


def _decades(share: Any) -> str:
    value = float(share) / _DECADE
    return "0 behind" if np.isnan(value) else ("to 0" if np.isneginf(value) else f"{value:+.2f}")


def _power(log: Any) -> str:
    """Returns a number as text from its natural logarithm; it may be too small or too large for a float."""
    value = float(log) / _DECADE
    if not np.isfinite(value):
        return "0" if value < 0 else ("inf" if value > 0 else "NaN")
    if -300 < value < 300:
        return f"{10**value:.2g}"
    exponent = int(np.floor(value))
    return f"{10 ** (value - exponent):.1f}e{exponent:+d}"
