import dataclasses

import numpy as np
import pytest

from paramact_jax.datasets import Digits, synthetic_mnist
from paramact_jax.datasets.digits import from_pixels
from paramact_jax.datasets.mnist_files import Pixels


def parts(**changes):
    images, labels = np.zeros((3, 784), np.float32), np.zeros(3, np.int32)
    return {
        "train_images": images,
        "train_labels": labels,
        "test_images": images,
        "test_labels": labels,
        "source": "a test",
        "synthetic": True,
    } | changes


@pytest.mark.parametrize("name", ["train_images", "train_labels", "test_images", "test_labels"])
def test_read_only(name):
    digits = synthetic_mnist(10, 10)
    with pytest.raises(ValueError, match="read-only"):
        getattr(digits, name)[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(digits, name, None)


def test_the_arrays_of_the_caller_stay_writable():
    given = parts()
    Digits(**given)
    given["train_images"][0] = 1


def test_scaling_divides_by_255_and_rounds_once():
    levels = np.resize(np.arange(256, dtype=np.uint8), (1, 28, 28))
    label = np.array([9], np.uint8)
    digits = from_pixels(Pixels(levels, label, levels, label), flatten=False, source="a test", synthetic=True)
    assert digits.train_images.dtype == np.float32
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    np.testing.assert_array_equal(digits.train_images, (levels / 255).astype(np.float32))
    assert (digits.train_labels.dtype, digits.train_labels.tolist()) == (np.int32, [9])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((3, 784))}, "expected train_images as float32 .* got float64"),
        ({"test_images": np.zeros(3, np.float32)}, r"expected test_images .* got float32 of shape \(3,\)"),
        (
            {"test_images": np.zeros((3, 28), np.float32)},
            r"expected test_images of the shape of .*\(784,\), got \(28,\)",
        ),
        ({"test_labels": np.zeros(3, np.uint8)}, "expected test_labels as int32 .* got uint8"),
        ({"train_labels": np.zeros(2, np.int32)}, r"expected train_labels .* \(3,\), one for each image"),
        ({"test_labels": np.array([0, -1, 1], np.int32)}, "expected test_labels from 0, got -1 to 1"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Digits(**parts(**changes))
