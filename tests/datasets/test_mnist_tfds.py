"""MNIST through TensorFlow Datasets: prepared, downloaded, read back, cached, and what happens if that fails."""

import functools
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tensorflow_datasets.core import hashing
from tensorflow_datasets.image_classification import mnist as mnist_of_tfds

from paramact_jax.datasets import load_mnist, mnist, mnist_files, mnist_tfds, prepare_tfds, to_idx


@pytest.fixture
def tfds_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def copy(tmp_path):
    """Where the decoded copy is kept."""
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def served(small, monkeypatch):
    """The small set's files on a web server of this machine, in the place of TFDS's; returns what was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=small)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(mnist_of_tfds.MNIST, "URL", f"http://127.0.0.1:{server.server_port}/")
        yield asked
        server.shutdown()


def assert_same(found, expected):
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def files_below(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def test_the_stored_order_is_that_of_tfds():
    hasher = hashing.Hasher("test")
    assert mnist_tfds.stored_order("test", 500) == sorted(range(500), key=hasher.hash_key)
    assert mnist_tfds.stored_order("test", 500) != mnist_tfds.stored_order("train", 500)


def test_from_files_and_back_in_the_original_order(small, tfds_dir):
    found = load_mnist(small, source="tfds", tfds_dir=tfds_dir, cache=False)
    assert_same(found, load_mnist(small))
    assert found.source == f"TensorFlow Datasets mnist/3.0.1, prepared in {tfds_dir}"
    assert {path.parent for path in files_below(tfds_dir)} == {tfds_dir / "mnist" / "3.0.1"}
    assert list(tfds_dir.iterdir()) == [tfds_dir / "mnist"]


def test_what_is_prepared_is_not_prepared_again(small, tfds_dir, monkeypatch):
    load_mnist(small, source="tfds", tfds_dir=tfds_dir, cache=False)
    monkeypatch.setattr(mnist_tfds, "_builder", None)
    found = load_mnist(source="tfds", tfds_dir=tfds_dir, cache=False)
    assert_same(found, load_mnist(small))


def test_downloaded_by_tfds(small, served, tfds_dir):
    found = load_mnist(tfds_dir=tfds_dir, cache=False)
    assert_same(found, load_mnist(small))
    assert sorted(served) == sorted(f"/{original.name}.gz" for original in mnist.ORIGINALS)
    assert list(tfds_dir.iterdir()) == [tfds_dir / "mnist"]


def test_tfds_dir_by_the_environment_and_by_default(small, monkeypatch, tmp_path):
    load_mnist(small, source="tfds", cache=False)
    assert (tmp_path / "cache" / "tensorflow_datasets" / "mnist" / "3.0.1").is_dir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "chosen"))
    assert str(tmp_path / "chosen") in load_mnist(small, source="tfds", cache=False).source


def test_nothing_is_printed_on_standard_output(small, tfds_dir, capsys):
    load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert capsys.readouterr().out == ""


# ---- failures leave nothing behind


def test_neither_files_nor_network(tfds_dir, copy):
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="got neither its files nor a network") as caught:
        load_mnist(tfds_dir=tfds_dir)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert "PARAMACT_DATA, or connect to the network" in message
    assert all(original.name in message for original in mnist.ORIGINALS)
    assert "\n" not in message
    assert not tfds_dir.exists()
    assert not copy.exists()


def test_a_network_that_swallows_everything(monkeypatch, tfds_dir):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(8) or [])
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="no answer within 3 s"):
        load_mnist(tfds_dir=tfds_dir)
    assert time.monotonic() - start < 5
    assert not tfds_dir.exists()


def test_a_file_that_the_server_lacks(small, served, tfds_dir):
    (small / f"{mnist.ORIGINALS[2].name}.gz").unlink()
    with pytest.raises(OSError, match=r"expected to download MNIST from http://127.0.0.1.* 404.* PARAMACT_DATA"):
        load_mnist(tfds_dir=tfds_dir)
    assert not tfds_dir.exists()


@pytest.mark.usefixtures("served")
def test_a_damaged_download(small, tfds_dir):
    path = small / f"{mnist.ORIGINALS[0].name}.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="expected a complete gzip file"):
        load_mnist(tfds_dir=tfds_dir)
    assert not tfds_dir.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left on device"), MemoryError])
def test_interrupted_while_preparing(small, tfds_dir, monkeypatch, error):
    tfds_dir.mkdir()
    (tfds_dir / "of the user").touch()

    def fail_at_the_10th(array):
        fail_at_the_10th.calls += 1
        if fail_at_the_10th.calls == 10:
            raise error
        return from_array(array)

    fail_at_the_10th.calls = 0
    from PIL import Image

    from_array = Image.fromarray
    monkeypatch.setattr(Image, "fromarray", fail_at_the_10th)
    with pytest.raises(error if isinstance(error, type) else OSError):
        load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert list(tfds_dir.iterdir()) == [tfds_dir / "of the user"]
    monkeypatch.undo()


def test_another_process_was_faster(small, tfds_dir, monkeypatch):
    pixels = mnist_files.read_files(mnist_files.locate(small))
    builder = mnist_tfds._builder

    def prepare_first(*args):
        monkeypatch.setattr(mnist_tfds, "_builder", builder)
        prepare_tfds(tfds_dir, pixels)
        return builder(*args)

    monkeypatch.setattr(mnist_tfds, "_builder", prepare_first)
    assert_same(load_mnist(small, source="tfds", tfds_dir=tfds_dir), load_mnist(small))
    assert list(tfds_dir.iterdir()) == [tfds_dir / "mnist"]


# ---- a prepared data set that cannot be read


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
        (lose_info, "expected a data set of TFDS, got none that is complete"),
        (cut_info, "expected a data set of TFDS, got none that is complete"),
        (claim_another_format, "expected the format array_record, got tfrecord, which TensorFlow alone reads"),
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


# ---- the decoded copy


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
    with pytest.warns(UserWarning, match=f"decoded copy of MNIST is damaged and is made anew .*{name}") as caught:
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


# ---- what is imported

ISOLATED = """
import runpy, sys
from pathlib import Path
import paramact_jax.datasets as datasets
loaded = {"jax", "tensorflow_datasets", "PIL", "requests", "array_record", "tensorflow"} & set(sys.modules)
assert not loaded, loaded
small = Path(sys.argv[2])
runpy.run_path(sys.argv[1])["make_small"](small, setattr)
digits = datasets.load_mnist(small)
assert not {"tensorflow_datasets", "PIL"} & set(sys.modules)
through = datasets.load_mnist(small, source="tfds", tfds_dir=small / "tfds", cache=False)
assert (through.train_images == digits.train_images).all()
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules and "jax" not in sys.modules
"""


def test_tensorflow_is_never_imported_and_tfds_only_when_asked_for(tmp_path):
    module = tmp_path / "path" / "tensorflow" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text("import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n")
    (tmp_path / "small").mkdir()
    conftest = Path(__file__).with_name("conftest.py")
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-W", "error", "-c", ISOLATED, str(conftest), str(tmp_path / "small")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "path"), str(root)])},
        cwd=tmp_path,
        check=True,
    )
    assert not module.with_name("imported").exists()


def test_idx_of_the_small_set_is_what_its_checksums_say(small):
    pixels = mnist_files.read_files(mnist_files.locate(small))
    mnist_files.check_pixels(pixels, "the small set")
    with pytest.raises(ValueError, match=r"^the small set \(train-labels-idx1-ubyte\): expected MNIST's contents"):
        mnist_files.check_pixels(pixels._replace(train_labels=pixels.train_labels[::-1]), "the small set")
    assert to_idx(pixels.test_labels)[:8] == bytes([0, 0, 8, 1, 0, 0, 0, 20])
