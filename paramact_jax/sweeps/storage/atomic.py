"""Files that are whole or not there: written with a checksum under another name, flushed, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

Arrays = dict[str, np.ndarray]

PARTIAL = ".partial"
"""Suffix of a file that is being written. A process that died may leave one."""

_HEADER, _DIGEST = "header", "sha256"


class DamagedError(ValueError):
    """Raised if a file is truncated or was altered; the message names it in one line."""


def write_bytes(path: Path, content: bytes) -> None:
    """Writes or replaces a file in one step; raises OSError and leaves the old file if that fails."""
    _write(path, lambda file: file.write(content))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes arrays as one .npz file in one step; raises OSError and leaves the old file if that fails.

    Args:
      path: of the file.
      arrays: by any names, with any dtypes of JAX.
      about: what to keep along with them, as JSON.
    """
    entries = [{"name": name, "dtype": str(x.dtype), "shape": x.shape} for name, x in arrays.items()]
    header = json.dumps({"about": about, "arrays": entries}).encode()
    # Member names are numbers, since np.savez has arguments of its own. Arrays are bytes, since .npy has no bfloat16.
    members: dict[str, Any] = {
        str(i): np.ascontiguousarray(x).reshape(-1).view(np.uint8) for i, x in enumerate(arrays.values())
    }
    members[_HEADER] = np.frombuffer(header, np.uint8)
    members[_DIGEST] = _digest(members)
    _write(path, lambda file: _save(file, members))


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Returns the arrays of a file that `write_arrays` wrote, and what was kept along with them.

    Raises:
      DamagedError: if the file is not as it was written.
      OSError: if it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        digest = members.pop(_DIGEST)
        if not np.array_equal(digest, _digest(members)):
            raise DamagedError(f"{path}: its checksum does not hold")
        header = json.loads(members.pop(_HEADER).tobytes())
        arrays = {
            entry["name"]: members[str(i)].view(jnp.dtype(entry["dtype"])).reshape(entry["shape"])
            for i, entry in enumerate(header["arrays"])
        }
    except DamagedError:
        raise
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DamagedError(f"{path}: no whole file ({type(error).__name__})") from error
    return arrays, header["about"]


def sync_directory(directory: Path) -> None:
    """Flushes the names in a directory, if the system can."""
    with contextlib.suppress(PermissionError):  # Windows cannot open a directory
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _save(file: IO[bytes], members: Mapping[str, np.ndarray]) -> None:
    """Writes as np.savez does, but closes the archive if writing fails, which some versions of NumPy do not."""
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, x in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(x), allow_pickle=False)


def _write(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    with _partial(path) as partial:
        with partial.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    sync_directory(path.parent)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _digest(members: Mapping[str, np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}:{members[name].size};".encode())
        digest.update(members[name].data)
    return np.frombuffer(digest.digest(), np.uint8)
