"""What a sweep will need before it starts, and whether the machine has it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from paramact_jax.sweeps.distributed import smallest

_UNKNOWN = 2**61


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep is going to do.

    Attributes:
      trials: in all.
      remaining: trials that are not stored in the sweep's directory yet.
      trials_per_call: at most so many run in one compiled call.
      calls: so many parts the remaining trials run in.
      devices: so many share the trials of a call, over all processes.
      form: how the trials are carried out, see `Form`.
      bytes_per_device: what the compiled program takes on each device, by its own account.
      bytes_of_results: what the results of all trials take in the memory of every process.
    """

    trials: int
    remaining: int
    trials_per_call: int
    calls: int
    devices: int
    form: str
    bytes_per_device: int
    bytes_of_results: int

    def __str__(self) -> str:
        stored = f" ({self.remaining} of them still to run)" if self.remaining < self.trials else ""
        return (
            f"{self.trials} trials{stored} in {self.calls} calls of at most {self.trials_per_call} on {self.devices} "
            f"devices, {self.form}; {in_words(self.bytes_per_device)} a device, "
            f"results {in_words(self.bytes_of_results)}"
        )


def check_memory(plan: Plan, mesh: Mesh, bytes_for: Callable[[int], int], *, block: int) -> None:
    """Refuse a plan that does not fit, and say which number of trials a call does.

    Args:
      plan: the plan.
      mesh: its devices.
      bytes_for: bytes on each device for so many trials a call.
      block: trials in a block; a call has a whole number of them on every device.

    Raises:
      ValueError: in one line.
    """
    on_host = host_memory()
    if plan.bytes_of_results > on_host:
        raise ValueError(
            f"the results of {plan.trials} trials take {in_words(plan.bytes_of_results)} of memory, "
            f"{in_words(on_host)} are free; return less from each trial, or sweep fewer seeds at a time"
        )
    free = device_memory(mesh, plan.bytes_of_results)
    if plan.bytes_per_device <= free:
        return
    least = block * mesh.size
    found, needed = plan.trials_per_call, plan.bytes_per_device
    while found > least:
        found = max(least, min(found * free // needed, found - 1) // least * least)
        needed = bytes_for(found)
        if needed <= free:
            break
    problem = (
        f"{plan.trials_per_call} trials a call take {in_words(plan.bytes_per_device)} on each of {mesh.size} devices, "
        f"{in_words(free)} are free"
    )
    if needed <= free:
        raise ValueError(f"{problem}; pass chunk={found}")
    raise ValueError(
        f"{problem}, and even the smallest call, {least} trials, takes {in_words(needed)}; make the arrays of a trial "
        f"smaller"
    )


def bytes_of(one: Any, trials: int) -> int:
    """Bytes of so many trials of these shapes."""
    return trials * sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(one))


def device_memory(mesh: Mesh, reserved: int = 0) -> int:
    """Bytes free on the fullest of the mesh's devices; on CPUs an equal share of this host's memory.

    Args:
      mesh: the devices, of all processes.
      reserved: bytes of the host's memory that are needed beside the devices'.
    """
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    free = _UNKNOWN
    if here and here[0].platform == "cpu":
        free = (host_memory() - reserved) // len(here)
    else:
        for device in here:
            stats = device.memory_stats() or {}
            if "bytes_limit" in stats:
                free = min(free, stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return smallest(free)


def host_memory() -> int:
    """Bytes of memory that a process on this host can still have; a number beyond any need where nothing tells."""
    return min(_available(), _limit_of_container())


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):  # the free pages of sysconf leave out what the file cache would give
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return _UNKNOWN


def _limit_of_container() -> int:
    """What a cgroup, as of a container or a batch system's job, leaves; version 2."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        group = Path("/sys/fs/cgroup") / own.lstrip("/")
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        return int(limit) - int((group / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # also where the limit reads "max"
        return _UNKNOWN


def in_words(number: int) -> str:
    """Bytes for people.

    Examples:
      >>> in_words(999), in_words(123_456_789)
      ('999 B', '123 MB')
    """
    size, units = float(number), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 999.5 and unit != "PB":
        size, unit = size / 1000, next(units)
    return f"{size:.3g} {unit}"
