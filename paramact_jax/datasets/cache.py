"""The cache directory, where decoded data are kept between runs, and safe writing to it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path


def cache_directory() -> Path:
    """Returns the directory for files that can be made again: PARAMACT_CACHE, or `paramact_jax` in the user's cache.

    The user's cache is ~/.cache (or XDG_CACHE_HOME), ~/Library/Caches on macOS, LOCALAPPDATA on Windows. Nothing is
    created.
    """
    if chosen := os.environ.get("PARAMACT_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "paramact_jax"


def write_directory(directory: Path, files: dict[str, bytes]) -> None:
    """Writes a directory of files under another name, then renames it, so a failure leaves no incomplete one.

    Args:
      directory: The directory to write; an existing one is replaced.
      files: Contents by name.

    Raises:
      OSError: It cannot be written; no part of it is left behind.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for name, contents in files.items():
            (scratch / name).write_bytes(contents)
        shutil.rmtree(directory, ignore_errors=True)
        scratch.rename(directory)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
