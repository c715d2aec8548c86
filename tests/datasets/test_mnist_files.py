"""Reading the original files, and refusing all others by name."""

import gzip
import re
import socket

import numpy as np
import pytest

from paramact_jax.datasets import load_mnist, mnist_files, read_idx, to_idx

NAMES = [original.name for original in mnist_files.ORIGINALS]


def test_small_files_give_their_arrays(small):
    digits = load_mnist(small, flatten=False)
    images, labels = (read_idx(small / f"{name}.gz") for name in NAMES[2:])
    np.testing.assert_array_equal(digits.test_images, (images / 255).astype(np.float32))
    np.testing.assert_array_equal(digits.test_labels, labels)
    assert digits.source == f"the original files in {small}"
    assert not digits.synthetic


def test_the_environment_names_the_directory(small, monkeypatch):
    monkeypatch.setenv("PARAMACT_DATA", str(small))
    assert load_mnist().source == load_mnist(source="idx").source == load_mnist(small).source


def test_an_argument_comes_before_the_environment(small, monkeypatch):
    monkeypatch.setenv("PARAMACT_DATA", str(small / "elsewhere"))
    assert str(small) in load_mnist(small).source


def test_unzipped_or_compressed_by_another_program(small):
    expected = load_mnist(small)
    for name in NAMES[:2]:
        path = small / f"{name}.gz"
        (small / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for name in NAMES[2:]:
        path = small / f"{name}.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=1))
    found = load_mnist(small)
    np.testing.assert_array_equal(found.train_images, expected.train_images)
    np.testing.assert_array_equal(found.test_labels, expected.test_labels)


def test_files_need_no_network_and_no_cache(small, monkeypatch, tmp_path):
    monkeypatch.setattr(socket, "socket", None)
    load_mnist(small)
    assert not (tmp_path / "cache").exists()


def one_other_pixel(contents):
    return contents[:-1] + bytes([contents[-1] ^ 1])


def other_order(contents):
    array = mnist_files.parse_idx(contents, "x")
    return to_idx(array[::-1])


DAMAGES = {
    "cut off": (lambda data: data[:-20], "expected a complete gzip file"),
    "empty": (lambda _: b"", "expected an IDX file"),
    "a web page": (lambda _: b"<html>404</html>", "expected an IDX file"),
    "garbage in the middle": (lambda data: data[:30] + b"\xff" * 20 + data[50:], "expected a complete gzip file"),
    "short contents": (lambda data: gzip.compress(gzip.decompress(data)[:-1]), "expected [0-9]+ bytes for an array"),
    "long contents": (lambda data: gzip.compress(gzip.decompress(data) + b"\0"), "expected [0-9]+ bytes for an array"),
    "one image less": (
        lambda data: to_idx(mnist_files.parse_idx(gzip.decompress(data), "x")[1:]),
        r"expected uint8 of shape \(.* got uint8 of shape",
    ),
    "another type": (
        lambda data: to_idx(mnist_files.parse_idx(gzip.decompress(data), "x").astype(np.int16)),
        r"expected uint8 of shape .* got int16",
    ),
    "one other value": (lambda data: one_other_pixel(gzip.decompress(data)), "expected MNIST's contents, SHA-256"),
    "another order": (lambda data: gzip.compress(other_order(gzip.decompress(data))), "expected MNIST's contents"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused_by_name(small, name, damage):
    path = small / f"{name}.gz"
    change, message = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    for source in ("auto", "tfds"):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}") as caught:
            load_mnist(small, source=source)
        assert "\n" not in str(caught.value)


def test_files_of_another_data_set_of_the_same_shape(small):
    for name in NAMES[::2]:
        path = small / f"{name}.gz"
        path.write_bytes(to_idx(255 - read_idx(path)))
    with pytest.raises(ValueError, match="expected MNIST's contents"):
        load_mnist(small)


def test_missing_files_are_named(small):
    (small / f"{NAMES[1]}.gz").unlink()
    (small / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"got 2 of them; put {NAMES[1]}, {NAMES[3]} there"):
        load_mnist(small)


def test_a_directory_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="got no directory; correct data_dir or PARAMACT_DATA"):
        load_mnist(tmp_path / "nowhere")


def test_files_asked_for_and_no_directory_named():
    with pytest.raises(FileNotFoundError, match=r"got none; put .* PARAMACT_DATA"):
        load_mnist(source="idx")


def test_an_unknown_source(small):
    with pytest.raises(ValueError, match="expected source as one of auto, idx, tfds, got 'torch'"):
        load_mnist(small, source="torch")
