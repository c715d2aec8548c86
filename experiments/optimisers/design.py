"""What is compared, and how it is recorded. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses

from experiments.study.option_checks import check_each_once, check_first_seed, check_positive

OPTIMISERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam")
"""The seven of [R], see `training.optimiser`."""
ACTIVATIONS = ("sigmoid", "relu", "ppns")
RESCUER, RESCUED = "ppns", "sigmoid"
"""Which activation, with plain descent, is set against which, with its best optimiser."""
PLAIN = "sgd"
XOR10_RATES = (0.00015, 0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5)
"""Around 0.05, the rate of [P, Table 3]."""
MNIST_RATES = (0.0001, 0.001, 0.01, 0.1, 1.0)
"""Around 0.01, the rate of [P, Table 8]."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides the results, beside the data and the experiment's own conditions.

    Attributes:
      activations: names in the catalogue.
      optimisers: names, see `training.optimiser`.
      rates: learning rates, of all parameters.
      seeds: number of networks in each cell; network i has seed first_seed + i.
      choosing: the first so many choose the learning rates; the others are reported.
      first_seed: see seeds.
      steps: updates.
    """

    activations: tuple[str, ...]
    optimisers: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int
    choosing: int
    steps: int
    first_seed: int = 0

    def check(self) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with."""
        check_each_once("--activations", self.activations)
        check_each_once("--optimisers", self.optimisers)
        check_positive("--rates", self.rates)
        for name in self.optimisers:
            if name not in OPTIMISERS:
                raise ValueError(f"--optimisers: expected names among {', '.join(OPTIMISERS)}, got {name!r}")
        if not 1 <= self.steps < 2**31:
            raise ValueError(f"--steps: expected an integer within 1..2**31 - 1, got {self.steps}")
        if self.seeds < 3:
            raise ValueError(f"--seeds: expected 3 or more, to choose with one and compare two, got {self.seeds}")
        if not 1 <= self.choosing <= self.seeds - 2:
            raise ValueError(f"--choosing: expected an integer within 1..{self.seeds - 2}, got {self.choosing}")
        check_first_seed(self.first_seed, self.seeds)

    def seed_range(self) -> range:
        """The seeds of all networks."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def cells(self) -> list[str]:
        """The names of what is trained at all rates, in the order in which it is."""
        return [f"{activation}, {optimiser}" for activation in self.activations for optimiser in self.optimisers]
