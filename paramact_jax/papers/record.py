"""The records of published numbers."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Citation:
    """A source; docstrings cite it by its key in brackets.

    Attributes:
      key: as in "[P, Table 5]".
      authors: all of them, in order.
      title: in English.
      venue: the journal.
      year, volume, issue: of publication.
      pages: first and last.
      doi: without the address of a resolver.
    """

    key: str
    authors: str
    title: str
    venue: str
    year: int
    volume: int
    issue: int
    pages: str
    doi: str


@dataclasses.dataclass(frozen=True)
class ConvergenceRow:
    """The number of a paper's trials of one activation that reached loss 0.

    Attributes:
      activation: name in `paramact_jax.activations`.
      label: name as printed in the paper.
      converged: printed count.
      trials: number of all trials.
      initial_a, initial_b: printed start values, None for an activation without a and b.

    Raises:
      ValueError: if there is no trial, the count is not within 0..trials, or only one of a and b is given.
    """

    activation: str
    label: str
    converged: int
    trials: int
    initial_a: float | None = None
    initial_b: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1 or not 0 <= self.converged <= self.trials:
            raise ValueError(f"{self.label}: expected a count within 0..{self.trials} trials, got {self.converged}")
        if (self.initial_a is None) != (self.initial_b is None):
            raise ValueError(f"{self.label}: expected both a and b or neither, got one; give the other")


@dataclasses.dataclass(frozen=True)
class NodePoint:
    """The learned a and b of one node.

    Attributes:
      layer: number of the hidden layer, from 1.
      node: number of the node in the layer, from 1.
      a, b: printed values.
    """

    layer: int
    node: int
    a: float
    b: float


@dataclasses.dataclass(frozen=True)
class StartValues:
    """An activation of a paper's comparison, with the start values of its parameters.

    Attributes:
      activation: name in `paramact_jax.activations`.
      label: name as printed in the paper.
      printed: the start values as printed, empty for an activation without parameters.
    """

    activation: str
    label: str
    printed: str = ""


@dataclasses.dataclass(frozen=True)
class FinalLoss:
    """The final loss of one published training.

    Attributes:
      activation: name in `paramact_jax.activations`.
      loss: printed value.
      steps: number of training steps.

    Raises:
      ValueError: if the loss is not a finite number > 0, or there is no step.
    """

    activation: str
    loss: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loss) and self.loss > 0):
            raise ValueError(f"{self.activation}: expected a finite loss > 0, got {self.loss}")
        if self.steps < 1:
            raise ValueError(f"{self.activation}: expected at least 1 step, got {self.steps}")


@dataclasses.dataclass(frozen=True)
class SteepSlopes:
    """The number of slopes |dz/dy| >= 1 of one untrained network on one batch.

    Attributes:
      activation: name in `paramact_jax.activations`.
      count: printed number.
      slopes: number of all slopes: layers x nodes x samples.

    Raises:
      ValueError: if the count is not within 0..slopes.
    """

    activation: str
    count: int
    slopes: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.slopes:
            raise ValueError(f"{self.activation}: expected a count within 0..{self.slopes}, got {self.count}")


@dataclasses.dataclass(frozen=True)
class TimeSaved:
    """The share of training time that one activation saves against another until it reaches a loss.

    Attributes:
      activation: name of the faster activation.
      reference: name of the activation that it is compared with.
      train_loss: the loss to reach.
      share: saved share of the reference's time, 1 - time / time of the reference.

    Raises:
      ValueError: if the share is not within (0, 1), or the loss is not > 0.
    """

    activation: str
    reference: str
    train_loss: float
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"{self.activation}: expected a share within (0, 1), got {self.share}")
        if not self.train_loss > 0:
            raise ValueError(f"{self.activation}: expected a loss > 0, got {self.train_loss}")
