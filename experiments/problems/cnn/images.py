"""Which images the convolutional networks are trained and scored on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments.problems.digits import Data
from experiments.problems.digits import load as load_digits
from paramact_jax.datasets import Digits, balanced_subset, synthetic_mnist

_SYNTHETIC_TEST = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images with their labels, as the trainings take them.

    Attributes:
      train_images: (n, 28, 28, 1).
      train_labels: (n,).
      test_images: those that are scored, likewise.
      test_labels: likewise.
      source: where they come from.
      synthetic: whether they are a stand-in for MNIST.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str
    synthetic: bool

    def settings(self) -> dict[str, Any]:
        """What all trials share."""
        return {name: getattr(self, name) for name in ("train_images", "train_labels", "test_images", "test_labels")}


def load(source: Data, data_dir: Path | None, training_images: int) -> Digits:
    """MNIST, or a stand-in of twice as many training images as are trained with.

    Raises:
      ValueError: in one line, if there is no such data, or it is damaged.
    """
    digits = load_digits(source, data_dir, flatten=False)
    return synthetic_mnist(2 * training_images, _SYNTHETIC_TEST, flatten=False) if digits.synthetic else digits


def for_training(digits: Digits, training_images: int, seed: int) -> Images:
    """The same number of training images of each digit [A, section 4], and all test images.

    Args:
      digits: of shape (n, 28, 28).
      training_images: how many.
      seed: of the draw.

    Raises:
      ValueError: in one line, if a digit has too few images.
    """
    chosen = _drawn(digits, training_images, seed)
    return Images(
        _with_channel(digits.train_images[chosen]),
        digits.train_labels[chosen],
        _with_channel(digits.test_images),
        digits.test_labels,
        source=digits.source,
        synthetic=digits.synthetic,
    )


def for_search(digits: Digits, training_images: int, seed: int) -> Images:
    """The same training images, and as many others of the training split to score on; no test image.

    Args:
      digits: of shape (n, 28, 28).
      training_images: how many.
      seed: of the draw.

    Raises:
      ValueError: in one line, if a digit has too few images.
    """
    chosen = _drawn(digits, training_images, seed)
    # a smaller draw lies inside a larger one of the same seed
    held_out = np.setdiff1d(_drawn(digits, 2 * training_images, seed), chosen)
    return Images(
        _with_channel(digits.train_images[chosen]),
        digits.train_labels[chosen],
        _with_channel(digits.train_images[held_out]),
        digits.train_labels[held_out],
        source=f"{digits.source}, training split alone",
        synthetic=digits.synthetic,
    )


def _drawn(digits: Digits, total: int, seed: int) -> np.ndarray:
    try:
        return balanced_subset(digits.train_labels, total=total, seed=seed)
    except ValueError as error:
        raise ValueError(f"--training-images: {error}") from error


def _with_channel(images: np.ndarray) -> np.ndarray:
    return images[..., None]
