"""What is trained, and from which scales. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from experiments.study.option_checks import check_each_once, check_first_seed, check_positive
from paramact_jax.papers.student_report import HE, STEPS_A_LINE

HIDDEN_LAYERS = 4
CLASSES = 10
PIXELS = 784
BATCH = 100
ACTIVATIONS = ("sigmoid", "tanh", "relu", "ppns", "parametric_tanh", "parametric_relu")
CANDIDATES = ("sigmoid", "tanh", "relu")
"""What [R] may have trained: the functions of the book, which has no trainable ones."""
SMALL, AS_R = "0.01", "he-hidden"
"""The two scales that [R] prints."""
PRINTED_SCALES = (SMALL, AS_R)
PRINTED_STEPS = STEPS_A_LINE * (len(HE.lines) - 1)
"""Steps before the last printed line."""

_RULES: dict[str, tuple[str, Callable[[int, int], float]]] = {
    "xavier": ("1/sqrt(fan_in)", lambda fan_in, width: 1 / math.sqrt(fan_in)),
    "he": ("sqrt(2/fan_in)", lambda fan_in, width: math.sqrt(2 / fan_in)),
    AS_R: ("sqrt(2/width) in all layers, as R", lambda fan_in, width: math.sqrt(2 / width)),
}
SCALES = (SMALL, "0.03", "0.1", "xavier", "he", AS_R, "1")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides the results beside the images.

    Attributes:
      activations: names in the catalogue.
      scales: of the initial weights, see `deviations`.
      width: nodes in each of the four hidden layers.
      learning_rate: of everything.
      steps: of gradient descent, on batches of 100 that are drawn with replacement.
      rates: learning rates at which the two runs of [R] are made again.
      printed_steps: steps of these.
      every: steps between two scores.
      seeds: number of networks in each cell; network i has seed first_seed + i.
      first_seed: see seeds.
    """

    activations: tuple[str, ...] = ACTIVATIONS
    scales: tuple[str, ...] = SCALES
    width: int = 50
    learning_rate: float = 0.1
    steps: int = 2_400
    rates: tuple[float, ...] = (0.1, 0.01)
    printed_steps: int = PRINTED_STEPS
    every: int = STEPS_A_LINE
    seeds: int = 3
    first_seed: int = 0

    @property
    def all_scales(self) -> tuple[str, ...]:
        """Those of [R], and the others."""
        return tuple(dict.fromkeys((*PRINTED_SCALES, *self.scales)))

    def check(self) -> None:
        """Raise ValueError, in one line that says what was expected, for a value that cannot be trained with."""
        check_each_once("--activations", self.activations)
        check_each_once("--scales", self.scales)
        for scale in self.scales:
            deviations(scale, self.width)
        if len({deviations(scale, self.width) for scale in self.scales}) < len(self.scales):
            raise ValueError(f"--scales: expected scales that differ, got {list(self.scales)}; leave one of two out")
        check_positive("--learning-rate", [self.learning_rate])
        check_positive("--rates", self.rates)
        for option in ("width", "steps", "printed_steps", "every"):
            if not 1 <= getattr(self, option) < 2**31:
                name = option.replace("_", "-")
                raise ValueError(f"--{name}: expected an integer within 1..2**31 - 1, got {getattr(self, option)}")
        if self.seeds < 2:
            raise ValueError(f"--seeds: expected 2 or more, for an interval, got {self.seeds}")
        check_first_seed(self.first_seed, self.seeds)


def deviations(scale: str, width: int) -> tuple[float, ...]:
    """Standard deviations of the initial weights of every layer, the output's last.

    Args:
      scale: a number for all layers, or the name of a rule.
      width: nodes in each hidden layer.

    Raises:
      ValueError: in one line, for what is neither a rule nor a number > 0.

    Examples:
      >>> [round(deviation, 3) for deviation in deviations("he", 50)]
      [0.051, 0.2, 0.2, 0.2, 0.2]
      >>> deviations("0.01", 50)
      (0.01, 0.01, 0.01, 0.01, 0.01)
    """
    fan_ins: Sequence[int] = (PIXELS, *[width] * HIDDEN_LAYERS)
    if scale in _RULES:
        return tuple(_RULES[scale][1](fan_in, width) for fan_in in fan_ins)
    try:
        number = float(scale)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"--scales: expected numbers > 0 or one of {', '.join(_RULES)}, got {scale!r}")
    return (number,) * len(fan_ins)


def described(scale: str) -> str:
    """A scale as tables name it.

    Examples:
      >>> described("he"), described("0.01")
      ('he: sqrt(2/fan_in)', '0.01')
    """
    return f"{scale}: {_RULES[scale][0]}" if scale in _RULES else scale
