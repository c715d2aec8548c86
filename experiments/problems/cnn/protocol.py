"""Under which conditions the convolutional networks are trained. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Literal, get_args

from experiments.study.option_checks import MAX_SEED, check_first_seed, expect
from paramact_jax.papers import kong2020

if TYPE_CHECKING:
    from paramact_jax.activations import Activation

Padding = Literal["same", "valid"]
Pooling = Literal["max", "average"]
Sharing = Literal["element", "channel", "layer"]
Combination = tuple[str, str]

IMAGE_SIDE = 28
CLASSES = 10
FILTERS = (16, 8, 4)
DENSE_FEATURES = 30
TEST_IMAGES = 10_000
DENSE_ONLY = ("sigmoid", "parametric_sigmoid")
"""Activations of the network without convolutions [A, Fig. 11]. [A] does not give its sizes; here it is what is left of
the network above: 784 pixels, 30 nodes, 10 outputs."""
COMBINATIONS: tuple[Combination, ...] = tuple((row.conv, row.dense) for row in kong2020.TABLE_1)
"""Activation of the convolutional layers and of the dense hidden layer, names in the catalogue [A, Table 1]."""
SEARCHED: tuple[Combination, ...] = (
    ("sigmoid", "relu"),
    ("parametric_sigmoid", "parametric_sigmoid"),
    ("relu", "relu"),
    ("parametric_relu", "parametric_sigmoid"),
)
"""The combinations that a search of the open conditions trains: every activation of the convolutional layers once, with
a dense layer without and with parameters."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides the trials' outcome, the same for every combination.

    [A, section 4] states the 5,000 training images, the same number of each digit, the batches of 100, the filters, the
    dense layer, the cross-entropy, and shows up to 9,908 iterations. It leaves open: kernel_size, padding, pooling,
    pool_size, learning_rate, activation_learning_rate, weight_scale, initial_a, and the split that the test loss is
    over; here that is all 10,000 test images. The defaults are the best cell of SEARCH_GRID.

    Attributes:
      kernel_size: side of every filter; odd, as in [A, eq. 3].
      padding: "same" or "valid".
      pooling: "max" or "average", over windows of pool_size x pool_size.
      pool_size: see pooling.
      learning_rate: of filters, weights and biases.
      activation_learning_rate: of a and b.
      weight_scale: initial filters and weights are normal with deviation weight_scale / sqrt(fan_in), biases 0.
      initial_a: start value of a; None: 1.5 over the steepest slope of the base function, as [P] does, so 6 for Agile
        Sigmoid and 1.5 for Agile ReLU; 1 starts both at the plain functions. b starts at 0.
      sharing: what has an a and a b of its own in the convolutional layers; [A, eq. 9-16] is "element".
      training_images: number of training images, the same number of each digit.
      batch_size: images of one iteration.
      iterations: updates by gradient descent.
      trials: number of trials of each combination; trial i has seed first_seed + i.
      first_seed: see trials.
      subset_seed: of the draw of the training images, which all trials share: the one set of 5,000 that [A] speaks of.
        What differs between seeds is the initial weights and the order of the images.
      test_every: iterations between two scores of the test images; a score costs about as much as 60 iterations.
      combinations: pairs of names in the catalogue.
    """

    kernel_size: int = 3
    padding: Padding = "same"
    pooling: Pooling = "max"
    pool_size: int = 2
    learning_rate: float = 0.3
    activation_learning_rate: float = 0.3
    weight_scale: float = 2**0.5
    initial_a: float | None = 1.0
    sharing: Sharing = "element"
    training_images: int = 5_000
    batch_size: int = 100
    iterations: int = 2_500
    trials: int = 5
    first_seed: int = 0
    subset_seed: int = 0
    test_every: int = 250
    combinations: tuple[Combination, ...] = COMBINATIONS

    def check(self) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with."""
        for field in ("learning_rate", "weight_scale"):
            expect(getattr(self, field), field, "a finite number > 0", lambda x: math.isfinite(x) and x > 0)
        expect(
            self.activation_learning_rate,
            "activation_learning_rate",
            "a finite number >= 0",
            lambda x: math.isfinite(x) and x >= 0,
        )
        for field in (
            "kernel_size",
            "pool_size",
            "training_images",
            "batch_size",
            "iterations",
            "trials",
            "test_every",
        ):
            expect(getattr(self, field), field, "an integer >= 1", lambda x: x >= 1)
        expect(self.kernel_size, "kernel_size", "an odd number [A, eq. 3]", lambda x: x % 2 == 1)
        expect(self.training_images, "training_images", f"a multiple of {CLASSES}", lambda x: x % CLASSES == 0)
        most = self.training_images
        expect(self.batch_size, "batch_size", f"at most {most}, the training images", lambda x: x <= most)
        expect(self.iterations, "iterations", "at most 2**31 - 1", lambda x: x < 2**31)
        expect(self.trials, "trials", "at most 2**32, the number of seeds", lambda x: x <= MAX_SEED + 1)
        check_first_seed(self.first_seed, self.trials)
        expect(self.subset_seed, "subset_seed", "an integer >= 0", lambda x: x >= 0)
        if self.initial_a is not None:
            expect(self.initial_a, "initial_a", "a finite number", math.isfinite)
        for field, kinds in (("padding", Padding), ("pooling", Pooling), ("sharing", Sharing)):
            if getattr(self, field) not in get_args(kinds):
                raise ValueError(
                    f"--{field}: expected one of {', '.join(get_args(kinds))}, got {getattr(self, field)!r}"
                )
        if not self.combinations:
            raise ValueError("--combinations: expected at least one pair of activations, got none")
        if len(set(self.combinations)) < len(self.combinations):
            raise ValueError(f"--combinations: expected each pair once, got {_pairs(self.combinations)}")
        self._check_maps()

    def _check_maps(self) -> None:
        side = IMAGE_SIDE
        for layer in range(1, len(FILTERS) + 1):
            side -= 0 if self.padding == "same" else self.kernel_size - 1
            if side < self.pool_size:
                raise ValueError(
                    f"--kernel-size {self.kernel_size}, --padding {self.padding}, --pool-size {self.pool_size}: "
                    f"expected at least one window to pool in convolutional layer {layer}, got a map {max(side, 0)} "
                    f"pixels wide; pad, pool less or take smaller kernels"
                )
            side //= self.pool_size

    def records(self) -> dict[Combination, tuple[Activation, Activation]]:
        """The activations of the convolutional layers and of the dense layer, by combination.

        Raises:
          ValueError: if a name is unknown.
        """
        from paramact_jax.activations import catalogue

        return {(conv, dense): (catalogue.get(conv), catalogue.get(dense)) for conv, dense in self.combinations}


SEARCH_GRID: dict[str, tuple[object, ...]] = {
    "pooling": ("max", "average"),
    "learning_rate": (0.1, 0.3, 1.0),
    "weight_scale": (1.0, math.sqrt(2)),
    "initial_a": (None, 1.0),
}
"""The values tried for what [A] leaves open, one choice for all twelve combinations, by the loss on images of the
training split that are not trained on. a and b learn at the rate of the weights; windows are 2 x 2. Not searched are
the filters' size, since 5 x 5 takes 2.6 times as long as 3 x 3, and the padding: without it three layers of 3 x 3 leave
one pixel of four filters to tell ten digits by."""


def search_cells(base: Protocol) -> list[Protocol]:
    """The cells of SEARCH_GRID, everything else as in `base`.

    Examples:
      >>> cells = search_cells(Protocol())
      >>> len(cells), cells[0].learning_rate, cells[0].activation_learning_rate
      (24, 0.1, 0.1)
    """
    cells = []
    for values in itertools.product(*SEARCH_GRID.values()):
        chosen = dict(zip(SEARCH_GRID, values, strict=True))
        chosen["activation_learning_rate"] = chosen["learning_rate"]
        cells.append(dataclasses.replace(base, **chosen))  # type: ignore[arg-type]  # values of the grid are of the fields' types
    return cells


def _pairs(combinations: tuple[Combination, ...]) -> str:
    return ", ".join("/".join(pair) for pair in combinations)
