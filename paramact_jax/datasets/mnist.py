"""MNIST, the 70,000 handwritten digits of LeCun, Cortes and Burges."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal, get_args

from paramact_jax.datasets.cache import cache_directory, write_directory
from paramact_jax.datasets.digits import Digits, from_pixels
from paramact_jax.datasets.idx import to_idx
from paramact_jax.datasets.mnist_files import ORIGINALS, Pixels, locate, read_files
from paramact_jax.datasets.mnist_tfds import WAYS_OUT, prepare_tfds, prepared_directory, read_tfds

Source = Literal["auto", "idx", "tfds"]


def load_mnist(
    data_dir: str | Path | None = None,
    *,
    source: Source = "auto",
    flatten: bool = True,
    tfds_dir: str | Path | None = None,
    cache: bool = True,
) -> Digits:
    """Loads MNIST: 60,000 images for training and 10,000 for testing, in original order, min-max scaled to [0, 1].

    Every source gives the same result, bit for bit: contents and order are compared with the checksums of the original
    files. TensorFlow is not needed and never imported.

    Args:
      data_dir: The directory of the four original files, gzipped or not (train-images-idx3-ubyte.gz,
        train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz). If None, the environment
        variable PARAMACT_DATA, if set.
      source: "idx" reads the original files, in 0.3 s. "tfds" reads `mnist/3.0.1` of TensorFlow Datasets. If it is not
        prepared, it is first made from the files in `data_dir` or by download (about 20 s with reading). A decoded copy
        is kept in the cache, so the next call needs 0.1 s. "auto" is "idx" if there is a `data_dir`, else "tfds".
      flatten: Return images as (n, 784); (n, 28, 28) if False.
      tfds_dir: The data directory of TensorFlow Datasets. If None, TFDS_DATA_DIR in the environment or
        `tensorflow_datasets` in the cache directory.
      cache: Whether "tfds" may read and write the decoded copy (55 MB) in the directory that `cache_directory` returns.
        A damaged copy is made again, with a warning.

    Returns:
      Read-only arrays; `source` says where they came from and `synthetic` is False.

    Raises:
      FileNotFoundError: The directory does not exist, some of the four files are missing, or there are neither files
        nor a network.
      ValueError: A file or the prepared data set is cut off, damaged or not that of MNIST (the message names it), or
        `source` is not one of the three.
      ModuleNotFoundError: "tfds" must read the data set and a package of the extra `data` is not installed.
      OSError: A file cannot be read, a download failed, or `tfds_dir` cannot be written.

    Examples:
      >>> digits = load_mnist("~/data/mnist")  # doctest: +SKIP
      >>> digits.train_images.shape, digits.train_labels[:5]  # doctest: +SKIP
      ((60000, 784), array([5, 0, 4, 1, 9], dtype=int32))
    """
    if source not in get_args(Source):
        raise ValueError(f"expected source as one of {', '.join(get_args(Source))}, got {source!r}; choose one of them")
    named = data_dir or os.environ.get("PARAMACT_DATA")
    directory = Path(named).expanduser() if named else None
    if source == "idx" or (source == "auto" and directory):
        if directory is None:
            raise FileNotFoundError(f"expected a directory with the four files of MNIST, got none; {WAYS_OUT}")
        pixels = read_files(locate(directory))
        return from_pixels(pixels, flatten=flatten, source=f"the original files in {directory}", synthetic=False)
    pixels, place = _through_tfds(directory, tfds_directory(tfds_dir), cache_directory() / "mnist" if cache else None)
    origin = f"TensorFlow Datasets {prepared_directory(Path()).as_posix()}, {place}"
    return from_pixels(pixels, flatten=flatten, source=origin, synthetic=False)


def tfds_directory(chosen: str | Path | None) -> Path:
    """Returns the data directory of TFDS: the chosen one, TFDS_DATA_DIR, or one in the cache directory."""
    named = chosen or os.environ.get("TFDS_DATA_DIR")
    return Path(named).expanduser() if named else cache_directory() / "tensorflow_datasets"


def _through_tfds(directory: Path | None, tfds_dir: Path, copy: Path | None) -> tuple[Pixels, str]:
    """Returns MNIST from the decoded copy, or else from TensorFlow Datasets, and where it was found."""
    if copy and (pixels := _read_copy(copy)):
        return pixels, f"decoded copy in {copy}"
    if not prepared_directory(tfds_dir).exists():
        prepare_tfds(tfds_dir, read_files(locate(directory)) if directory else None)
    pixels = read_tfds(tfds_dir)
    if copy:
        try:
            write_directory(copy, {o.name: to_idx(array) for o, array in zip(ORIGINALS, pixels, strict=True)})
        except OSError as error:
            warnings.warn(f"the decoded copy of MNIST could not be kept ({error}); set PARAMACT_CACHE", stacklevel=3)
    return pixels, f"prepared in {tfds_dir}"


def _read_copy(copy: Path) -> Pixels | None:
    """Returns the decoded copy, which is the four original files unzipped; None if there is no undamaged one."""
    if not copy.exists():
        return None
    try:
        return read_files(locate(copy))
    except (OSError, ValueError) as error:
        warnings.warn(f"the decoded copy of MNIST is damaged and is made again ({error})", stacklevel=4)
        return None
