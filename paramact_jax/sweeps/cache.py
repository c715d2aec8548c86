"""Compiled programs that outlive their process."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jax

SWITCH = "PARAMACT_JAX_COMPILATION_CACHE"


def use_compilation_cache(directory: Path | str | None = None) -> Path | None:
    """Keep compiled programs in a directory, so that a program that ran before starts without compiling again.

    For programs, before they compile anything. JAX's persistent compilation cache does the work, for programs of any
    size; an entry fits one program, one version of JAX and one kind of device only, and a damaged one is compiled
    again. A cache that the user has chosen already (JAX_COMPILATION_CACHE_DIR) stays as it is, and
    PARAMACT_JAX_COMPILATION_CACHE=0 in the environment turns this off.

    Args:
      directory: by default `paramact_jax` in the user's directory for caches.

    Returns:
      The directory in use; None if it is turned off or cannot be written to, which costs nothing but time.
    """
    chosen: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # made at run time
    if chosen is not None:
        return Path(chosen)
    if os.environ.get(SWITCH, "1") == "0":
        return None
    path = _of_user() if directory is None else Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _of_user() -> Path:
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "paramact_jax"
