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

BYTES_PER_SEED = 4
BYTES_PER_LABEL = 16
"""Of a seed in a dataset, while its index is made; the description of a sweep takes less, and before the results."""
_UNKNOWN = 2**61


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep is going to do.

    Attributes:
      trials: in all.
      remaining: trials that are not stored in the sweep's directory yet.
      trials_per_call: at most so many run in one compiled call.
      calls: so many parts the remaining trials run in.
      programs: so many programs are compiled for them, one for each choice of the static settings.
      devices: so many share the trials of a call, over all processes.
      form: how the trials are carried out, see `Form`.
      bytes_per_device: what the compiled program takes on each device, by its own account.
      bytes_of_results: what the results of all trials take in the memory of every process.
      bytes_on_host: the most that every process holds beside the devices at one time: those results, the seeds, and
        copies of a call's trials.
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
            f"{in_words(self.bytes_on_host)} beside them, results {in_words(self.bytes_of_results)} of that"
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
    """Raise ValueError, in one line, if so many bytes are not free on this host."""
    if needed > (free := host_memory()):
        raise ValueError(f"{what} take {in_words(needed)} of memory, {in_words(free)} are free; {advice}")


def bytes_on_host(*, seeds: int, results: int, per_call: int) -> int:
    """The most that a process holds beside the devices.

    Args:
      seeds: how many.
      results: bytes of all results.
      per_call: bytes of a call's trials, as they go to the devices or come back, whichever is more: held twice while
        they are put into blocks or taken out of them.
    """
    return BYTES_PER_SEED * seeds + results + max(BYTES_PER_LABEL * seeds, 2 * per_call)


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
