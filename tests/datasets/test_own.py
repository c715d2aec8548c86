"""A user's own images: IDX files, .npz files, what TFDS has prepared."""

import gzip

import numpy as np
import pytest

from experiments.problems.digits import load
from paramact_jax.datasets import load_images, load_mnist, to_idx
from paramact_jax.datasets.mnist_files import ORIGINALS

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 6, 5)).astype(np.uint8)
LABELS = (np.arange(20) % 12).astype(np.uint8)
ARRAYS = {"train_images": PIXELS, "train_labels": LABELS, "test_images": PIXELS[:8], "test_labels": LABELS[:8]}


@pytest.fixture
def directory(tmp_path):
    for (name, _, _), array in zip(ORIGINALS, ARRAYS.values(), strict=True):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(to_idx(array)))
    return tmp_path


def test_four_idx_files_of_another_size_and_number_of_classes(directory):
    found = load_images(directory, flatten=False)
    np.testing.assert_array_equal(found.train_images, (PIXELS / 255).astype(np.float32))
    np.testing.assert_array_equal(found.test_labels, LABELS[:8])
    assert (found.classes, found.mnist, found.synthetic) == (12, False, False)
    assert str(directory) in found.source
    changed = PIXELS.copy()
    changed[0, 0, 0] += 1
    (directory / f"{ORIGINALS[0].name}.gz").write_bytes(gzip.compress(to_idx(changed)))
    assert load_images(directory).source != found.source
    assert load(str(directory), None).train_images.shape == (20, 30)


@pytest.mark.parametrize("names", [list(ARRAYS), ["x_train", "y_train", "x_test", "y_test"]])
def test_an_npz_file(names, tmp_path):
    np.savez(tmp_path / "mine.npz", **dict(zip(names, ARRAYS.values(), strict=True)))
    np.testing.assert_array_equal(
        load_images(tmp_path / "mine.npz").test_images, PIXELS[:8].reshape(8, 30) / np.float32(255)
    )


def test_floats_stay_as_they_are_and_labels_may_have_an_axis_of_their_own(tmp_path):
    colours = RNG.normal(size=(20, 4, 4, 3))
    changed = {"train_images": colours, "test_images": colours[:8], "train_labels": LABELS[:, None].astype(np.int64)}
    np.savez(tmp_path / "mine.npz", **(ARRAYS | changed))
    found = load_images(tmp_path / "mine.npz", flatten=False)
    np.testing.assert_array_equal(found.train_images, colours.astype(np.float32))
    np.testing.assert_array_equal(found.train_labels, LABELS)
    assert load_images(tmp_path / "mine.npz").train_images.shape == (20, 48)


def test_what_tfds_has_prepared(small, tmp_path):
    expected = load_mnist(small, source="tfds", tfds_dir=tmp_path, cache=False)
    found = load_images("tfds:mnist", tfds_dir=tmp_path)
    assert sorted(x.tobytes() for x in found.train_images) == sorted(x.tobytes() for x in expected.train_images)
    label_of = {x.tobytes(): label for x, label in zip(expected.test_images, expected.test_labels, strict=True)}
    assert [label_of[x.tobytes()] for x in found.test_images] == found.test_labels.tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_labels": None}, "expected arrays named test_labels or y_test, got none"),
        ({"train_labels": LABELS / 2}, "expected train_labels as integers of shape"),
        ({"train_labels": LABELS[:5]}, r"expected train_labels as int32 of shape \(20,\), one for each image"),
        ({"test_images": PIXELS[:8, :3]}, "expected test_images of the shape of train_images"),
        ({"train_images": PIXELS.astype(np.int64)}, "expected images of bytes or of floats, got int64"),
        ({"train_labels": LABELS.astype(np.int32) - 1}, "expected train_labels from 0, got -1"),
        ({"train_labels": 2 * LABELS}, "images of every class from 0 to 22, got none of 1, 3, 5, 7, 9;"),
    ],
)
def test_arrays_that_are_no_labelled_images_are_refused(changed, message, tmp_path):
    np.savez(tmp_path / "mine.npz", **{name: x for name, x in (ARRAYS | changed).items() if x is not None})
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path / "mine.npz")


def test_a_place_without_images_is_told_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"an .npz file or tfds:NAME, got nothing at "):
        load_images(tmp_path / "nothing")
    (tmp_path / "text.npz").write_text("no zip file")
    with pytest.raises(ValueError, match=r"expected an .npz file of NumPy"):
        load_images(tmp_path / "text.npz")
    with pytest.raises(
        ValueError, match=r"expected images and labels that TFDS has prepared in .*got .*download_and_prep"
    ):
        load_images("tfds:kmnist", tfds_dir=tmp_path)
    with pytest.raises(ValueError, match="--data: expected one of auto, idx, tfds, synthetic, or images of your own"):
        load("fashion", None)
