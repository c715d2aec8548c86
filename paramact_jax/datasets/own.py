"""Loads any set of labelled images: from four files as for MNIST, from an .npz file, or from TensorFlow Datasets."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.digits import Digits, from_pixels
from paramact_jax.datasets.idx import read_idx
from paramact_jax.datasets.mnist import tfds_directory
from paramact_jax.datasets.mnist_files import Pixels, locate
from paramact_jax.datasets.mnist_tfds import check_packages

_NAMES = {
    "train_images": ("train_images", "x_train"),
    "train_labels": ("train_labels", "y_train"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}
"""Accepted names of the arrays in an .npz file: ours, and those of Keras."""
_TFDS = "tfds:"


def load_images(source: str | Path, *, flatten: bool = True, tfds_dir: str | Path | None = None) -> Digits:
    """Loads a user's own images, of any size and number of classes.

    Args:
      source: One of three forms.
        A directory with four files in IDX format, with the names of MNIST's files (.gz or unzipped). Fashion-MNIST,
        KMNIST and EMNIST have this form.
        An .npz file with train_images, train_labels, test_images, test_labels (or x_train, y_train, x_test, y_test).
        Images are (n, height, width), (n, height, width, channels) or (n, pixels). Bytes from 0 to 255 are divided by
        255; floats stay as they are. Labels are integers from 0.
        "tfds:NAME", a set of images and labels that TensorFlow Datasets has prepared in the format array_record.
      flatten: Return images as (n, pixels).
      tfds_dir: The data directory of TFDS; by default as in `load_mnist`.

    Returns:
      The images; `mnist` is False, and `source` contains a digest of the training set.

    Raises:
      FileNotFoundError: There is nothing at `source`.
      ValueError: It has another form, or a class has no training image; the message names the array or the file.

    Examples:
      >>> import tempfile
      >>> pixels = np.zeros((6, 8, 8), np.uint8)
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     file = Path(directory) / "mine.npz"
      ...     labels = np.arange(6) % 3
      ...     np.savez(file, x_train=pixels, y_train=labels, x_test=pixels[:3], y_test=labels[:3])
      ...     images = load_images(file)
      >>> images.train_images.shape, images.classes
      ((6, 64), 3)
    """
    found = _read(source, flatten=flatten, tfds_dir=tfds_dir)
    if missing := sorted(set(range(found.classes)) - set(found.train_labels.tolist())):
        raise ValueError(
            f"{source}: expected training images of every class from 0 to {found.classes - 1}, got none of "
            f"{', '.join(map(str, missing[:5]))}; number the classes from 0 without gaps"
        )
    digest = hashlib.sha256()
    for array in (found.train_images, found.train_labels):
        digest.update(np.ascontiguousarray(array).data)
    return dataclasses.replace(found, source=f"{found.source} (sha256 {digest.hexdigest()[:12]} of the training set)")


def _read(source: str | Path, *, flatten: bool, tfds_dir: str | Path | None) -> Digits:
    text = str(source)
    if text.startswith(_TFDS):
        return _from_tfds(text.removeprefix(_TFDS), tfds_directory(tfds_dir), flatten=flatten)
    path = Path(source).expanduser()
    if path.is_dir():
        arrays = dict(zip(_NAMES, map(read_idx, locate(path)), strict=True))
        return _made(arrays, flatten=flatten, source=f"the IDX files in {path}")
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a directory of IDX files, an .npz file or {_TFDS}NAME, got nothing at {path}"
        )
    try:
        with np.load(path) as found:
            arrays = {name: found[key] for name, keys in _NAMES.items() for key in keys if key in found}
    except Exception as error:  # errors of zipfile, pickle and NumPy
        raise ValueError(f"{path}: expected an .npz file of NumPy, got {type(error).__name__}: {error}") from error
    if missing := [" or ".join(keys) for name, keys in _NAMES.items() if name not in arrays]:
        raise ValueError(f"{path}: expected arrays named {', '.join(missing)}, got none; save them with numpy.savez")
    return _made(arrays, flatten=flatten, source=str(path))


def _made(arrays: dict[str, NDArray[Any]], *, flatten: bool, source: str) -> Digits:
    for split in ("train", "test"):
        labels = arrays[f"{split}_labels"]
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
            raise ValueError(
                f"{source}: expected {split}_labels as integers of shape (n,), got {labels.dtype} of shape "
                f"{labels.shape}; give one class number for each image"
            )
        arrays[f"{split}_labels"] = labels.astype(np.int32)
    images = [arrays["train_images"], arrays["test_images"]]
    try:
        if all(x.dtype == np.uint8 for x in images):
            return from_pixels(Pixels(**arrays), flatten=flatten, source=source, synthetic=False, mnist=False)
        if not all(np.issubdtype(x.dtype, np.floating) for x in images):
            raise ValueError(f"expected images of bytes or of floats, got {images[0].dtype} and {images[1].dtype}")
        floats = {
            f"{split}_images": (x.reshape(len(x), -1) if flatten else x).astype(np.float32)
            for split, x in zip(("train", "test"), images, strict=True)
        }
        return Digits(**(arrays | floats), source=source, synthetic=False, mnist=False)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _from_tfds(name: str, directory: Path, *, flatten: bool) -> Digits:
    check_packages()
    import tensorflow_datasets as tfds
    from PIL import Image

    def decoded(example: Any) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(example["image"])) as image:
            return np.asarray(image)

    arrays = {}
    for split in ("train", "test"):
        try:
            found = tfds.data_source(
                name, data_dir=directory, split=split, download=False, decoders={"image": tfds.decode.SkipDecoding()}
            )
            examples = [found[i] for i in range(len(found))]
            arrays[f"{split}_images"] = np.stack([decoded(x) for x in examples])
            arrays[f"{split}_labels"] = np.array([x["label"] for x in examples], np.int32)
        except Exception as error:  # errors of TFDS, array_record, Pillow and NumPy
            why = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"{_TFDS}{name}: expected images and labels that TFDS has prepared in {directory}, got "
                f"{type(error).__name__}: {why}; prepare it with tfds.builder({name!r}, data_dir=...)"
                f".download_and_prepare(file_format='array_record'), or use files"
            ) from error
    return _made(arrays, flatten=flatten, source=f"TensorFlow Datasets {name}, prepared in {directory}")
