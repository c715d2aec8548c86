"""A set of labelled images of digits, for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.mnist_files import Pixels


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of digits with their labels, as read-only NumPy arrays.

    Attributes:
      train_images: float32 in [0, 1], of shape (n, 784) or (n, 28, 28).
      train_labels: int32 from 0 to 9, of shape (n,).
      test_images: As `train_images`, any number.
      test_labels: As `train_labels`.
      source: Where the data came from, for records and headings.
      synthetic: True if these are not handwritten digits but a stand-in.

    Raises:
      ValueError: An array has another type or shape, or a label lies outside 0 to 9.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int32]
    source: str
    synthetic: bool

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != np.float32 or images.shape[1:] not in ((784,), (28, 28)):
                raise ValueError(
                    f"expected {split}_images as float32 of shape (n, 784) or (n, 28, 28), got {images.dtype} of shape "
                    f"{images.shape}; convert or reshape them"
                )
            if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"expected {split}_labels as int32 of shape {images.shape[:1]}, one for each image, got "
                    f"{labels.dtype} of shape {labels.shape}; convert them, or cut both to one length"
                )
            if labels.size and not (labels.min() >= 0 and labels.max() <= 9):
                raise ValueError(
                    f"expected {split}_labels from 0 to 9, got {labels.min()} to {labels.max()}; "
                    "number the classes from 0"
                )
            for name, array in ((f"{split}_images", images), (f"{split}_labels", labels)):
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    def __repr__(self) -> str:
        shapes = f"{self.train_images.shape} to train, {self.test_images.shape} to test"
        return f"Digits({shapes}, {self.source})"


def from_pixels(pixels: Pixels, *, flatten: bool, source: str, synthetic: bool) -> Digits:
    """Min-max scaled images: x / 255, where 0 and 255 are the smallest and largest value that a pixel can have.

    Args:
      pixels: Images (n, 28, 28) and labels.
      flatten: Give images as (n, 784), rows of the picture one after another.
      source: As in `Digits`.
      synthetic: As in `Digits`.
    """

    def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = np.divide(images, np.float32(255), dtype=np.float32)
        return values.reshape(len(values), -1) if flatten else values

    return Digits(
        scaled(pixels.train_images),
        pixels.train_labels.astype(np.int32),
        scaled(pixels.test_images),
        pixels.test_labels.astype(np.int32),
        source=source,
        synthetic=synthetic,
    )
