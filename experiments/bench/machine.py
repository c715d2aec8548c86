"""What a time was measured on and with."""

from __future__ import annotations

import os
from typing import Any

import jax

from experiments.study.environment import environment, version
from paramact_jax.sweeps.compiler import has_avx512

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def machine_and_versions(cores: int) -> dict[str, Any]:
    """The entries `machine`, `versions` and `commit` of a result; the version of a missing package is None.

    Args:
      cores: how many the contestants use.
    """
    there = environment()
    return {
        "machine": {
            "cpu": there["processor"],
            "cores_used": cores,
            "cores_there": os.cpu_count(),
            "avx512": has_avx512(),
            "default_backend": jax.default_backend(),
        },
        "versions": {
            "python": there["python"],
            **{package: there["packages"][package] for package in _PACKAGES},
            "torch": version("torch"),
        },
        "commit": there["commit"],
    }
