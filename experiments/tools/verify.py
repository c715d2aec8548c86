"""`python -m experiments verify`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from experiments.study.imports import at_once
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    from paramact_jax.activations import Activation, edges, errata, verification
    from paramact_jax.activations.verification import DTYPES, Accuracy, Check


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check every closed form of the catalogue against autodiff, NumPy and finite differences; list the errata.

    Value, dz/dy and every parameter's partial, on a wide grid with kinks and extremes, in float64, float32, bfloat16
    and float16, under jit, vmap and grad; at infinity and NaN, for whole numbers, and under strict promotion; then the
    largest error of each value in units in the last place; then each formula printed wrong in the papers, with a
    counter-example. About 2 minutes on 2 cores; writes nothing; exit status 1 if a check fails. Example: python -m
    experiments verify --activations ppns tanh
    """

    activations: tuple[str, ...] = ()
    """Names to check (default: all of the catalogue)."""

    def prepare(self) -> Callable[[], int]:
        """Checks the names; returns the work.

        Raises:
          ValueError: for an unknown name.
        """
        from paramact_jax.activations import catalogue

        records = [catalogue.get(name) for name in self.activations or catalogue.names()]
        return lambda: _verify(records)


def _verify(records: Sequence[Activation]) -> int:
    checks: list[Check] = []
    accuracies: list[Accuracy] = []
    for i, record in enumerate(records):
        print(f"{record.name} ({i + 1} of {len(records)})", file=sys.stderr)
        for dtype in DTYPES:
            checks += verification.check_against_autodiff(record, dtype)
            checks += edges.check_edges(record, dtype)
        checks += edges.check_whole_numbers(record)
        checks += verification.check_against_float64(record)
        accuracies += [verification.ulp_error(record, dtype) for dtype in DTYPES if dtype != "float64"]
    confirmed = [erratum.check().confirmed for erratum in errata.ERRATA]
    for table in (closed_forms(records, checks), accuracy(records, accuracies), errata_table()):
        print(table.plain())
    failed, worse = [x for x in checks if not x.passed], [a for a in accuracies if not a.passed]
    for x in failed:
        print(
            f"FAILED: {x.activation} {x.quantity} against {x.against} in {x.dtype}: "
            f"error {x.error:.3g} > {x.tolerance:.3g} at y = {x.at:g}"
        )
    for a in worse:
        print(f"FAILED: {a.activation} in {a.dtype}: {a.error:.2f} ulp at y = {a.at:g}, jax.nn {a.jax_nn_error}")
    print(
        f"{len(checks) - len(failed)} of {len(checks)} checks passed, "
        f"{len(accuracies) - len(worse)} of {len(accuracies)} no worse than jax.nn, "
        f"{sum(confirmed)} of {len(confirmed)} errata confirmed"
    )
    return 0 if not failed and not worse and all(confirmed) else 1


def closed_forms(records: Sequence[Activation], checks: Sequence[Check]) -> Table:
    """Shows the largest error of every record by what it was compared with, in eps of the dtype."""
    ways = {"NumPy": "numpy", "differences": "differences"} | {x: x for x in ("infinity", "NaN", "whole numbers")}
    rows = []
    for record in records:
        mine = [check for check in checks if check.activation == record.name]

        def worst(*against: str, dtype: str | None = None, mine: Sequence[Check] = mine) -> float | None:
            found = [x.error for x in mine if x.against in against and dtype in (None, x.dtype)]
            return max(found, default=None)

        autodiff = [worst("forward", "grad", "jit", "vmap", dtype=dtype) for dtype in DTYPES]
        verdict = "passed" if all(check.passed for check in mine) else "FAILED"
        rows.append([record.name, len(mine), *autodiff, *(worst(way) for way in ways.values()), verdict])
    return Table(
        "Closed forms: largest error in eps x max(1, |value|)",
        ["activation", "checks", *(Column(x, ".3g") for x in (*(f"autodiff {d}" for d in DTYPES), *ways)), "verdict"],
        rows,
        "Autodiff: dz/dy and every partial, forward, reverse, jit, vmap, grad. NumPy, differences: float64. "
        "Infinity, NaN: all dtypes, under strict promotion; whole numbers: beside float32.",
    )


def accuracy(records: Sequence[Activation], accuracies: Sequence[Accuracy]) -> Table:
    """Shows the largest error of every value in units in the last place, and that of jax.nn's function."""
    dtypes = list(dict.fromkeys(x.dtype for x in accuracies))
    errors = {(x.activation, x.dtype): [x.error, x.jax_nn_error] for x in accuracies}
    return Table(
        "Values: largest error in units in the last place",
        ["activation", *(Column(f"{dtype}{who}", ".2f") for dtype in dtypes for who in ("", ", jax.nn"))],
        [[record.name, *(x for dtype in dtypes for x in errors[record.name, dtype])] for record in records],
    )


def errata_table() -> Table:
    """Shows every formula that is printed wrong, with a point where it fails."""
    rows = []
    for erratum in errata.ERRATA:
        example = erratum.check()
        of = f"{erratum.activation.name} " if erratum.activation else ""
        what = [erratum.where, of + erratum.quantity]
        at = ", ".join(f"{name} = {value:g}" for name, value in erratum.point.items())
        values = [example.printed, example.right, example.true]
        rows.append([*what, erratum.printed_formula, erratum.right_formula, at, *values])
    values_of = (Column(x, ".6g") for x in ("printed gives", "right gives", "true"))
    return Table(
        "Errata: formulas that fail the check as printed",
        ["where", *(Column(x, left=True) for x in ("quantity", "printed", "right", "at")), *values_of],
        rows,
        "True: by automatic differentiation, or the value of the function that the text describes.",
    )
