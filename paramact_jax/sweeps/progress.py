"""How far a sweep has come."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a sweep has come.

    Attributes:
      done, total: units of work: in `sweep` trials, in `long_sweep` iterations times trials.
      seconds: since the first part of this run started.
      found: the part of `done` that a resumed run found in its directory.

    Examples:
      >>> Progress(done=30, total=100, seconds=8.0, found=10).seconds_left
      28.0
    """

    done: int
    total: int
    seconds: float
    found: int = 0

    @property
    def seconds_left(self) -> float:
        """The seconds that the rest takes at the pace of this run so far; infinite before anything is done."""
        if self.done == self.total:
            return 0.0
        return (
            self.seconds * (self.total - self.done) / (self.done - self.found) if self.done > self.found else math.inf
        )
