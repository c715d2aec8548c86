"""A data set of TensorFlow Datasets that cannot be read, or holds something else, is refused by name."""

import re

import numpy as np
import pytest

from paramact_jax.datasets import load_mnist, mnist_files
from paramact_jax.datasets.mnist_tfds import prepare_tfds


def cut_records(directory):
    path = next(directory.glob("*train.array_record*"))
    path.write_bytes(path.read_bytes()[:-3000])


def change_records(directory):
    path = next(directory.glob("*train.array_record*"))
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    used = np.flatnonzero(data)  # the rest is padding, which nobody reads
    data[used[len(used) // 3]] ^= 0xFF
    path.write_bytes(data.tobytes())


def lose_records(directory):
    next(directory.glob("*test.array_record*")).unlink()


def lose_info(directory):
    (directory / "dataset_info.json").unlink()


def cut_info(directory):
    path = directory / "dataset_info.json"
    path.write_bytes(path.read_bytes()[:100])


def claim_another_format(directory):
    path = directory / "dataset_info.json"
    path.write_text(path.read_text().replace("array_record", "tfrecord"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_records, "expected readable records, got "),
        (change_records, "expected readable records, got "),
        (lose_records, "expected readable records, got "),
        (lose_info, "expected a complete data set of TFDS, got none"),
        (cut_info, "expected a complete data set of TFDS, got none"),
        (claim_another_format, "expected the format array_record, got tfrecord, which only TensorFlow reads"),
    ],
)
def test_a_damaged_data_set_is_refused_by_name(small, tfds_dir, damage, message, copy):
    directory = prepare_tfds(tfds_dir, mnist_files.read_files(mnist_files.locate(small)))
    damage(directory)
    with pytest.raises(ValueError, match=f"^{re.escape(str(directory))}: {message}") as caught:
        load_mnist(source="tfds", tfds_dir=tfds_dir)
    assert "delete this directory" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not copy.exists()


def test_a_sound_data_set_with_other_images(small, tfds_dir):
    pixels = mnist_files.read_files(mnist_files.locate(small))
    directory = prepare_tfds(tfds_dir, pixels._replace(test_labels=pixels.test_labels[::-1]))
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(directory))}: expected MNIST, got other records .*t10k-labels"
    ):
        load_mnist(source="tfds", tfds_dir=tfds_dir)
