"""Claims of sources, judged by our records, in one form for all studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from experiments.study.tables import Column, Table, number

Verdict = Literal["true", "false", "undecided"]


@dataclasses.dataclass(frozen=True)
class Statement:
    """One claim and our verdict on it.

    Attributes:
      source: a citation key with a place, or "ours" for a claim that no source makes.
      text: what is claimed.
      criterion: what the claim is taken to mean, so that records can decide it.
      verdict: whether it is true of the records; "undecided" where they do not decide it.
      measured: the numbers behind the verdict, in words.
      effect: the number that decides, if it is one number.
      interval: the 95 % interval of `effect`.
    """

    source: str
    text: str
    criterion: str
    verdict: Verdict
    measured: str = ""
    effect: float | None = None
    interval: tuple[float, float] | None = None


def judged(holds: bool | None) -> Verdict:
    """Returns the verdict of a comparison that is true, false, or cannot be made (None).

    Examples:
      >>> judged(True), judged(None)
      ('true', 'undecided')
    """
    return "undecided" if holds is None else "true" if holds else "false"


def all_hold(verdicts: Iterable[bool | None]) -> bool | None:
    """Returns False if one is false, else None if one is undecided or there is none, else True."""
    found = list(verdicts)
    return False if False in found else None if None in found or not found else True


def statements_table(found: Sequence[Statement]) -> Table:
    """Returns all statements of a study with their verdicts."""
    words = [Column(name, left=True) for name in ("source", "statement", "criterion", "verdict", "measured")]
    columns = [*words, Column("effect", number), Column("95 % interval", number, key="effect")]
    rows = [[one.source, one.text, one.criterion, one.verdict, one.measured, one.effect, one.interval] for one in found]
    return Table("Statements", columns, rows)
