"""Several compilations at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import jax

from paramact_jax.sweeps import Plan, Progress
from paramact_jax.sweeps.devices import usable_cores

Name = TypeVar("Name")
Result = TypeVar("Result")


Sweep = Callable[[Callable[[Plan], None], Callable[[Progress], None]], Result]
"""A sweep; its arguments are `on_plan`, which it calls when it is compiled, and `on_progress`."""


def one_after_another(
    sweeps: Mapping[Name, Sweep[Result]],
    *,
    on_compiled: Callable[[Name, float], None] = lambda name, seconds: None,
    on_progress: Callable[[Name, Progress], None] = lambda name, progress: None,
) -> dict[Name, Result]:
    """Returns the results of all sweeps by name.

    As many compile at once as there are cores; one at a time runs, on all devices. Several processes have to run the
    same sweeps in the same order. Then each sweep compiles when its turn comes.

    Args:
      sweeps: by name, in the order in which they begin to compile.
      on_compiled: called with a name and the seconds that tracing and compilation took.
      on_progress: called with a name and the progress. An exception in it ends all sweeps at their next report.

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
    """Says that another training failed or was interrupted."""


def _all(running: Mapping[Name, Future[Result]], stopped: threading.Event) -> dict[Name, Result]:
    """Returns all results; after the first failure, or Ctrl-C, tells the others to stop."""
    try:
        failed = [found for found in wait(running.values(), return_when=FIRST_EXCEPTION).done if found.exception()]
        if failed:
            failed[0].result()
    finally:
        stopped.set()
    return {name: found.result() for name, found in running.items()}
