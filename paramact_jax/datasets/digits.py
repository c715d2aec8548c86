"""A set of labelled images of digits, for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.mnist_files import Pixels


@dataclass(frozen=True, eq=False)
class Digits:
    """Labelled images for training and for testing, as read-only NumPy arrays: MNIST or another set of images.

    Attributes:
      train_images: float32, of shape (n, pixels), (n, height, width) or (n, height, width, channels); MNIST's lie
        between 0 and 1.
      train_labels: int32 from 0, of shape (n,).
      test_images: As `train_images`; any number of images.
      test_labels: As `train_labels`.
      source: Where the data came from, for records and headings.
      synthetic: True for synthetic images, which replace real ones in tests and examples.
      mnist: False for another set of images; its results cannot be compared with those of the papers.

    Raises:
      ValueError: An array has another type or shape, images to train and to test differ in shape, or a label is
        negative.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int32]
    source: str
    synthetic: bool
    mnist: bool = True

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != np.float32 or not 2 <= images.ndim <= 4:
                raise ValueError(
                    f"expected {split}_images as float32 of shape (n, pixels), (n, height, width) or (n, height, "
                    f"width, channels), got {images.dtype} of shape {images.shape}; convert or reshape them"
                )
            if images.shape[1:] != self.train_images.shape[1:]:
                raise ValueError(
                    f"expected {split}_images of the shape of train_images, {self.train_images.shape[1:]}, got "
                    f"{images.shape[1:]}; reshape them"
                )
            if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"expected {split}_labels as int32 of shape {images.shape[:1]}, one for each image, got "
                    f"{labels.dtype} of shape {labels.shape}; convert them, or cut both to one length"
                )
            if labels.size and labels.min() < 0:
                raise ValueError(
                    f"expected {split}_labels from 0, got {labels.min()} to {labels.max()}; number the classes from 0"
                )
            for name, array in ((f"{split}_images", images), (f"{split}_labels", labels)):
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @property
    def classes(self) -> int:
        """The number of classes, which is the largest label plus 1."""
        return int(max(labels.max(initial=0) for labels in (self.train_labels, self.test_labels))) + 1

    def __repr__(self) -> str:
        shapes = f"{self.train_images.shape} to train, {self.test_images.shape} to test"
        return f"Digits({shapes}, {self.source})"


def from_pixels(pixels: Pixels, *, flatten: bool, source: str, synthetic: bool, mnist: bool = True) -> Digits:
    """Returns min-max scaled images, x / 255: a pixel can have values from 0 to 255.

    Args:
      pixels: Images (n, height, width), with or without channels, and labels.
      flatten: Return images as (n, pixels), one row of the picture after another.
      source: As in `Digits`.
      synthetic: As in `Digits`.
      mnist: As in `Digits`.
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
        mnist=mnist,
    )
