"""What a result depends on other than its config: versions, processor, devices, JAX's settings, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PACKAGES = ("paramact_jax", "jax", "jaxlib", "flax", "optax", "chex", "numpy", "scipy", "xarray")
_VARIABLES = ("XLA_FLAGS", "PARAMACT_JAX_ONE_KERNEL")


def environment() -> dict[str, Any]:
    """Returns the environment of this process, for JSON."""
    import jax
    import jax.numpy as jnp

    from paramact_jax.sweeps.devices import processor

    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "devices": {"kind": devices[0].device_kind, "platform": devices[0].platform, "count": len(devices)},
        "x64": bool(jnp.result_type(float) == jnp.float64),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "commit": _commit(),
        "command": sys.argv[1:],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def version(package: str) -> str | None:
    """Returns the installed version of a package, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the commit of this checkout, with "+changes" after it if files differ; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
