"""The conditions under which the digits are learned. Needs no JAX, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.study.options import (
    FINITE,
    NOT_NEGATIVE,
    Activations,
    Batch,
    Count,
    Rate,
    Seeds,
    Steps,
    check_options,
    expect_within,
    one_of,
)

if TYPE_CHECKING:
    from paramact_jax.activations import Activation

ProtocolName = Literal["recovered", "literal"]
Initial = Literal["fan-in", "glorot-he"]
Batches = Literal["shuffled", "independent"]
Optimiser = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam"]

PIXELS, CLASSES = 784, 10
"""The pixels of an image and the classes of MNIST."""
_HE = ("relu", "parametric_relu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conditions that decide the results, except the images; they are options of `mnist`."""

    initial: Initial
    """Standard deviation of the normal initial weights: fan-in: 1/sqrt(fan_in); glorot-he: sqrt(2/(fan_in + fan_out)),
    and sqrt(2/fan_in) for ReLU and Parametric ReLU (recovered: fan-in, literal: glorot-he). Biases start at 0."""
    batches: Batches
    """Epochs that are shuffled, or independent draws (recovered: shuffled, literal: independent)."""
    hexpo_first: Annotated[int, one_of(0, 1)]
    """i of the first hidden layer in the start values of Hexpo, a = i/2 + 1, b = i/8 + 1 (recovered: 0, literal: 1)."""
    depth: Count = 8
    """Hidden layers."""
    width: Count = 128
    """Nodes in every hidden layer."""
    steps: Steps = 10_000
    """Steps of gradient descent."""
    batch: Batch = 64
    """Images a step."""
    optimiser: Optimiser = "sgd"
    """Optimiser; sgd is plain gradient descent."""
    learning_rate: Rate = 0.01
    """Learning rate of weights and biases."""
    learning_rate_a: Annotated[float, NOT_NEGATIVE] = 0.01
    """Learning rate of a and the other parameters of activations (default: the learning rate)."""
    learning_rate_b: Annotated[float, NOT_NEGATIVE] = 0.01
    """Learning rate of b (default: the learning rate)."""
    initial_a: Annotated[float | None, FINITE] = None
    """Start value of a (default: 1.5 / steepest slope: 6 for PPNS, 1.5 for Parametric Tanh and Parametric ReLU)."""
    activations: Activations = (
        *("relu", "parametric_relu", "tanh", "parametric_tanh"),
        *("reltanh", "hexpo", "parametric_hexpo", "ppns"),
    )
    """Names of the activations to train; by default the eight of [P, Table 6]."""
    seeds: Seeds = 3
    """Networks of each activation, trained at once."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    test_every: Count = 50
    """Steps between two scores of all test images; 1 is the paper's."""
    train_every: Count = 500
    """Steps between two scores of all training images."""

    def check(self, images: int | None = None) -> None:
        """Refuses, in one line, a value that cannot be trained with.

        Args:
          images: the number of training images, once it is known.

        Raises:
          ValueError: for such a value.
        """
        check_options(self)
        if images is not None:
            expect_within(self, "batch", 1, images, "the number of training images")
        if self.initial_a is not None and not any(
            "a" in self.layers_of(name)[0][0].params for name in self.activations
        ):
            raise ValueError(
                f"--initial-a: expected an activation with a parameter a, got {' '.join(self.activations)}"
            )

    def weight_std(self, activation: str, fan_in: int, fan_out: int) -> float:
        """Returns the standard deviation of the initial weights of one layer."""
        if self.initial == "fan-in":
            return 1 / math.sqrt(fan_in)
        return math.sqrt(2 / fan_in) if activation in _HE else math.sqrt(2 / (fan_in + fan_out))

    def layers_of(self, activation: str) -> tuple[list[Activation], tuple[str, ...] | None]:
        """Returns the records of the hidden layers, and which of their parameters are learned (None: all) [P, Table 7].

        Hexpo and Parametric Hexpo have start values that grow with the layer. Those of Hexpo are not learned.

        Raises:
          ValueError: for an unknown name.
        """
        from paramact_jax.activations import catalogue
        from paramact_jax.activations.hexpo import hexpo_of_layer, parametric_hexpo_of_layer

        layers = range(self.hexpo_first, self.hexpo_first + self.depth)
        if activation == "hexpo":
            return [hexpo_of_layer(i) for i in layers], ()
        if activation == "parametric_hexpo":
            return [parametric_hexpo_of_layer(i) for i in layers], None
        return [catalogue.get(activation)] * self.depth, None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "recovered": Protocol(initial="fan-in", batches="shuffled", hexpo_first=0),
    "literal": Protocol(initial="glorot-he", batches="independent", hexpo_first=1),
}
"""`literal` is [P, Tables 7 and 8] as printed. `recovered` gives the counts of [P, Fig. 14] and their differences:
initial weights scaled by 1/sqrt(fan_in) for every activation, start values of Hexpo counted from layer 0, and shuffled
epochs."""
