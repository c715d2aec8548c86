"""The images that a study trains on, and what its report says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.study.options import arg
from experiments.study.study import Variable

if TYPE_CHECKING:
    import xarray as xr

    from paramact_jax.datasets import Digits

Data = Annotated[
    str,
    arg(
        help="Where the images come from. MNIST: the original files (idx) or TensorFlow Datasets (tfds); auto: the "
        "original files if --data-dir or PARAMACT_DATA names their directory, else TensorFlow Datasets. synthetic: "
        "images that only look like it, which need no files and say nothing about MNIST. Or images of your own, of any "
        "size and number of classes (the cnn commands: 28 x 28, 10 classes): a directory with four IDX files, an .npz "
        "file, or tfds:NAME; see paramact_jax.datasets.load_images."
    ),
]
DataDir = Annotated[
    Path | None,
    arg(help="Directory of MNIST's four original files (default: PARAMACT_DATA in the environment)."),
]

_OF_MNIST = ("auto", "idx", "tfds")
_SYNTHETIC = (2_000, 500)
"""Training and test images."""


def load(data: str, data_dir: Path | None, *, flatten: bool = True) -> Digits:
    """Loads MNIST, the stand-in that needs no files, or other images.

    Args:
      data: "synthetic", a source of `load_mnist`, or one of `load_images`.
      data_dir: the directory of the original files.
      flatten: whether an image has one axis.

    Raises:
      ValueError: in one line, if there is no such data, or it is damaged.
    """
    from paramact_jax.datasets import load_images, load_mnist, synthetic_mnist

    if data_dir is not None and data not in _OF_MNIST:
        raise ValueError(f"--data-dir: expected none with --data {data}, got {data_dir}; leave one of them out")
    if data == "synthetic":
        return synthetic_mnist(*_SYNTHETIC, flatten=flatten)
    if data not in _OF_MNIST:
        try:
            return load_images(data, flatten=flatten)
        except (OSError, ValueError, ImportError) as error:
            known = ", ".join((*_OF_MNIST, "synthetic"))
            raise ValueError(f"--data: expected one of {known}, or images of your own: {error}") from error
    try:
        return load_mnist(data_dir, source=data, flatten=flatten)  # type: ignore[arg-type]  # one of its sources
    except (OSError, ImportError) as error:
        raise ValueError(f"--data-dir: {error}") from error


def images_of(digits: Digits) -> dict[str, Any]:
    """Returns the setting `data` of a `Classifier`; all seeds share it."""
    return {name: getattr(digits, name) for name in ("train_images", "train_labels", "test_images", "test_labels")}


def hold_out(digits: Digits) -> tuple[Digits, dict[str, Any]]:
    """Keeps back the last sixth of the training images, to choose conditions by: 10,000 of MNIST's 60,000.

    Returns:
      The digits with the other training images, and entries of the setting `data` with those kept back.

    Raises:
      ValueError: for fewer than 6 training images.
    """
    kept_back = len(digits.train_labels) // 6
    if not kept_back:
        raise ValueError(f"expected 6 training images or more, to keep some back, got {len(digits.train_labels)}")
    images, labels = digits.train_images, digits.train_labels
    rest = dataclasses.replace(digits, train_images=images[:-kept_back], train_labels=labels[:-kept_back])
    return rest, {"held_out_images": images[-kept_back:], "held_out_labels": labels[-kept_back:]}


def source_of(digits: Digits) -> dict[str, Any]:
    """Returns attributes of records that say where the images come from."""
    return {"source": digits.source, "synthetic": int(digits.synthetic)} | ({} if digits.mnist else {"mnist": 0})


def is_mnist(records: xr.Dataset) -> bool:
    """Returns whether the images are those of MNIST. Published results can be expected of these alone."""
    return not records.attrs["synthetic"] and bool(records.attrs.get("mnist", 1))


def scores(when: str, *dims: str, held_out: bool = False) -> dict[str, Variable]:
    """Returns the scores of a `Classifier` as variables of records.

    Args:
      when: the steps of the scores of test images, in words.
      dims: of these scores.
      held_out: whether images are held out too, which are scored after the last step.
    """
    loss, accuracy = "mean cross-entropy over", "share of all test images whose digit has the largest output"
    found = {
        "test_loss": Variable("test.loss", f"{loss} all test images {when}", dims),
        "test_accuracy": Variable("test.accuracy", accuracy, dims),
    }
    kept_back = Variable("held_out.loss", f"{loss} the training images kept back, after the last step")
    return found | ({"held_out_loss": kept_back} if held_out else {})
