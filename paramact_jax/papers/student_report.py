"""[R]: the numbers that the student report prints for a network of five layers on MNIST, from two initial scales."""

from __future__ import annotations

import dataclasses
import math

TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000


@dataclasses.dataclass(frozen=True)
class PrintedRun:
    """The printed accuracies of one training.

    Attributes:
      initial: standard deviation of all initial weights, as printed.
      lines: one (train, test) accuracy for each line.

    Raises:
      ValueError: if an accuracy is not a whole number of images divided by their number, or there is no line.
    """

    initial: str
    lines: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError(f"{self.initial}: expected at least one line, got none")
        for line in self.lines:
            for accuracy, images in zip(line, (TRAIN_IMAGES, TEST_IMAGES), strict=True):
                right = accuracy * images
                if not (0 <= right <= images and math.isclose(right, round(right), abs_tol=1e-6)):
                    raise ValueError(f"{self.initial}: expected a share of {images} images, got {accuracy}")

    @property
    def test(self) -> tuple[float, ...]:
        """The test accuracies.

        Examples:
          >>> HE.test[0], HE.test[-1]
          (0.1157, 0.942)
        """
        return tuple(test for _, test in self.lines)


_LABEL_1 = (0.11236666666666667, 0.1135)
_LABEL_7 = (0.10441666666666667, 0.1028)

SMALL = PrintedRun("0.01", (*[_LABEL_1] * 10, _LABEL_7, *[_LABEL_1] * 5))
"""[R, section 3]: "the loss function is not updated". 16 lines: 15 have the shares of label 1, one those of label 7."""

HE = PrintedRun(
    "sqrt(2/hidden1_size)",
    (
        (0.12055, 0.1157),
        (0.8010833333333334, 0.8104),
        (0.8558833333333333, 0.861),
        (0.8818833333333334, 0.8847),
        (0.8953666666666666, 0.8964),
        (0.9051166666666667, 0.9082),
        (0.9127833333333333, 0.9142),
        (0.9185666666666666, 0.9188),
        (0.9264833333333333, 0.9265),
        (0.9287333333333333, 0.9275),
        (0.9323166666666667, 0.9313),
        (0.9363833333333333, 0.9354),
        (0.9375666666666667, 0.9345),
        (0.94175, 0.939),
        (0.9435, 0.9385),
        (0.9438166666666666, 0.9388),
        (0.9461833333333334, 0.942),
    ),
)
"""[R, section 3]: the same network with "He's initial value"; every layer uses the size of the first hidden layer."""

LABEL_SHARES = {1: _LABEL_1, 7: _LABEL_7}
"""Label -> its share of the training and of the test images; all lines of `SMALL` have these values."""

STEPS_A_LINE = 600
"""Steps from one line to the next, as we read it. [R] works with a book (Saitoh, "Deep Learning from Scratch", ch. 5).
The book's script has batches of 100 out of 60,000 images and 10,000 iterations. It prints both accuracies at iterations
0, 600, ... 9,600: 17 lines, as in `HE`. [R] does not print its widths, the activation, or the learning rate, which is
0.1 in the book."""
