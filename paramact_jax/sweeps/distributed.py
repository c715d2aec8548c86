"""Several processes as one machine: JAX's runtime joins them, and only process 0 reads and writes files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding

Arrays = dict[str, np.ndarray]

_PACKET = 2**12
_RAISED: Mapping[str, type[Exception]] = {"ValueError": ValueError, "OSError": OSError}


def initialise_distributed(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None, *, timeout: int = 300
) -> None:
    """Joins the processes of a sweep with `jax.distributed.initialize`. Call it before the first use of a device.

    Afterwards every process makes the same calls with the same arguments. `sweep` spreads the trials over all
    processes' devices and returns the same dataset in each process. Only process 0 touches `directory=`.

    Args:
      coordinator: HOST:PORT of process 0. Without it, JAX's own detection finds the processes on SLURM, Open MPI,
        MPI (mpi4py), Kubernetes and Cloud TPU.
      processes: number of processes, with a coordinator.
      process: number of this process, 0..processes - 1, with a coordinator.
      timeout: seconds to wait for the others.

    Raises:
      ValueError: in one line, if the arguments are incomplete or impossible, if no cluster is detected, or if a device
        was used before.

    Examples:
      >>> initialise_distributed("10.0.0.1:9911", processes=4)
      Traceback (most recent call last):
        ...
      ValueError: expected coordinator, processes and process together (or none of them), got no process
    """
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(
            f"expected coordinator, processes and process together (or none of them), got no {', no '.join(missing)}"
        )
    if coordinator is not None and processes is not None and process is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"coordinator: expected HOST:PORT, got {coordinator!r}")
        if not 0 <= process < processes:
            raise ValueError(f"expected process within 0..processes - 1, got process {process} of {processes}")
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=timeout)
    except (ValueError, RuntimeError) as error:
        if not isinstance(error, RuntimeError) and missing:
            raise ValueError(
                "expected coordinator=HOST:PORT, processes= and process=, or a cluster that JAX detects (SLURM, Open "
                "MPI, Kubernetes, Cloud TPU), got neither; give the three, or start the processes there"
            ) from error
        raise ValueError(
            f"expected to join the processes once, before any use of a device; JAX says: {' '.join(str(error).split())}"
        ) from error


def put(x: Any, sharding: NamedSharding) -> jax.Array:
    """Returns an array, the same in every process, on the devices of all processes."""
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def begin_fetching(tree: Any) -> None:
    """Starts to copy all arrays of a tree to this process at once, instead of one after another."""
    for x in jax.tree.leaves(tree):
        if isinstance(x, jax.Array) and x.is_fully_addressable:
            x.copy_to_host_async()


def fetch(x: Any) -> np.ndarray:
    """Returns a whole array in this process, wherever its parts are; every process has to call this."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))
    return np.asarray(x)


def is_first() -> bool:
    """Returns whether this process is the one that reads and writes files."""
    return jax.process_index() == 0


def from_first(action: Callable[[], Arrays]) -> Arrays:
    """Returns in every process what `action` returns in process 0.

    Only process 0 calls `action`, but every process has to call this function. A ValueError or OSError in process 0 is
    raised in every process.
    """
    if jax.process_count() == 1:
        return action()
    content = b""
    if is_first():
        try:
            content = _to_bytes(action())
        except (ValueError, OSError) as error:
            kind = "ValueError" if isinstance(error, ValueError) else "OSError"
            content = json.dumps({"raised": kind, "says": str(error)}).encode()
    header, _, payload = _from_first_bytes(content).partition(b"\n")
    described = json.loads(header)
    if "raised" in described:
        raise _RAISED[described["raised"]](described["says"])
    received, at = {}, 0
    for name, dtype, shape in described["arrays"]:
        count = math.prod(shape)
        received[name] = np.frombuffer(payload, jnp.dtype(dtype), count, at).reshape(shape)
        at += received[name].nbytes
    return received


def first_does(action: Callable[[], None]) -> None:
    """Lets process 0 do something. Every process has to call this; a ValueError or OSError is raised in all of them."""

    def nothing() -> Arrays:
        action()
        return {}

    from_first(nothing)


def smallest(number: int) -> int:
    """Returns the smallest of all processes' numbers, which are below 2**62."""
    if jax.process_count() == 1:
        return number
    halves = multihost_utils.process_allgather(np.array([number >> 31, number & (2**31 - 1)], np.int32))
    return min((int(high) << 31) + int(low) for high, low in halves)


def _to_bytes(arrays: Arrays) -> bytes:
    header = json.dumps({"arrays": [(name, str(x.dtype), x.shape) for name, x in arrays.items()]}).encode()
    return b"".join([header, b"\n", *(np.ascontiguousarray(x).tobytes() for x in arrays.values())])


def _from_first_bytes(content: bytes) -> bytes:
    """Returns the bytes of process 0: a packet with the length, then the rest, padded to a power of two.

    So there are few sizes, and JAX compiles once for each size.
    """
    packet = _broadcast(len(content).to_bytes(8, "little") + content[:_PACKET], 8 + _PACKET)
    length = int.from_bytes(packet[:8], "little")
    rest = length - _PACKET
    if rest <= 0:
        return packet[8 : 8 + length]
    return packet[8:] + _broadcast(content[_PACKET:], 1 << (rest - 1).bit_length())[:rest]


def _broadcast(content: bytes, size: int) -> bytes:
    """Sends bytes as whole numbers, since a broadcast is a sum over processes, which would turn a -0.0 into 0.0."""
    sent = np.zeros(size, np.uint8)
    if is_first():
        sent[: len(content)] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(sent)).astype(np.uint8).tobytes()
