"""A cache of compiled programs on disk, for later processes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jax

from paramact_jax.datasets.cache import cache_directory

SWITCH = "PARAMACT_JAX_COMPILATION_CACHE"


def use_compilation_cache(directory: Path | str | None = None) -> Path | None:
    """Keeps compiled programs in a directory, so that a program that ran before starts without compiling again.

    Call it at the start of a script, before anything is compiled. JAX's persistent compilation cache does the work, for
    programs of any size. An entry fits only one program, one version of JAX and one kind of device. A damaged entry is
    compiled again. A cache that the user has chosen already (JAX_COMPILATION_CACHE_DIR) stays as it is.
    PARAMACT_JAX_COMPILATION_CACHE=0 in the environment turns the cache off.

    Args:
      directory: by default PARAMACT_CACHE in the environment, or `paramact_jax` in the user's directory for caches.

    Returns:
      The directory in use; None if the cache is turned off or the directory cannot be written to. Programs then start
      more slowly, but work.
    """
    chosen: str | None = jax.config.values["jax_compilation_cache_dir"]
    if chosen is not None:
        return Path(chosen)
    if os.environ.get(SWITCH, "1") == "0":
        return None
    path = cache_directory() if directory is None else Path(directory)
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
