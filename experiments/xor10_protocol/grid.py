"""The declared grid of training conditions. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal

from experiments.problems.xor10.protocol import LOSS_SCALE, PROTOCOLS, WIDTH, ProtocolName

Batch = Literal["full", "point"]

POINTS = 4
SCALES = ("fan-in", "normal", "glorot", "he")
BIAS_STDS = (0.0, 0.01, 1.0)
GRADIENT_SCALES = (1 / 8, 1 / 4, 1 / 2, 1.0)
BATCHES: tuple[Batch, ...] = ("full", "point")
RELU_AT_KINK = {0: "relu", 1: "relu_from_right"}
"""Record that stands for plain ReLU, by its slope at y = 0."""
KINKS = tuple(RELU_AT_KINK)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Standard deviation of the initial weights of a layer, by its number of inputs and outputs.

    Attributes:
      name: for tables; rules that agree on this network share one Scale, with all their names.
      hidden: of the hidden layers, WIDTH -> WIDTH.
      output: of the output layer, WIDTH -> 1.
    """

    name: str
    hidden: float
    output: float


@dataclasses.dataclass(frozen=True)
class Conditions:
    """One way to train, whatever the activation.

    Attributes:
      scale: of the initial weights.
      bias_std: standard deviation of the initial biases.
      gradient_scale: c in dL/dy_out = c (y_out - t) for every point.
      batch: one update an iteration on all points, or one after each point of a pass.
    """

    scale: Scale
    bias_std: float
    gradient_scale: float
    batch: Batch

    @property
    def loss_scale(self) -> float:
        """`training.Settings.loss_scale`: the mean squared error of n points has dL/dy_out = (2/n) (y_out - t)."""
        return self.gradient_scale * (POINTS if self.batch == "full" else 1) / 2


@dataclasses.dataclass(frozen=True)
class Cell:
    """Conditions and what plain ReLU's slope at its kink is: all that decides the seven counts."""

    conditions: Conditions
    kink: int

    def trained_as(self, activation: str) -> str:
        """Name of the record that stands for an activation of [P, Table 5] in this cell."""
        return RELU_AT_KINK[self.kink] if activation == "relu" else activation


@dataclasses.dataclass(frozen=True)
class Grid:
    """All combinations of these.

    Attributes:
      scales: rules for the initial weights: "fan-in" (1/sqrt(fan_in)), "normal" (1), "glorot" (sqrt(2 / (fan_in +
        fan_out))), "he" (sqrt(2 / fan_in)), or a number for all layers.
      bias_stds, gradient_scales, batches: see `Conditions`.
      kinks: slopes of plain ReLU at y = 0.
    """

    scales: tuple[str, ...] = SCALES
    bias_stds: tuple[float, ...] = BIAS_STDS
    gradient_scales: tuple[float, ...] = GRADIENT_SCALES
    batches: tuple[Batch, ...] = BATCHES
    kinks: tuple[int, ...] = KINKS

    def check(self) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with."""
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{_option(field.name)}: expected at least one value, each once, got {_join(values)}")
        for value in self.bias_stds:
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"--bias-stds: expected finite numbers >= 0, got {value:g}")
        for value in self.gradient_scales:
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"--gradient-scales: expected finite numbers > 0, got {value:g}")
        if unknown := set(self.batches) - set(BATCHES):
            raise ValueError(f"--batches: expected some of {_join(BATCHES)}, got {_join(sorted(unknown))}")
        if wrong := set(self.kinks) - set(KINKS):
            raise ValueError(f"--kinks: expected some of {_join(KINKS)}, got {_join(sorted(wrong))}")
        self.distinct_scales()

    def distinct_scales(self) -> list[Scale]:
        """The scales; rules that give this network the same weights are one.

        Raises:
          ValueError: for a name that is no rule and no number > 0.
        """
        names: dict[tuple[float, float], list[str]] = {}
        for name in self.scales:
            names.setdefault((_std(name, WIDTH, WIDTH), _std(name, WIDTH, 1)), []).append(name)
        return [Scale(" = ".join(rules), *stds) for stds, rules in names.items()]

    def conditions(self) -> list[Conditions]:
        """All conditions, in the order of the grid's axes."""
        axes = (self.distinct_scales(), self.bias_stds, self.gradient_scales, self.batches)
        return [Conditions(*values) for values in itertools.product(*axes)]

    def cells(self) -> list[Cell]:
        """All cells, in the order of the grid's axes."""
        return [Cell(conditions, kink) for conditions in self.conditions() for kink in self.kinks]


def is_protocol(cell: Cell, name: ProtocolName) -> bool:
    """Whether a cell is a protocol of the experiment xor10."""
    protocol, conditions = PROTOCOLS[name], cell.conditions
    stds = (protocol.weight_std, protocol.weight_std, protocol.bias_std)
    return (
        (conditions.scale.hidden, conditions.scale.output, conditions.bias_std) == stds
        and conditions.batch == "full"
        and conditions.loss_scale == LOSS_SCALE[protocol.loss]
        and cell.kink == 0
    )


def _std(rule: str, fan_in: int, fan_out: int) -> float:
    known = {
        "fan-in": 1 / math.sqrt(fan_in),
        "normal": 1.0,
        "glorot": 1 / math.sqrt((fan_in + fan_out) / 2),
        "he": 1 / math.sqrt(fan_in / 2),
    }
    if rule in known:
        return known[rule]
    try:
        value = float(rule)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"--scales: expected some of {_join(SCALES)}, or numbers > 0, got {rule}")
    return value


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _join(values: Sequence[object]) -> str:
    return " ".join(map(str, values)) or "none"
