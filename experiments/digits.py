"""Which images an experiment on digits uses, and what its report says of them. Imports nothing until it has to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from experiments.run_directory import Run
    from paramact_jax.datasets import Digits

Data = Literal["auto", "idx", "tfds", "synthetic"]

_SYNTHETIC = (2_000, 500)
"""Images to train and to test."""


def load(data: Data, data_dir: Path | None, *, flatten: bool = True) -> Digits:
    """MNIST, or the stand-in that needs no files.

    Args:
      data: "synthetic", or a source of `load_mnist`.
      data_dir: the directory of the original files.
      flatten: whether an image is one axis.

    Raises:
      ValueError: in one line, if there is no such data, or it is damaged.
    """
    from paramact_jax.datasets import load_mnist, synthetic_mnist

    if data == "synthetic":
        if data_dir is not None:
            raise ValueError(f"--data-dir: expected none with --data synthetic, got {data_dir}; leave one of them out")
        return synthetic_mnist(*_SYNTHETIC, flatten=flatten)
    try:
        return load_mnist(data_dir, source=data, flatten=flatten)
    except (OSError, ImportError) as error:
        raise ValueError(f"--data-dir: {error}") from error


def images_of(digits: Digits) -> dict[str, Any]:
    """The settings of a training that hold the images; shared by all seeds."""
    return {
        "train_images": digits.train_images,
        "train_labels": digits.train_labels,
        "test_images": digits.test_images,
        "test_labels": digits.test_labels,
    }


def hold_out(digits: Digits) -> tuple[Digits, dict[str, Any]]:
    """Keep back the last sixth of the training images, to choose conditions by: 10,000 of MNIST's 60,000.

    Returns:
      The digits with the other training images, and the settings of a training that hold those kept back.

    Raises:
      ValueError: for fewer than 6 training images.
    """
    kept_back = len(digits.train_labels) // 6
    if not kept_back:
        raise ValueError(f"expected 6 training images or more, to keep some back, got {len(digits.train_labels)}")
    images, labels = digits.train_images, digits.train_labels
    rest = dataclasses.replace(digits, train_images=images[:-kept_back], train_labels=labels[:-kept_back])
    return rest, {"held_out_images": images[-kept_back:], "held_out_labels": labels[-kept_back:]}


def is_synthetic(run: Run) -> bool:
    """Whether the images are the stand-in, so that nothing published can be expected."""
    return bool(run.records.attrs["synthetic"])


def titled(run: Run, title: str) -> str:
    """The title, with a warning where the images are not MNIST's."""
    return f"{title} - SYNTHETIC IMAGES, NOT MNIST" if is_synthetic(run) else title
