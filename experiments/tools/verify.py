"""`python -m experiments verify`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.study.tables import Table
    from paramact_jax.activations import Activation
    from paramact_jax.activations.errata import Erratum
    from paramact_jax.activations.verification import Accuracy, Check


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
        """Check the names; returns the work.

        Raises:
          ValueError: for an unknown name.
        """
        from paramact_jax.activations import catalogue

        records = [catalogue.get(name) for name in self.activations or catalogue.names()]
        return lambda: _verify(records)


def _verify(records: Sequence[Activation]) -> int:
    import sys

    from paramact_jax.activations import edges, errata, verification

    checks: list[Check] = []
    accuracies: list[Accuracy] = []
    for i, record in enumerate(records):
        print(f"{record.name} ({i + 1} of {len(records)})", file=sys.stderr)
        for dtype in verification.DTYPES:
            checks += verification.check_against_autodiff(record, dtype)
            checks += edges.check_edges(record, dtype)
        checks += edges.check_whole_numbers(record)
        checks += verification.check_against_float64(record)
        accuracies += [verification.ulp_error(record, dtype) for dtype in verification.DTYPES if dtype != "float64"]
    findings = [erratum.check().confirmed for erratum in errata.ERRATA]
    for table in (closed_forms(records, checks), accuracy(records, accuracies), errata_table()):
        print(table.plain())
    failed = [check for check in checks if not check.passed]
    for check in failed:
        print(
            f"FAILED: {check.activation} {check.quantity} against {check.against} in {check.dtype}: "
            f"error {check.error:.3g} > {check.tolerance:.3g} at y = {check.at:g}"
        )
    worse = [a for a in accuracies if not a.passed]
    for a in worse:
        print(f"FAILED: {a.activation} in {a.dtype}: {a.error:.2f} ulp at y = {a.at:g}, jax.nn {a.jax_nn_error}")
    print(
        f"{len(checks) - len(failed)} of {len(checks)} checks passed, "
        f"{len(accuracies) - len(worse)} of {len(accuracies)} no worse than jax.nn, "
        f"{sum(findings)} of {len(findings)} errata confirmed"
    )
    return 0 if not failed and not worse and all(findings) else 1


def closed_forms(records: Sequence[Activation], checks: Sequence[Check]) -> Table:
    """The largest error of every record by what it was compared with, in eps of the dtype."""
    from experiments.study.tables import Table
    from paramact_jax.activations.verification import DTYPES

    def worst(record: Activation, **fields: str) -> str:
        errors = [
            check.error
            for check in checks
            if check.activation == record.name and all(getattr(check, k) == v for k, v in fields.items())
        ]
        return f"{max(errors):.3g}" if errors else ""

    def autodiff(record: Activation, dtype: str) -> str:
        ways = {c.against for c in checks if c.activation == record.name} & {"forward", "grad", "jit", "vmap"}
        errors = [worst(record, dtype=dtype, against=way) for way in sorted(ways)]
        return max(errors, key=float)

    def row(record: Activation) -> list[str]:
        mine = [check for check in checks if check.activation == record.name]
        return [
            record.name,
            str(len(mine)),
            *(autodiff(record, dtype) for dtype in DTYPES),
            worst(record, against="numpy"),
            worst(record, against="differences"),
            *(worst(record, against=edge) for edge in ("infinity", "NaN", "whole numbers")),
            "passed" if all(check.passed for check in mine) else "FAILED",
        ]

    return Table(
        title="Closed forms: largest error in eps x max(1, |value|)",
        columns=[
            *("activation", "checks", *(f"autodiff {d}" for d in DTYPES), "NumPy", "differences"),
            *("infinity", "NaN", "whole numbers", "verdict"),
        ],
        rows=[row(record) for record in records],
        note=(
            "Autodiff: dz/dy and every partial, forward, reverse, jit, vmap, grad. NumPy, differences: float64. "
            "Infinity, NaN: all dtypes, under strict promotion; whole numbers: beside float32."
        ),
    )


def accuracy(records: Sequence[Activation], accuracies: Sequence[Accuracy]) -> Table:
    """The largest error of every value in units in the last place, and that of jax.nn's function."""
    from experiments.study.tables import Table

    dtypes = list(dict.fromkeys(a.dtype for a in accuracies))
    by_record = {(a.activation, a.dtype): a for a in accuracies}

    def cells(a: Accuracy) -> list[str]:
        return [f"{a.error:.2f}", "" if a.jax_nn_error is None else f"{a.jax_nn_error:.2f}"]

    return Table(
        title="Values: largest error in units in the last place",
        columns=["activation", *(f"{dtype}{who}" for dtype in dtypes for who in ("", ", jax.nn"))],
        rows=[
            [record.name, *(cell for dtype in dtypes for cell in cells(by_record[record.name, dtype]))]
            for record in records
        ],
    )


def errata_table() -> Table:
    """Every formula printed wrong, with a point where it fails."""
    from experiments.study.tables import Table
    from paramact_jax.activations import errata

    return Table(
        title="Errata: formulas that fail the check as printed",
        columns=["where", "quantity", "printed", "right", "at", "printed gives", "right gives", "true"],
        rows=[_erratum(erratum) for erratum in errata.ERRATA],
        left=("quantity", "printed", "right", "at"),
        note="True: by automatic differentiation, or the value of the function that the text describes.",
    )


def _erratum(erratum: Erratum) -> list[str]:
    example = erratum.check()
    return [
        erratum.where,
        f"{erratum.activation.name} {erratum.quantity}" if erratum.activation else erratum.quantity,
        erratum.printed_formula,
        erratum.right_formula,
        ", ".join(f"{name} = {value:g}" for name, value in erratum.point.items()),
        *(f"{value:.6g}" for value in (example.printed, example.right, example.true)),
    ]
