"""Progress on the terminal: what is running, which step, how long still."""

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
    """Shows compilation, then the steps of one training after the other, or of several at once, from any thread.

    Plain lines where there is no terminal.

    Args:
      names: the names of all trainings, in the order of a sweep over them.
      steps: how many each makes, as its option counts them.
      unit: what `steps` counts, if not steps.
      quiet: whether to show nothing.
    """

    def __init__(self, names: Sequence[str], steps: int, *, unit: str = "steps", quiet: bool = False) -> None:
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
        self._names, self._steps, self._unit = names, steps, unit
        self._trained_here = 0
        self._compiled = 0
        self._done: dict[str, int] = {}
        self._through: set[str] = set()
        self._lock = threading.Lock()
        self._task = self._bar.add_task("compiling", total=len(names) * steps)
        self._before = 0.0  # seconds of a sweep until its last training was through
        self._begin = self._begin_training = time.perf_counter()

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def compiled(self, name: str, seconds: float) -> None:
        """Notes that one more training is compiled."""
        self._compiled += 1
        self._bar.update(self._task, description=f"compiled {self._compiled} of {len(self._names)}")
        if self._compiled == len(self._names):
            self._all_compiled(self._compiled)

    def planned(self, plan: Plan) -> None:
        """Notes that one sweep over all trainings is compiled."""
        self._all_compiled(plan.programs)

    def _all_compiled(self, programs: int) -> None:
        self._bar.reset(self._task)  # the time left is that of the training alone
        self._begin_training = time.perf_counter()
        self._say(f"compiled {programs} programs after {time.perf_counter() - self._begin:.1f} s")

    def advanced(self, name: str, progress: Progress) -> None:
        """Notes one more call of a training."""
        with self._lock:
            self._done[name] = progress.done * self._steps // progress.total
            self._bar.update(self._task, description=name, completed=sum(self._done.values()))
            if progress.done == progress.total:
                self._through.add(name)
                self._trained_here += 1
                trained, seconds = len(self._through), time.perf_counter() - self._begin_training
                left = seconds / self._trained_here * (len(self._names) - trained)
                self._say(
                    f"{name}: {self._steps:,} {self._unit} in {progress.seconds:.1f} s "
                    f"({trained} of {len(self._names)}, about {left:.0f} s left)"
                )

    def swept(self, progress: Progress) -> None:
        """Notes one more call of a sweep over all trainings, in which they lie one after the other."""
        each = progress.total // len(self._names)
        for i, name in enumerate(self._names):
            done, found = (min(max(whole - i * each, 0), each) for whole in (progress.done, progress.found))
            if found == each:
                self.through(name)
            elif done > self._done.get(name, 0) * each / self._steps:
                self.advanced(name, Progress(done, each, progress.seconds - self._before, found))
                if done == each:
                    self._before = progress.seconds

    def through(self, name: str) -> None:
        """Notes that a training is done; says so if it was found done, with nothing left to advance."""
        with self._lock:
            if name in self._through:
                return
            self._through.add(name)
            self._done[name] = self._steps
            self._bar.update(self._task, completed=sum(self._done.values()))
            self._say(f"{name}: trained before ({len(self._through)} of {len(self._names)})")

    def _say(self, line: str) -> None:
        if self._bar.disable:
            self._console.print(line, highlight=False, soft_wrap=True)
