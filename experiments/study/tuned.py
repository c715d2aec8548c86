"""The options of a study whose learning rates are chosen on the first seeds, and reported on the others."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from experiments.study.options import Count, Out, Rates, Steps, TunedSeeds, expect_within
from experiments.study.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned(Study):
    """Base class of studies that compare networks, each kind at its own learning rate; see `tuning`."""

    rates: Rates
    """Learning rates, of all parameters."""
    seeds: TunedSeeds = 7
    """Networks of each kind and rate, on the same seeds."""
    choosing: Count = 2
    """The first so many networks choose each kind's learning rate; the others are compared. Of images they choose by
    the loss over those that are held out."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    steps: Steps
    """Updates by gradient descent."""
    out: Out = None

    def resolved(self) -> Self:
        """Sorts the rates."""
        return dataclasses.replace(self, rates=tuple(sorted(self.rates)))

    def check(self, data: Any) -> None:
        """Refuses a number of choosing seeds that leaves fewer than two to compare."""
        expect_within(self, "choosing", 1, self.seeds - 2)
