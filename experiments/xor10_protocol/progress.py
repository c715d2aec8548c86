"""Progress of the search on the terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import TaskProgressColumn

from experiments.progress import bar


class SearchProgress:
    """Shows compilation, then rounds of training with the time a round still takes; plain lines without a terminal.

    Args:
      programs: number of programs that will be compiled.
      iterations: of every trial.
    """

    def __init__(self, programs: int, iterations: int) -> None:
        self._console = Console(stderr=True)
        self._bar = bar(self._console, 46, TaskProgressColumn())
        self._programs, self._compiled = programs, 0
        self._iterations = iterations
        self._round, self._total, self._done, self._said = 0, 0, 0, 0.0
        self._task = self._bar.add_task("compiling", total=programs)
        self._begin = time.perf_counter()

    def __enter__(self) -> SearchProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def compiled(self) -> None:
        """One more program is compiled."""
        self._compiled += 1
        self._bar.update(self._task, description="compiling", completed=self._compiled)
        if self._compiled == self._programs:
            self._say(f"compiled {self._programs} programs in {time.perf_counter() - self._begin:.1f} s")

    def round(self, cells: int, trials: int) -> None:
        """Another round begins: `trials` trials for `cells` cells."""
        self._round += 1
        self._total, self._done = trials * self._iterations, 0
        self._begin = self._said = time.perf_counter()
        self._bar.reset(self._task, total=self._total, description=f"round {self._round}: {cells} cells")
        self._say(f"round {self._round}: {cells} cells, {trials:,} trials of {self._iterations:,} iterations")

    def known(self, trials: int) -> None:
        """Some trials of this round need no training."""
        self._total -= trials * self._iterations
        self._bar.update(self._task, total=self._total)

    def advanced(self, name: str, iterations: int) -> None:
        """`iterations` more iterations x trials of a program are made."""
        self._done += iterations
        self._bar.update(self._task, description=f"round {self._round}: {name}", completed=self._done)
        now = time.perf_counter()
        if now - self._said > 10 or self._done == self._total:
            self._said = now
            left = (now - self._begin) * (self._total - self._done) / self._done
            self._say(f"{name}: {self._done / self._total:.0%} of round {self._round}, {left:.0f} s left")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(line, highlight=False)

    def _say(self, line: str) -> None:
        if self._bar.disable:
            self.say(line)
