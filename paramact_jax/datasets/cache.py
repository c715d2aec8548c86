"""Where decoded data are kept between runs, and how they get there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path


def cache_directory() -> Path:
    """The directory for what can be made again: PARAMACT_CACHE, or `paramact_jax` in the user's cache directory.

    That is ~/.cache (or XDG_CACHE_HOME), ~/Library/Caches on macOS, LOCALAPPDATA on Windows. Nothing is created.
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
    """Write a directory of files so that nobody ever sees half of it: under another name first, then renamed.

    Args:
      directory: What was there is replaced.
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
