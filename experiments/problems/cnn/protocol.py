"""The conditions under which the convolutional networks of [A, section 4] are trained. Needs no JAX, for `--help`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from experiments.study.options import (
    ACTIVATION,
    DISTINCT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    Batch,
    Constraint,
    Count,
    Rate,
    Seeds,
    Steps,
    at_least,
    expect_within,
)
from paramact_jax.papers import kong2020

if TYPE_CHECKING:
    from experiments.study.run_directory import Run

IMAGE_SIDE = 28
CLASSES = 10
FILTERS = (16, 8, 4)
DENSE_FEATURES = 30
LAYERS = (*(f"convolutional {i}" for i in range(1, len(FILTERS) + 1)), "dense")
"""The layers with an activation."""
PUBLISHED = {f"{row.conv}/{row.dense}": row for row in kong2020.TABLE_1}
"""The rows of [A, Table 1] by combination: activation of the convolutional layers / of the dense hidden layer."""
COMBINATIONS = tuple(PUBLISHED)


def _known(text: str) -> bool:
    names = text.split("/")
    return len(names) == 2 and all(map(ACTIVATION.holds, names))


COMBINATION = Constraint(f"CONV/DENSE, two activations as in {COMBINATIONS[-1]}", _known)
Combinations = Annotated[tuple[str, ...], COMBINATION, DISTINCT]
TrainingImages = Annotated[Count, Constraint(f"a multiple of {CLASSES}", lambda x: x % CLASSES == 0)]
Draw = Annotated[int, at_least(0)]
Sharing = Literal["element", "channel", "layer"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions that decide the outcome of trials, the same for every combination of activations.

    [A, section 4] states the 5,000 training images, the same number of each digit, the batches of 100, the filters, the
    dense layer, the cross-entropy, and shows up to 9,908 steps. It does not state kernel_size, padding, pooling,
    pool_size, learning_rate, activation_learning_rate, weight_scale, initial_a, and the images of the test loss. Here
    these are all 10,000 test images. The defaults are the best cell of `cnn-search`.
    """

    renamed: ClassVar[Mapping[str, str]] = {"iterations": "steps", "trials": "seeds", "batch_size": "batch"}

    kernel_size: Annotated[Count, Constraint("an odd number [A, eq. 3]", lambda x: x % 2 == 1)] = 3
    """Side of every filter, odd."""
    padding: Literal["same", "valid"] = "same"
    """Whether maps keep their size (same) or lose a margin (valid)."""
    pooling: Literal["max", "average"] = "max"
    """Largest value or mean of a window."""
    pool_size: Count = 2
    """Side of the windows."""
    learning_rate: Rate = 0.3
    """Of filters, weights and biases."""
    activation_learning_rate: Annotated[float | None, NOT_NEGATIVE] = None
    """Of a and b (default: the learning rate)."""
    weight_scale: Annotated[float, POSITIVE] = math.sqrt(2)
    """Initial filters and weights are normal with deviation weight_scale / sqrt(fan_in), biases are 0."""
    initial_a: Annotated[float | None, FINITE] = 1.0
    """Start value of a; 1 starts at the plain functions. None: 1.5 / steepest slope of the base function, as [P] does,
    that is 6 for Agile Sigmoid, 1.5 for Agile ReLU. b starts at 0."""
    training_images: TrainingImages = 5_000
    """Images to train with, the same number of each digit."""
    subset_seed: Draw = 0
    """Of the draw of these images, which all networks share: the one set of 5,000 that [A] speaks of."""
    batch: Batch = 100
    """Images of one step."""
    steps: Steps = 2_500
    """Updates by gradient descent."""
    seeds: Seeds = 5
    """Networks of each kind, on the same seeds: initial weights and the order of the images differ between them."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    test_every: Count = 250
    """Steps between two scores of all test images; a score costs about as much as 60 steps."""

    def resolved(self) -> Self:
        """Fills in the rate of a and b."""
        rate = self.learning_rate if self.activation_learning_rate is None else self.activation_learning_rate
        return dataclasses.replace(self, activation_learning_rate=rate)

    def check(self, data: Any) -> None:
        """Refuses, with ValueError in one line, numbers that do not fit each other."""
        expect_within(self, "batch", 1, self.training_images, "the training images")
        side = IMAGE_SIDE
        for layer in LAYERS[:-1]:
            side -= 0 if self.padding == "same" else self.kernel_size - 1
            if side < self.pool_size:
                raise ValueError(
                    f"--kernel-size {self.kernel_size}, --padding {self.padding}, --pool-size {self.pool_size}: "
                    f"expected at least one window to pool in layer {layer}, got a map {max(side, 0)} pixels wide; "
                    f"pad, pool less or take smaller kernels"
                )
            side //= self.pool_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(Conditions):
    """The conditions of one kind of network."""

    sharing: Sharing = "element"
    """What has an a and b of its own in the convolutional layers: each element of a feature map, as in [A, eq. 9-16],
    each channel, or the layer."""


def label(combination: str) -> str:
    """Returns the name of a combination as the paper prints it.

    Examples:
      >>> label("parametric_relu/ppns")
      'Agile ReLU / ppns'
    """
    return " / ".join(kong2020.LABELS.get(name, name) for name in combination.split("/"))


def combinations(run: Run) -> list[str]:
    """Returns the combinations of a run in the order of [A, Table 1]; others come last."""
    names = run.records["combination"].values.tolist()
    return sorted(names, key=lambda name: COMBINATIONS.index(name) if name in PUBLISHED else len(COMBINATIONS))


def in_words(run: Run) -> str:
    """Describes conditions, data and seeds in two sentences."""
    config, seeds = run.manifest["config"], run.records["seed"].values
    which = f"Seeds {seeds.min()} to {seeds.max()}" if len(seeds) > 1 else f"Seed {seeds[0]} alone"
    start = "1.5 over the steepest slope" if config["initial_a"] is None else f"{config['initial_a']:g}"
    sharing = config["sharing"] if isinstance(config["sharing"], str) else " or ".join(config["sharing"])
    return (
        f"{which}: {config['training_images']:,} training images (draw {config['subset_seed']}, the same for all), "
        f"batches of {config['batch']}, gradient descent, learning rate {config['learning_rate']:g} "
        f"({config['activation_learning_rate']:g} for a and b), filters {config['kernel_size']} x "
        f"{config['kernel_size']}, {config['padding']} padding, {config['pooling']} pooling {config['pool_size']} x "
        f"{config['pool_size']}, weights of deviation {config['weight_scale']:.4g}/sqrt(fan_in), a starts at {start}"
        f", a and b for each {sharing}; {config['steps']:,} steps, scored every {config['test_every']}. Images: "
        f"{run.records.attrs['source']}."
    )
