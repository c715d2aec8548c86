"""Which devices the trials are spread over."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

TRIALS = "trials"
"""Name of the mesh axis that trials are sharded over."""


def use_all_cores() -> None:
    """Make every CPU core that this process may use one JAX device.

    For programs, before their first use of a device: JAX fixes the number of CPU devices there, and this does nothing
    afterwards. A number set by the user (`jax_num_cpu_devices`, or `--xla_force_host_platform_device_count` in
    XLA_FLAGS) stays as it is. Accelerators are not affected.
    """
    in_config = jax.config.values["jax_num_cpu_devices"] > 0
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if in_config or in_flags:
        return
    try:
        jax.config.update("jax_num_cpu_devices", usable_cores())
    except RuntimeError:  # JAX says: the devices exist already
        return


def usable_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def trial_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """One-dimensional mesh over `devices`, by default all devices of the default backend."""
    return Mesh(np.array(devices if devices is not None else jax.devices()), (TRIALS,), axis_types=(AxisType.Auto,))


def check_mesh(mesh: Mesh | None) -> Mesh:
    """The devices of a mesh of one axis, of whatever name, as `trial_mesh`; by default all.

    Raises:
      ValueError: in one line, for anything else.
    """
    if mesh is None:
        return trial_mesh()
    if not isinstance(mesh, Mesh) or mesh.devices.ndim != 1 or not mesh.size:
        got = f"one of {mesh.devices.shape} devices" if isinstance(mesh, Mesh) else repr(mesh)
        raise ValueError(
            f"mesh: expected a jax.sharding.Mesh with one axis, or None for all devices, got {got}; pass "
            f'jax.sharding.Mesh(devices, ("{TRIALS}",)) with a list of devices'
        )
    return trial_mesh(list(mesh.devices.flat))
