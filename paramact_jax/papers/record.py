"""What a published row is made of."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Citation:
    """A source, under the key that docstrings put in brackets."""

    key: str
    authors: str
    title: str
    venue: str
    year: int


@dataclasses.dataclass(frozen=True)
class ConvergenceRow:
    """How many of a paper's trials of one activation reached loss 0.

    Attributes:
      activation: name in `paramact_jax.activations`.
      label: name as the paper prints it.
      converged: printed count.
      trials: number of trials the count is out of.
      initial_a, initial_b: printed start values, None for an activation without them.

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
            raise ValueError(f"{self.label}: expected both of a and b or neither")


@dataclasses.dataclass(frozen=True)
class NodePoint:
    """A learned (a, b) of one node.

    Attributes:
      layer: hidden layer, counted from 1.
      node: in the layer, counted from 1.
      a, b: printed values.
    """

    layer: int
    node: int
    a: float
    b: float
