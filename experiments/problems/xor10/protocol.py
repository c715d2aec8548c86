"""Under which conditions the trials are trained. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from experiments.study.option_checks import MAX_SEED, check_first_seed, expect
from paramact_jax.papers import ko2021

if TYPE_CHECKING:
    from paramact_jax.activations import Activation

ProtocolName = Literal["recovered", "literal"]
Loss = Literal["half-mse", "mse"]

LOSS_SCALE: dict[Loss, float] = {"half-mse": 0.5, "mse": 1.0}
"""The gradient is that of this factor times the mean squared error."""

HIDDEN_LAYERS = 10
WIDTH = 2
ACTIVATIONS = tuple(row.activation for row in ko2021.TABLE_5)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides the trials' outcome.

    Attributes:
      weight_std: initial weights are normal with mean 0 and this standard deviation, the output layer's too.
      bias_std: likewise the initial biases.
      loss: the gradient's loss, mean squared error or half of it.
      learning_rate: of weights and biases.
      activation_learning_rate: of a and b.
      initial_a: start value of a; None: 1.5 over the steepest slope of the base function.
      iterations: full-batch updates.
      threshold: a trial has converged if its final mean squared error (whatever `loss` is) is below this.
      trials: number of trials; trial i has seed first_seed + i.
      first_seed: see trials.
      activations: names in the catalogue.
    """

    weight_std: float
    bias_std: float
    loss: Loss
    learning_rate: float
    activation_learning_rate: float
    initial_a: float | None = None
    iterations: int = 10_000
    threshold: float = 1e-3
    trials: int = 1_000
    first_seed: int = 0
    activations: tuple[str, ...] = ACTIVATIONS

    def check(self) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with."""
        for field in ("learning_rate", "threshold"):
            expect(getattr(self, field), field, "a finite number > 0", lambda x: math.isfinite(x) and x > 0)
        for field in ("weight_std", "bias_std", "activation_learning_rate"):
            expect(getattr(self, field), field, "a finite number >= 0", lambda x: math.isfinite(x) and x >= 0)
        for field in ("iterations", "trials"):
            expect(getattr(self, field), field, "an integer >= 1", lambda x: x >= 1)
        expect(self.iterations, "iterations", "at most 2**31 - 1", lambda x: x < 2**31)
        expect(self.trials, "trials", "at most 2**32, the number of seeds", lambda x: x <= MAX_SEED + 1)
        check_first_seed(self.first_seed, self.trials)
        if self.initial_a is not None:
            expect(self.initial_a, "initial_a", "a finite number", math.isfinite)
        if self.loss not in LOSS_SCALE:
            raise ValueError(f"--loss: expected one of {', '.join(LOSS_SCALE)}, got {self.loss!r}")
        if not self.activations:
            raise ValueError("--activations: expected at least one name, got none")
        if len(set(self.activations)) < len(self.activations):
            raise ValueError(f"--activations: expected each name once, got {' '.join(self.activations)}")

    def records(self) -> dict[str, Activation]:
        """The activations by name.

        Raises:
          ValueError: if one is unknown, or none of them has the parameter that `initial_a` is for.
        """
        from paramact_jax.activations import catalogue

        records = {name: catalogue.get(name) for name in self.activations}
        if self.initial_a is not None and not any("a" in record.params for record in records.values()):
            raise ValueError(f"--initial-a: expected an activation with a parameter a, got {' '.join(records)}")
        return records


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "recovered": Protocol(
        weight_std=1 / math.sqrt(WIDTH),
        bias_std=0.0,
        loss="half-mse",
        learning_rate=0.05,
        activation_learning_rate=0.05,
    ),
    "literal": Protocol(
        weight_std=1.0,
        bias_std=0.0,
        loss="mse",
        learning_rate=0.05,
        activation_learning_rate=0.05,
    ),
}
"""`literal` is [P, Table 3] as printed. `recovered` reproduces [P, Tables 4 and 5]: weights scaled by
1/sqrt(fan_in), gradient of half the mean squared error."""
