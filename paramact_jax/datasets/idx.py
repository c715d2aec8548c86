"""IDX, the file format of the original MNIST: a typed array of any number of dimensions, often gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def parse_idx(data: bytes, name: str = "IDX data") -> NDArray[np.generic]:
    """Returns the array in the bytes of an uncompressed IDX file.

    The file has the bytes 0, 0, a type code and the number of dimensions, then each dimension as four bytes, then the
    elements in row-major order. All numbers are big-endian.

    Args:
      data: The whole file.
      name: Name of the file in error messages.

    Returns:
      A read-only view of `data`, so its elements are big-endian if they have several bytes.

    Raises:
      ValueError: The magic number is wrong, or there are fewer or more bytes than the header says.

    Examples:
      >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 5, 0, 4]))
      array([[5, 0, 4]], dtype=uint8)
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise ValueError(
            f"{name}: expected an IDX file, which begins with 0, 0 and a type code (8, 9, 11 to 14), "
            f"got {list(data[:4])}; fetch the file again"
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{name}: expected a header of {start} bytes, got {len(data)} bytes; fetch the file again")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    dtype = np.dtype(_TYPES[data[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(
            f"{name}: expected {expected} bytes for an array of shape {shape}, got {len(data)}; fetch the file again"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def to_idx(array: ArrayLike) -> bytes:
    """Returns the bytes of an uncompressed IDX file that holds `array`.

    Args:
      array: Array of uint8, int8, int16, int32, float32 or float64, the types that IDX has.

    Raises:
      ValueError: The array has another type.

    Examples:
      >>> list(to_idx(np.array([5, 0, 4], np.uint8)))
      [0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]
    """
    array = np.asarray(array)
    wanted = array.dtype.newbyteorder(">")
    for code, dtype in _TYPES.items():
        if np.dtype(dtype) == wanted:
            header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            return header + array.astype(wanted, copy=False).tobytes()
    types = ", ".join(np.dtype(dtype).name for dtype in _TYPES.values())
    raise ValueError(f"expected an array of a type that IDX has ({types}), got {array.dtype}; convert it first")


def read_bytes(path: Path) -> bytes:
    """Returns the contents of a file; unzips it if it is a gzip file, whatever its name.

    Raises:
      OSError: The file cannot be read.
      ValueError: It begins as a gzip file but is cut off or damaged.
    """
    data = path.read_bytes()
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a complete gzip file, got {len(data)} bytes that do not unzip ({error}); "
            "fetch the file again"
        ) from error


def read_idx(path: Path) -> NDArray[np.generic]:
    """Returns the array in an IDX file, gzipped or not.

    Raises:
      OSError: The file cannot be read.
      ValueError: It is damaged or not an IDX file, as in `read_bytes` and `parse_idx`.
    """
    return parse_idx(read_bytes(path), str(path))
