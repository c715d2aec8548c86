"""The decoded copy that makes the second start instant."""

from pathlib import Path

import numpy as np
import pytest

from paramact_jax.datasets import load_mnist, mnist


def assert_same(found, expected):
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.fixture
def kept(small, tfds_dir, copy, monkeypatch):
    """What the copy was made from; whoever reads TFDS once more is counted in the returned list."""
    digits = load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert sorted(path.name for path in copy.iterdir()) == sorted(original.name for original in mnist.ORIGINALS)
    reads = []
    read_tfds = mnist.read_tfds
    monkeypatch.setattr(mnist, "read_tfds", lambda directory: reads.append(directory) or read_tfds(directory))
    return digits, reads


def test_the_second_start_reads_the_copy(kept, tfds_dir, copy):
    digits, reads = kept
    found = load_mnist(tfds_dir=tfds_dir)
    assert_same(found, digits)
    assert found.source == f"TensorFlow Datasets mnist/3.0.1, decoded copy in {copy}"
    assert (reads, list(copy.parent.iterdir())) == ([], [copy])


def test_no_cache_reads_no_copy(kept, tfds_dir):
    digits, reads = kept
    assert_same(load_mnist(tfds_dir=tfds_dir, cache=False), digits)
    assert reads == [tfds_dir]


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_copy_is_noticed_and_made_anew(kept, tfds_dir, copy, name, damage):
    digits, reads = kept
    path = copy / name
    sound = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(sound[:-1] if damage == "cut" else sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.warns(UserWarning, match=f"decoded copy of MNIST is damaged and is made again .*{name}") as caught:
        found = load_mnist(tfds_dir=tfds_dir)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_same(found, digits)
    assert (reads, path.read_bytes(), list(copy.parent.iterdir())) == ([tfds_dir], sound, [copy])


def test_a_copy_that_cannot_be_kept(small, tfds_dir, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("PARAMACT_CACHE", str(tmp_path / "a file"))
    with pytest.warns(UserWarning, match="could not be kept .* set PARAMACT_CACHE") as caught:
        found = load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert caught[0].filename == __file__
    assert_same(found, load_mnist(small))


def test_a_copy_written_halfway_leaves_nothing(small, tfds_dir, copy, monkeypatch):
    def full(path, contents):
        if path.name == mnist.ORIGINALS[1].name:
            raise OSError("no space left on device")
        return write_bytes(path, contents)

    write_bytes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="no space left on device"):
        load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert list(copy.parent.iterdir()) == []
