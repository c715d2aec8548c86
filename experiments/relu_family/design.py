"""What is trained, and under which conditions. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses

from experiments.option_checks import check_each_once, check_first_seed, check_positive

ACTIVATIONS = ("relu", "leaky_relu_tenth", "prelu", "elu", "relu6", "parametric_relu")
"""[B1]'s family, the slope below 0 of leaky ReLU 0.1, that of PReLU learned; and a(y - b) of [P, Table 1]."""

LEARNING_RATES = (0.1, 0.3, 1.0)
CLASSES = 10
FAINT = 0.01
"""A unit whose steepest slope is at most this lets a hundredth of the gradient through: as good as dead."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """All that decides the results beside the images.

    Attributes:
      activations: names in the catalogue.
      learning_rates: of all params, one training each.
      seeds: networks of each kind; network i has seed first_seed + i.
      choosing: the first so many choose each activation's learning rate where losses are compared, on training images
        that are held out; the test losses of the others are compared.
      first_seed: see seeds.
      layers: hidden layers.
      width: nodes in each.
      gain: standard deviation of the initial weights times sqrt(fan_in).
      steps: of gradient descent.
      batch: images a step.
      look_every: steps between two looks at the units.
      test_every: steps between two scores of all test images.
      probes: training images, the first ones, that a unit is looked at with.
    """

    activations: tuple[str, ...]
    learning_rates: tuple[float, ...]
    seeds: int
    choosing: int
    first_seed: int
    layers: int
    width: int
    gain: float
    steps: int
    batch: int
    look_every: int
    test_every: int
    probes: int

    def check(self, images: int | None = None) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with.

        Args:
          images: to train with, once they are known.
        """
        from paramact_jax.activations import catalogue

        for name in self.activations:
            catalogue.get(name)
        check_each_once("--activations", self.activations)
        check_positive("--learning-rates", self.learning_rates)
        check_positive("--gain", [self.gain])
        least = dict.fromkeys(("layers", "width", "steps", "batch", "look_every", "test_every", "probes"), 1)
        for field, fewest in (least | {"seeds": 3}).items():
            if getattr(self, field) < fewest:
                option = field.replace("_", "-")
                raise ValueError(f"--{option}: expected {fewest} or more, got {getattr(self, field)}")
        if not 1 <= self.choosing <= self.seeds - 2:
            raise ValueError(f"--choosing: expected an integer within 1..{self.seeds - 2}, got {self.choosing}")
        if self.steps >= 2**31:
            raise ValueError(f"--steps: expected an integer within 1..2**31 - 1, got {self.steps}")
        check_first_seed(self.first_seed, self.seeds)
        for field in ("batch", "probes"):
            if images is not None and getattr(self, field) > images:
                raise ValueError(
                    f"--{field}: expected at most {images}, the number of training images, got {getattr(self, field)}"
                )

    @property
    def looks(self) -> list[int]:
        """Steps made when the units are looked at."""
        return [*range(0, self.steps, self.look_every), self.steps]
