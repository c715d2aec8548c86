"""Estimates before a sweep starts how much memory it needs, and whether the machine has it."""

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

BYTES_PER_SEED = 4
BYTES_PER_LABEL = 16
"""Bytes of a seed in a dataset while its index is made.

The description of a sweep takes less, and takes it before there are results.
"""
_UNKNOWN = 2**61


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a sweep: what it is going to do.

    Attributes:
      trials: number of all trials.
      remaining: number of trials that are not stored in the sweep's directory yet.
      trials_per_call: largest number of trials in one compiled call.
      calls: number of calls in which the remaining trials run.
      programs: number of programs that are compiled for them, one for each choice of the static settings.
      devices: number of devices that share the trials of a call, over all processes.
      form: how the trials are carried out, see `Form`.
      bytes_per_device: what the compiled program takes on each device, as it says itself.
      bytes_of_results: what the results of all trials take in the memory of every process.
      bytes_on_host: the most that every process holds at one time in addition to the devices' memory: the results, the
        seeds, and copies of a call's trials.
    """

    trials: int
    remaining: int
    trials_per_call: int
    calls: int
    programs: int
    devices: int
    form: str
    bytes_per_device: int
    bytes_of_results: int
    bytes_on_host: int

    def __str__(self) -> str:
        stored = f" ({self.remaining} of them still to run)" if self.remaining < self.trials else ""
        several = f" of {self.programs} programs" if self.programs > 1 else ""
        return (
            f"{self.trials} trials{stored}{several} in {self.calls} calls of at most {self.trials_per_call} on "
            f"{self.devices} devices, {self.form}; {in_words(self.bytes_per_device)} a device, "
            f"{in_words(self.bytes_on_host)} on the host, results {in_words(self.bytes_of_results)} of that"
        )


def check_memory(plan: Plan, mesh: Mesh, bytes_for: Callable[[int], int], *, block: int) -> None:
    """Refuses a plan that does not fit into memory. The message says how many trials a call would fit.

    Args:
      plan: the plan.
      mesh: its devices.
      bytes_for: returns the bytes on each device for a number of trials a call.
      block: number of trials in a block; a call has a whole number of blocks on every device.

    Raises:
      ValueError: in one line.
    """
    check_host(
        plan.bytes_on_host,
        f"{plan.trials} trials with results of {in_words(plan.bytes_of_results)}",
        "return less from each trial, sweep fewer seeds at a time, or pass a smaller chunk",
    )
    free = device_memory(mesh, plan.bytes_on_host)
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


def check_host(needed: int, what: str, advice: str) -> None:
    """Raises ValueError, in one line, if this many bytes are not free on this host."""
    if needed > (free := host_memory()):
        raise ValueError(f"{what} take {in_words(needed)} of memory, {in_words(free)} are free; {advice}")


def bytes_on_host(*, seeds: int, results: int, per_call: int) -> int:
    """Returns the most bytes that a process holds in addition to the devices' memory.

    Args:
      seeds: number of seeds.
      results: bytes of all results.
      per_call: bytes of a call's trials as they go to the devices or as they come back, whichever is more. They are
        held twice while they are put into blocks or taken out of them.
    """
    return BYTES_PER_SEED * seeds + results + max(BYTES_PER_LABEL * seeds, 2 * per_call)


def bytes_of(one: Any, trials: int) -> int:
    """Returns the bytes of this number of trials of these shapes."""
    return trials * sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(one))


def device_memory(mesh: Mesh, reserved: int = 0) -> int:
    """Returns the bytes free on the fullest of the mesh's devices; on CPUs an equal share of the host's memory.

    Args:
      mesh: the devices, of all processes.
      reserved: bytes of the host's memory that are needed in addition to the devices' memory.
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
    """Returns the bytes of memory that a process on this host can still get; a huge number if they are unknown."""
    return min(_available(), _limit_of_container())


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):  # sysconf's free pages leave out what the file cache would free
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return _UNKNOWN


def _limit_of_container() -> int:
    """Returns the bytes that a cgroup (version 2) leaves, such as that of a container or of a batch system's job."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        group = Path("/sys/fs/cgroup") / own.lstrip("/")
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        return int(limit) - int((group / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # also where the limit reads "max"
        return _UNKNOWN


def in_words(number: int) -> str:
    """Returns a number of bytes as a short text.

    Examples:
      >>> in_words(999), in_words(123_456_789)
      ('999 B', '123 MB')
    """
    size, units = float(number), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 999.5 and unit != "PB":
        size, unit = size / 1000, next(units)
    return f"{size:.3g} {unit}"
