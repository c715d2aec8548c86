"""The real MNIST where it lies, and a small one in its place everywhere else.

The real files are found by PARAMACT_DATA or at ../shared/data/mnist and are never copied into the repository.
"""

import gzip
import hashlib
import os
import socket
from pathlib import Path

import pytest

from paramact_jax.datasets import mnist, mnist_files, mnist_tfds, synthetic_mnist, to_idx
from paramact_jax.datasets.mnist_files import Original, Pixels

REAL = Path(os.environ.get("PARAMACT_DATA", Path(__file__).parents[3] / "shared" / "data" / "mnist"))
SMALL = (60, 20)


def small_pixels():
    digits = synthetic_mnist(*SMALL, flatten=False)
    arrays = digits.train_images * 255, digits.train_labels, digits.test_images * 255, digits.test_labels
    return Pixels(*(array.round().astype("uint8") for array in arrays))


def make_small(directory, set_attribute):
    """Write the small set as four .gz into a directory, and make its checksums those that the package expects."""
    originals = []
    for real, array in zip(mnist_files.ORIGINALS, small_pixels(), strict=True):
        contents = to_idx(array)
        (directory / f"{real.name}.gz").write_bytes(gzip.compress(contents, mtime=0))
        originals.append(Original(real.name, array.shape, hashlib.sha256(contents).hexdigest()))
    for module in (mnist, mnist_files, mnist_tfds):
        set_attribute(module, "ORIGINALS", tuple(originals))


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch, tmp_path):
    """No test reads or writes what the user has, and none connects to other machines."""
    for name in ("PARAMACT_DATA", "TFDS_DATA_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARAMACT_CACHE", str(tmp_path / "cache"))
    connect = socket.socket.connect

    def connect_here(self, address):
        if address[0] not in ("127.0.0.1", "localhost"):
            raise OSError("no network in tests")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def real():
    """The directory of the four original files."""
    try:
        mnist_files.locate(REAL)
    except FileNotFoundError as error:
        pytest.skip(f"the original files of MNIST are not at hand ({error})")
    return REAL


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The directory of the small set's four files."""
    directory = tmp_path / "files"
    directory.mkdir()
    make_small(directory, monkeypatch.setattr)
    return directory


@pytest.fixture
def tfds_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def copy(tmp_path):
    """Where the decoded copy is kept."""
    return tmp_path / "cache" / "mnist"
