"""Under which conditions the digits are learned. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from experiments.study.option_checks import check_first_seed, expect

if TYPE_CHECKING:
    from paramact_jax.activations import Activation

ProtocolName = Literal["recovered", "literal"]
Initial = Literal["fan-in", "glorot-he"]
Batches = Literal["shuffled", "independent"]
Optimiser = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam"]

HIDDEN_LAYERS = 8
WIDTH = 128
CLASSES = 10
ACTIVATIONS = ("relu", "parametric_relu", "tanh", "parametric_tanh", "reltanh", "hexpo", "parametric_hexpo", "ppns")
"""The eight of [P, Table 6]."""
_HE = ("relu", "parametric_relu")
_MOST_STEPS = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides the results beside the images.

    Attributes:
      initial: standard deviation of the normal initial weights: "fan-in": 1/sqrt(fan_in); "glorot-he":
        sqrt(2/(fan_in + fan_out)), and sqrt(2/fan_in) for ReLU and Parametric ReLU. Biases start at 0.
      batches: see `training.Minibatches`.
      steps: of gradient descent.
      batch: images a step.
      optimiser: see `training.optimiser`.
      learning_rate: of weights and biases.
      learning_rate_a: of all parameters of activations but b.
      learning_rate_b: of the shift b.
      initial_a: start value of a, where there is one; None: 1.5 over the steepest slope of the base function.
      test_every: steps between two scores of the test set.
      train_every: steps between two scores of the train set.
      seeds: number of networks of each activation; network i has seed first_seed + i.
      first_seed: see seeds.
      activations: names of [P, Table 6], or any of the catalogue.
    """

    initial: Initial
    batches: Batches
    steps: int = 10_000
    batch: int = 64
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.01
    learning_rate_a: float = 0.01
    learning_rate_b: float = 0.01
    initial_a: float | None = None
    test_every: int = 50
    train_every: int = 500
    seeds: int = 3
    first_seed: int = 0
    activations: tuple[str, ...] = ACTIVATIONS

    def check(self, images: int | None = None) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with.

        Args:
          images: to train with, once they are known.
        """
        expect(self.learning_rate, "learning_rate", "a finite number > 0", lambda x: math.isfinite(x) and x > 0)
        for field in ("learning_rate_a", "learning_rate_b"):
            expect(getattr(self, field), field, "a finite number >= 0", lambda x: math.isfinite(x) and x >= 0)
        for field in ("steps", "test_every", "train_every", "batch", "seeds"):
            expect(getattr(self, field), field, "an integer >= 1", lambda x: x >= 1)
        for field in ("steps", "test_every", "train_every"):
            expect(getattr(self, field), field, f"an integer <= {_MOST_STEPS}", lambda x: x <= _MOST_STEPS)
        if images is not None:
            expect(self.batch, "batch", f"an integer within 1..{images}, the number of images", lambda x: x <= images)
        check_first_seed(self.first_seed, self.seeds)
        for field, kind in (("initial", Initial), ("batches", Batches), ("optimiser", Optimiser)):
            if getattr(self, field) not in get_args(kind):
                raise ValueError(
                    f"--{field}: expected one of {', '.join(get_args(kind))}, got {getattr(self, field)!r}"
                )
        if not self.activations:
            raise ValueError("--activations: expected at least one name, got none")
        if len(set(self.activations)) < len(self.activations):
            raise ValueError(f"--activations: expected each name once, got {' '.join(self.activations)}")
        if self.initial_a is not None:
            expect(self.initial_a, "initial_a", "a finite number", math.isfinite)
        scaled = [name for name in self.activations if "a" in layers_of(name)[0][0].params]
        if self.initial_a is not None and not scaled:
            raise ValueError(
                f"--initial-a: expected an activation with a parameter a, got {' '.join(self.activations)}"
            )

    def weight_std(self, activation: str, fan_in: int, fan_out: int) -> float:
        """Standard deviation of the initial weights of one layer."""
        if self.initial == "fan-in":
            return 1 / math.sqrt(fan_in)
        return math.sqrt(2 / fan_in) if activation in _HE else math.sqrt(2 / (fan_in + fan_out))


def layers_of(activation: str) -> tuple[list[Activation], tuple[str, ...] | None]:
    """The records of the hidden layers, and which of their parameters are learned (None: all) [P, Table 7].

    Hexpo and Parametric Hexpo have start values that grow with the layer; those of Hexpo are not learned.

    Raises:
      ValueError: for an unknown name.
    """
    from paramact_jax.activations import catalogue
    from paramact_jax.activations.hexpo import hexpo_of_layer, parametric_hexpo_of_layer

    layers: Sequence[int] = range(1, HIDDEN_LAYERS + 1)
    if activation == "hexpo":
        return [hexpo_of_layer(i) for i in layers], ()
    if activation == "parametric_hexpo":
        return [parametric_hexpo_of_layer(i) for i in layers], None
    return [catalogue.get(activation)] * HIDDEN_LAYERS, None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "recovered": Protocol(initial="fan-in", batches="shuffled"),
    "literal": Protocol(initial="glorot-he", batches="independent"),
}
"""`literal` is [P, Table 8] as printed. `recovered` is what gives the counts of [P, Fig. 14]: initial weights scaled by
1/sqrt(fan_in) for every activation; with epochs that are shuffled."""
