"""MNIST through TensorFlow Datasets: prepared, downloaded, read back, cached, and what happens if that fails."""

import functools
import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.core import hashing
from tensorflow_datasets.image_classification import mnist as mnist_of_tfds

from paramact_jax.datasets import load_mnist, mnist, mnist_files, mnist_tfds, to_idx
from paramact_jax.datasets.mnist_tfds import prepare_tfds


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


def test_from_files_and_back_in_the_original_order(small, tfds_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    found = load_mnist(small, source="tfds", tfds_dir=tfds_dir, cache=False)
    assert_same(found, load_mnist(small))
    assert found.source == f"TensorFlow Datasets mnist/3.0.1, prepared in {tfds_dir}"
    assert {path.parent for path in files_below(tfds_dir)} == {tfds_dir / "mnist" / "3.0.1"}
    assert list(tfds_dir.iterdir()) == [tfds_dir / "mnist"]
    assert sorted(tmp_path.iterdir()) == sorted({*before, tfds_dir})


def test_files_need_no_network(small, tfds_dir, monkeypatch):
    attempts = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: attempts.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: attempts.append(args))
    load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert attempts == []


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


@pytest.mark.parametrize("missing", ["array_record", "tensorflow_datasets"])
def test_a_package_of_the_extra_is_missing(small, monkeypatch, tfds_dir, missing):
    real = mnist_tfds.importlib.util.find_spec
    monkeypatch.setattr(mnist_tfds.importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(
        ModuleNotFoundError, match=rf'expected the package {missing}, got none; .*"paramact_jax\[data\]"'
    ):
        load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert not tfds_dir.exists()


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
    from_array = Image.fromarray
    monkeypatch.setattr(Image, "fromarray", fail_at_the_10th)
    with pytest.raises(error if isinstance(error, type) else OSError):
        load_mnist(small, source="tfds", tfds_dir=tfds_dir)
    assert list(tfds_dir.iterdir()) == [tfds_dir / "of the user"]


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
