"""The conditions under which the trials are trained. Needs no JAX, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.study.options import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    Activations,
    Count,
    Rate,
    Seeds,
    Steps,
    check_options,
    one_of,
)
from paramact_jax.papers import ko2021

if TYPE_CHECKING:
    from paramact_jax.activations import Activation

ProtocolName = Literal["recovered", "literal"]
Loss = Literal["half-mse", "mse"]

LOSS_SCALE: dict[Loss, float] = {"half-mse": 0.5, "mse": 1.0}
"""The factor of the mean squared error whose gradient is followed."""

STOP_EVERY, DONE = 500, 1e-6
"""Trials may end early at a multiple of `STOP_EVERY` steps, below `DONE`: a thousandth of the recovered threshold."""

HIDDEN_LAYERS = 10
WIDTH = 2
ACTIVATIONS = tuple(row.activation for row in ko2021.TABLE_5)


def label_of(activation: str) -> str:
    """Returns an activation's name as [P, Table 5] prints it."""
    return next((row.label for row in ko2021.TABLE_5 if row.activation == activation), activation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conditions that decide the trials' outcome; the defaults reproduce [P, Tables 4 and 5]."""

    weight_std: Annotated[float, NOT_NEGATIVE] = 1 / math.sqrt(WIDTH)
    """Standard deviation of the initial weights, the output layer's too (recovered: 1/sqrt(width), literal: 1)."""
    bias_std: Annotated[float, NOT_NEGATIVE] = 0.0
    """Standard deviation of the initial biases."""
    loss: Annotated[Loss, one_of(*LOSS_SCALE)] = "half-mse"
    """Loss whose gradient is followed (recovered: half-mse, literal: mse)."""
    learning_rate: Rate = 0.05
    """Learning rate of weights and biases."""
    activation_learning_rate: Annotated[float, NOT_NEGATIVE] = 0.05
    """Learning rate of a and b (default: the learning rate)."""
    initial_a: Annotated[float | None, FINITE] = None
    """Start value of a (default: 1.5 / steepest slope: 6 for Parametric Sigmoid and PPNS,
    1.5 for Parametric Tanh and Parametric ReLU)."""
    depth: Count = HIDDEN_LAYERS
    """Hidden layers."""
    width: Count = WIDTH
    """Nodes in every hidden layer."""
    steps: Steps = 10_000
    """Full-batch updates."""
    threshold: Annotated[float, POSITIVE] = 1e-3
    """A trial has converged if its final mean squared error is below this."""
    seeds: Seeds = 1_000
    """Trials of each activation."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    activations: Activations = ACTIVATIONS
    """Names of the activations to train."""

    def check(self, data: Any = None) -> None:
        """Raises ValueError, in one line, for a value that cannot be trained with."""
        check_options(self)
        if self.initial_a is not None and not any("a" in record.params for record in self.records().values()):
            got = " ".join(self.activations)
            raise ValueError(f"--initial-a: expected an activation with a parameter a, got {got}")

    def records(self) -> dict[str, Activation]:
        """Returns the activations by name; raises ValueError if one is unknown."""
        from paramact_jax.activations import catalogue

        return {name: catalogue.get(name) for name in self.activations}


PROTOCOLS: dict[ProtocolName, Protocol] = {"recovered": Protocol(), "literal": Protocol(weight_std=1.0, loss="mse")}
"""`literal` is [P, Table 3] as printed. `recovered` reproduces [P, Tables 4 and 5]: weights scaled by
1/sqrt(fan_in), gradient of half the mean squared error."""
