"""Several compilations at once, and several trainings, each on a device of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

import jax
from jax.sharding import Mesh

from paramact_jax.sweeps.devices import trial_mesh, usable_cores

Name = TypeVar("Name")
Result = TypeVar("Result")


def compile_side_by_side(
    compilers: Iterable[tuple[Name, Callable[[], Result]]],
    *,
    on_compiled: Callable[[Name, float], None] = lambda name, seconds: None,
) -> dict[Name, Result]:
    """Compiled programs by name; as many compile at once as there are cores.

    Args:
      compilers: names and what compiles them, see `OverTrials.compiler`. One program is traced, here, by the iteration
        while the last ones compile: give a generator.
      on_compiled: called here with a name and the seconds its compilation took, tracing not included.
    """

    def timed(compile_it: Callable[[], Result]) -> tuple[Result, float]:
        begin = time.perf_counter()
        return compile_it(), time.perf_counter() - begin

    programs = {}
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        futures = {pool.submit(timed, compile_it): name for name, compile_it in compilers}
        for future in as_completed(futures):
            programs[futures[future]], seconds = future.result()
            on_compiled(futures[future], seconds)
    return programs


class _StoppedError(Exception):
    """Another training failed or was interrupted."""


def side_by_side(
    names: Iterable[Name], train: Callable[[Name, Mesh, Callable[[], None]], Result]
) -> dict[Name, Result]:
    """Results of all trainings by name; as many at once as there are devices, and one compiles while others train.

    For sweeps of few trials: five on two devices would leave one of these idle for a sixth of the time.

    Args:
      names: of the trainings, in the order in which they begin.
      train: given a name, a mesh of one device, and a function to call now and then, which raises when there is nobody
        left to train for: after the first failure, or Ctrl-C, the others end where they call it.

    Raises:
      Exception: what the first training that failed raised.
    """
    free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
    devices = jax.local_devices()
    for device in devices:
        free.put(device)
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    def on_a_free_device(name: Name) -> Result:
        check()
        device = free.get()
        try:
            return train(name, trial_mesh([device]), check)
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        running = {name: pool.submit(on_a_free_device, name) for name in names}
        try:
            failed = [found for found in wait(running.values(), return_when=FIRST_EXCEPTION).done if found.exception()]
            if failed:
                failed[0].result()
        finally:
            stopped.set()
    return {name: found.result() for name, found in running.items()}
