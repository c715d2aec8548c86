"""Progress of a sweep on the terminal: what is running, which iteration, how long still."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from paramact_jax.sweeps import Plan, Progress


class SweepProgress:
    """Shows compilation, then iterations of one activation after the other, or of several at once, from any thread.

    Plain lines where there is no terminal.

    Args:
      activations: number of activations that will be compiled and trained; `swept` finds it out itself.
      iterations: of each; likewise.
      quiet: show nothing.
    """

    def __init__(self, activations: int = 0, iterations: int = 0, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Bar(
            TextColumn("{task.description:<30}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._activations = activations
        self._iterations = iterations
        self._trained_here = 0
        self._compiled = 0
        self._done: dict[str, int] = {}
        self._through: set[str] = set()
        self._lock = threading.Lock()
        self._task = self._bar.add_task("compiling", total=activations * iterations)
        self._before = 0.0  # seconds of a sweep until its last activation was through
        self._begin = self._begin_training = time.perf_counter()

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def compiled(self, activation: str, seconds: float) -> None:
        """One more activation is compiled."""
        self._compiled += 1
        self._bar.update(self._task, description=f"compiled {self._compiled} of {self._activations}")
        if self._compiled == self._activations:
            self._all_compiled(self._compiled)

    def planned(self, plan: Plan) -> None:
        """Everything is compiled of one sweep over all activations."""
        self._all_compiled(plan.programs)

    def _all_compiled(self, programs: int) -> None:
        self._bar.reset(self._task)  # the time left is that of the training alone
        self._begin_training = time.perf_counter()
        self._say(f"compiled {programs} programs after {time.perf_counter() - self._begin:.1f} s")

    def advanced(self, activation: str, chunk: Progress) -> None:
        """One more chunk of iterations is trained."""
        with self._lock:
            self._advanced(activation, chunk)

    def _advanced(self, activation: str, chunk: Progress) -> None:
        self._done[activation] = chunk.done
        self._bar.update(self._task, description=activation, completed=sum(self._done.values()))
        if chunk.done == chunk.total:
            self._through.add(activation)
            self._trained_here += 1
            trained, seconds = len(self._through), time.perf_counter() - self._begin_training
            left = seconds / self._trained_here * (self._activations - trained)
            self._say(
                f"{activation}: {chunk.total:,} iterations in {chunk.seconds:.1f} s "
                f"({trained} of {self._activations}, about {left:.0f} s left)"
            )

    def swept(self, activations: Sequence[str], sweep: Progress) -> None:
        """One more chunk is trained of a sweep over all activations, which lie one after the other in it."""
        each = sweep.total // len(activations)
        self._activations, self._iterations = len(activations), each
        self._bar.update(self._task, total=sweep.total)
        for i, activation in enumerate(activations):
            done, found = (min(max(whole - i * each, 0), each) for whole in (sweep.done, sweep.found))
            if found == each:
                self.through(activation)
            elif done > self._done.get(activation, 0):
                self.advanced(activation, Progress(done, each, sweep.seconds - self._before, found))
                if done == each:
                    self._before = sweep.seconds

    def through(self, activation: str) -> None:
        """An activation is trained; says so if that was found done, with nothing left to advance."""
        with self._lock:
            if activation in self._through:
                return
            self._through.add(activation)
            self._done[activation] = self._iterations
            self._bar.update(self._task, completed=sum(self._done.values()))
            self._say(f"{activation}: trained before ({len(self._through)} of {self._activations})")

    def _say(self, line: str) -> None:
        if self._bar.disable:
            self._console.print(line, highlight=False, soft_wrap=True)
