"""The options that the commands on the convolutional networks share. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.problems.cnn.protocol import COMBINATIONS, Combination, Padding, Pooling, Protocol, Sharing
from experiments.problems.digits import Data

if TYPE_CHECKING:
    from experiments.problems.cnn.images import Images

ALL = tuple("/".join(pair) for pair in COMBINATIONS)
"""The combinations of [A, Table 1] as the command line has them."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What is trained on which images, and where the results go."""

    training_images: int = Protocol.training_images
    """Images to train with, the same number of each digit."""
    subset_seed: int = Protocol.subset_seed
    """Of the draw of these images, which all networks share."""
    batch_size: int = Protocol.batch_size
    """Images of one iteration."""
    first_seed: int = Protocol.first_seed
    """Trial i has seed first_seed + i."""
    data: Data = "auto"
    """Where MNIST comes from: the original files (idx) or TensorFlow Datasets (tfds);
    auto: the original files if --data-dir or PARAMACT_DATA names their directory, else TensorFlow Datasets;
    synthetic: images that only look like it, which need no files and say nothing about MNIST."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write. It must not exist yet; an interrupted run is kept beside it and the same --out resumes it
    (default: a new one under runs/)."""


@dataclasses.dataclass(frozen=True)
class Conditions(Training):
    """What [A] does not say, beside that."""

    kernel_size: int = Protocol.kernel_size
    """Side of every filter, odd."""
    padding: Padding = Protocol.padding
    """Whether maps keep their size (same) or lose a margin (valid)."""
    pooling: Pooling = Protocol.pooling
    """Largest value or mean of a window."""
    pool_size: int = Protocol.pool_size
    """Side of the windows."""
    learning_rate: float = Protocol.learning_rate
    """Of filters, weights and biases."""
    activation_learning_rate: float | None = None
    """Of a and b (default: the learning rate)."""
    weight_scale: float = Protocol.weight_scale
    """Initial filters and weights are normal with deviation weight_scale / sqrt(fan_in)."""
    initial_a: float | None = Protocol.initial_a
    """Start value of a. None: 1.5 / steepest slope, that is 6 for Agile Sigmoid, 1.5 for Agile ReLU."""
    iterations: int = Protocol.iterations
    """Updates by gradient descent."""
    trials: int = Protocol.trials
    """Networks of each kind, on the same seeds."""
    test_every: int = Protocol.test_every
    """Iterations between two scores of all test images; a score costs about as much as 60 iterations."""

    def conditions(self, combinations: Sequence[str], sharing: Sharing) -> Protocol:
        """The protocol that these options ask for.

        Args:
          combinations: as the command line has them.
          sharing: what has an a and b of its own.

        Raises:
          ValueError: in one line, for a combination that is not CONV/DENSE.
        """
        names = {field.name for field in dataclasses.fields(Conditions)}
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(Protocol) if field.name in names}
        if self.activation_learning_rate is None:
            given["activation_learning_rate"] = self.learning_rate
        return dataclasses.replace(Protocol(), **given, combinations=pairs(combinations), sharing=sharing)


def pairs(combinations: Sequence[str]) -> tuple[Combination, ...]:
    """The activations of the convolutional layers and of the dense layer, from CONV/DENSE.

    Raises:
      ValueError: in one line, for something else.

    Examples:
      >>> pairs(["relu/ppns"])
      (('relu', 'ppns'),)
    """
    found = []
    for text in combinations:
        conv, slash, dense = text.partition("/")
        if not (conv and slash and dense) or "/" in dense:
            raise ValueError(
                f"--combinations: expected CONV/DENSE, two activations as in {ALL[-1]}, got {text!r}; see `activations`"
            )
        found.append((conv, dense))
    return tuple(found)


def to_go_on(protocol: Protocol, images: Images) -> dict[str, Any]:
    """What an interrupted run must have in common with the one that goes on with it: all but which networks."""
    config = dataclasses.asdict(protocol) | {"synthetic images": images.synthetic}
    del config["combinations"], config["sharing"]  # each network has a directory of its own
    return config
