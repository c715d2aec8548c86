"""Several compilations at once, and several trainings, each on a device of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import jax
from jax.sharding import Mesh

from paramact_jax.sweeps import Plan, Progress
from paramact_jax.sweeps.devices import trial_mesh, usable_cores

Name = TypeVar("Name")
Result = TypeVar("Result")


Sweep = Callable[[Callable[[Plan], None], Callable[[Progress], None]], Result]
"""A sweep that is given `on_plan`, which is called when it is compiled, and `on_progress`."""


def one_after_another(
    sweeps: Mapping[Name, Sweep[Result]],
    *,
    on_compiled: Callable[[Name, float], None] = lambda name, seconds: None,
    on_progress: Callable[[Name, Progress], None] = lambda name, progress: None,
) -> dict[Name, Result]:
    """Results of all sweeps by name; as many compile at once as there are cores, one at a time runs on all devices.

    With several processes, which have to run the same sweeps in the same order, each compiles when its turn comes.

    Args:
      sweeps: by name, in the order in which they begin to compile.
      on_compiled: called with a name and the seconds its tracing and compilation took.
      on_progress: called with a name and its progress; what it raises ends all sweeps where they report next.

    Raises:
      Exception: what the first sweep that failed raised.
    """
    compiling = threading.Semaphore(usable_cores())
    turn = threading.Lock()
    stopped = threading.Event()

    def run(name: Name) -> Result:
        with contextlib.ExitStack() as compilation, contextlib.ExitStack() as running:
            compilation.enter_context(compiling)
            begin = time.perf_counter()

            def compiled(plan: Plan) -> None:
                on_compiled(name, time.perf_counter() - begin)
                compilation.close()
                running.enter_context(turn)
                check()

            def advanced(progress: Progress) -> None:
                check()
                on_progress(name, progress)

            check()
            return sweeps[name](compiled, advanced)

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    with ThreadPoolExecutor(len(sweeps) if jax.process_count() == 1 else 1) as pool:
        return _all({name: pool.submit(run, name) for name in sweeps}, stopped)


class _StoppedError(Exception):
    """Another training failed or was interrupted."""


def side_by_side(
    names: Iterable[Name], train: Callable[[Name, Mesh, Callable[[Plan], None], Callable[[], None]], Result]
) -> dict[Name, Result]:
    """Results of all trainings by name; as many at once as there are devices, and one compiles while others train.

    For sweeps of few trials: five on two devices would leave one of these idle for a sixth of the time. On a CPU core a
    training compiles before it trains; for an accelerator, which does not compile, the next one compiles meanwhile.

    Args:
      names: of the trainings, in the order in which they begin.
      train: given a name; a mesh of one device; an `on_plan` for its sweeps, which returns when the device is free; and
        a function to call now and then, which raises when there is nobody left to train for: after the first failure,
        or Ctrl-C, the others end where they call it.

    Raises:
      Exception: what the first training that failed raised.
    """
    free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
    devices = jax.local_devices()
    at_once = devices if devices[0].platform == "cpu" else devices * 2
    for device in at_once:
        free.put(device)
    turns = {device: threading.RLock() for device in devices}
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    def on_a_free_device(name: Name) -> Result:
        check()
        device = free.get()
        with contextlib.ExitStack() as running:
            running.callback(free.put, device)

            def compiled(plan: Plan) -> None:
                running.enter_context(turns[device])
                check()

            return train(name, trial_mesh([device]), compiled, check)

    with ThreadPoolExecutor(len(at_once)) as pool:
        return _all({name: pool.submit(on_a_free_device, name) for name in names}, stopped)


def _all(running: Mapping[Name, Future[Result]], stopped: threading.Event) -> dict[Name, Result]:
    """All results; after the first failure, or Ctrl-C, those that still run are told to stop."""
    try:
        failed = [found for found in wait(running.values(), return_when=FIRST_EXCEPTION).done if found.exception()]
        if failed:
            failed[0].result()
    finally:
        stopped.set()
    return {name: found.result() for name, found in running.items()}
