"""The devices that the trials are spread over."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from paramact_jax.programs.program import Program, name_of, walk

TRIALS = "trials"
"""Name of the mesh axis that trials are sharded over."""


def use_all_cores() -> None:
    """Makes every CPU core that this process may use one JAX device.

    Call it at the start of a script, before the first use of a device. That use fixes the number of CPU devices, and
    later calls do nothing. A number set by the user (`jax_num_cpu_devices`, or
    `--xla_force_host_platform_device_count` in XLA_FLAGS) stays as it is. Accelerators are not affected.
    """
    in_config = jax.config.values["jax_num_cpu_devices"] > 0
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if in_config or in_flags:
        return
    try:
        jax.config.update("jax_num_cpu_devices", usable_cores())
    except RuntimeError:  # the devices exist already
        return


def usable_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Returns the name of the CPU's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def trial_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Returns a one-dimensional mesh over `devices`, by default over all devices of the default backend."""
    return Mesh(np.array(devices if devices is not None else jax.devices()), (TRIALS,), axis_types=(AxisType.Auto,))


@contextlib.contextmanager
def outside_meshes() -> Iterator[None]:
    """Leaves the mesh of `jax.set_mesh` in this context. A sweep has a mesh of its own, and JAX takes one at a time."""
    mesh: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if not jax.sharding.get_abstract_mesh().empty:
        with contextlib.suppress(ValueError):  # within jit, which a sweep refuses in words of its own
            mesh = jax.set_mesh(Mesh(np.empty((), object), ()))
    with mesh:
        yield


def check_mesh(mesh: Mesh | None) -> Mesh:
    """Returns a `trial_mesh` over the devices of a mesh with one axis of any name; None: over all devices.

    Raises:
      ValueError: in one line, for anything else.
    """
    if mesh is None:
        return trial_mesh()
    if not isinstance(mesh, Mesh) or mesh.devices.ndim != 1 or not mesh.size:
        got = f"a mesh of {mesh.devices.shape} devices" if isinstance(mesh, Mesh) else repr(mesh)
        raise ValueError(
            f"mesh: expected a jax.sharding.Mesh with one axis, or None for all devices, got {got}; pass "
            f'jax.sharding.Mesh(devices, ("{TRIALS}",)) with a list of devices'
        )
    return trial_mesh(list(mesh.devices.flat))


def check_one_device(function: str, programs: Sequence[Program], mesh: Mesh) -> None:
    """Refuses programs of one trial that spread the trial over devices, or have arrays on a mesh with explicit axes.

    Args:
      function: name of the user's function, for the message.
      programs: its programs.
      mesh: the devices of the sweep. If there is but one, a constraint to one device is no constraint.

    Raises:
      ValueError: in one line.
    """
    equations = [operation.equation for program in programs for operation in walk(program)]
    kinds = [aval for program in programs for aval in program.closed.out_avals]
    kinds += [x.aval for each in equations for x in (*each.invars, *each.outvars)]
    shardings = [kind.sharding for kind in kinds if getattr(kind, "sharding", None) is not None]
    found = [
        f"an array on explicit axes {x.mesh.axis_names}" for x in shardings if AxisType.Explicit in x.mesh.axis_types
    ]
    for each in equations:
        spread = max(getattr(each.params.get("sharding"), "num_devices", 1), mesh.size) > 1
        if (name := name_of(each)) == "shard_map" or (name == "sharding_constraint" and spread):
            found.append({"shard_map": "shard_map or pmap"}.get(name, "with_sharding_constraint"))
    if found:
        raise ValueError(
            f"{function}: expected a trial on one device, got {found[-1]}; a sweep spreads whole trials over the "
            f"devices: leave the sharding out, and take numpy.asarray of an array that lies on a mesh"
        )
