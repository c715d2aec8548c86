"""The real MNIST, where its files are at hand."""

import hashlib
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from paramact_jax.datasets import balanced_subset, load_mnist, mnist_files
from paramact_jax.datasets.mnist_tfds import prepare_tfds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(real):
    return load_mnist(real)


@pytest.fixture(scope="module")
def prepared(real, tmp_path_factory):
    """TFDS's data directory with MNIST prepared in it."""
    directory = tmp_path_factory.mktemp("tfds")
    prepare_tfds(directory, mnist_files.read_files(mnist_files.locate(real)))
    return directory


def test_all_images_in_the_original_order(digits):
    assert digits.train_images.shape == (60_000, 784)
    assert digits.test_images.shape == (10_000, 784)
    assert digits.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(digits.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(digits.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_known_mean_and_deviation(digits):
    assert round(float(digits.train_images.mean(dtype=np.float64)), 4) == 0.1307
    assert round(float(digits.train_images.std(dtype=np.float64)), 4) == 0.3081
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)


def test_the_files_are_those_that_tfds_expects(real):
    import tensorflow_datasets

    checksums = Path(tensorflow_datasets.__file__).parent / "url_checksums" / "mnist.txt"
    expected = {line.split("\t")[3]: line.split("\t")[2] for line in checksums.read_text().splitlines()}
    for original in mnist_files.ORIGINALS:
        name = f"{original.name}.gz"
        assert hashlib.sha256((real / name).read_bytes()).hexdigest() == expected[name]


def test_5000_images_evenly(digits):
    chosen = balanced_subset(digits.train_labels, total=5_000)
    assert np.bincount(digits.train_labels[chosen]).tolist() == [500] * 10
    with pytest.raises(ValueError, match="expected 5422 examples of each class, got 5421 of class 5"):
        balanced_subset(digits.train_labels, per_class=5_422)


def test_tfds_gives_the_same_as_the_files(digits, prepared, tmp_path):
    through = load_mnist(source="tfds", tfds_dir=prepared)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(through, name), getattr(digits, name))
    assert through.source == f"TensorFlow Datasets mnist/3.0.1, prepared in {prepared}"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        again = load_mnist(source="tfds", tfds_dir=prepared)
        seconds.append(time.perf_counter() - start)
    assert again.source == f"TensorFlow Datasets mnist/3.0.1, decoded copy in {tmp_path / 'cache' / 'mnist'}"
    np.testing.assert_array_equal(again.train_images, digits.train_images)
    np.testing.assert_array_equal(again.test_labels, digits.test_labels)
    assert min(seconds) < 1


def test_what_is_prepared_is_tfds_own(prepared):
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist", data_dir=prepared)
    assert builder.info.full_name == "mnist/3.0.1"
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 60_000,
        "test": 10_000,
    }
    example = tfds.data_source("mnist", data_dir=prepared, split="test")[0]
    assert (example["image"].shape, example["image"].dtype) == ((28, 28, 1), np.uint8)
    assert example["label"] == 2  # the first of TFDS's own order, stored_order("test", 10_000)[0] == 8_150


def test_memory(real):
    tracemalloc.start()
    load_mnist(real)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400e6  # the result is 220 MB
