"""The units of work of a search. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from experiments.xor10_protocol.grid import Batch, Conditions

Kind = tuple[str, Batch]
"""What a compiled program is for: the name of a record, and full batch or point by point."""


@dataclasses.dataclass(frozen=True)
class Job:
    """Trials under one set of conditions: seeds first_seed to first_seed + trials - 1."""

    conditions: Conditions
    first_seed: int
    trials: int


@dataclasses.dataclass(frozen=True)
class Count:
    """How many trials of a job converged, and how many ended with a loss that is not finite."""

    converged: int
    non_finite: int


class CountTrials(Protocol):
    """Trains jobs of one program and counts the outcomes."""

    def __call__(self, kind: Kind, jobs: Sequence[Job]) -> list[Count]:
        """One count a job."""
        ...
