"""Reads and checks the four original files of MNIST."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.idx import parse_idx, read_bytes, to_idx


class Original(NamedTuple):
    """One of the four files.

    Attributes:
      name: Its name without .gz.
      shape: The shape of the array in it.
      sha256: Checksum of the unzipped file, so that copies compressed by other programs are also accepted.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str


class Pixels(NamedTuple):
    """The contents of the four files in order, as uint8: images (n, 28, 28) from 0 to 255 and labels (n,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


ORIGINALS = (
    Original(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    Original(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    Original(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    Original(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def check(contents: bytes, original: Original, name: str) -> NDArray[np.uint8]:
    """Checks that an unzipped file is that of MNIST and returns the array in it.

    Args:
      contents: The unzipped file.
      original: The one of the four that it should be.
      name: Name of the file in error messages.

    Raises:
      ValueError: It is not an IDX file, or has another shape or another checksum.
    """
    array = parse_idx(contents, name)
    if array.shape != original.shape or array.dtype != np.uint8:
        raise ValueError(
            f"{name}: expected uint8 of shape {original.shape}, got {array.dtype.name} of shape {array.shape}; "
            "fetch the file again"
        )
    found = hashlib.sha256(contents).hexdigest()
    if found != original.sha256:
        raise ValueError(
            f"{name}: expected MNIST's contents, SHA-256 {original.sha256[:16]}..., got {found[:16]}...; "
            "fetch the file again"
        )
    return array.view(np.uint8)


def check_pixels(pixels: Pixels, name: str) -> None:
    """Checks that the arrays are MNIST in its original order, by the checksums of the files made from them.

    Raises:
      ValueError: They are not; the message contains `name`.
    """
    for array, original in zip(pixels, ORIGINALS, strict=True):
        check(to_idx(array), original, f"{name} ({original.name})")


def locate(directory: Path) -> tuple[Path, ...]:
    """Returns the paths of the four files in a directory, each NAME.gz or NAME, in the order of `ORIGINALS`.

    Raises:
      FileNotFoundError: The directory or some files are missing; the message names them.
    """
    if not directory.is_dir():
        raise FileNotFoundError(
            f"{directory}: expected a directory with the four files of MNIST, got no directory; correct data_dir or "
            "PARAMACT_DATA"
        )
    candidates = [(directory / f"{original.name}.gz", directory / original.name) for original in ORIGINALS]
    found = [next((path for path in pair if path.is_file()), None) for pair in candidates]
    missing = [original.name for original, path in zip(ORIGINALS, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{directory}: expected the four files of MNIST, got {4 - len(missing)} of them; put "
            f"{', '.join(missing)} there, as .gz or unzipped"
        )
    return tuple(path for path in found if path is not None)


def read_files(paths: tuple[Path, ...]) -> Pixels:
    """Reads and checks the contents of the four files.

    Args:
      paths: Paths in the order of `ORIGINALS`; the files may be gzipped.

    Raises:
      OSError: A file cannot be read.
      ValueError: A file is cut off, damaged or not that of MNIST; the message names it.
    """
    return Pixels(
        *(check(read_bytes(path), original, str(path)) for path, original in zip(paths, ORIGINALS, strict=True))
    )
