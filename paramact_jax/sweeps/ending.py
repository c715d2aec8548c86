"""Ends a sweep that keeps its state before it is finished: on SIGTERM, as batch systems send it, or in time."""

from __future__ import annotations

import math
import signal
import threading
import time
import traceback
from types import FrameType, TracebackType

from paramact_jax.sweeps.distributed import is_first, smallest
from paramact_jax.sweeps.progress import Progress

_SIGNAL, _TIME, _NOTHING = range(3)


class TimeLimitError(RuntimeError):
    """A sweep has stopped in time and is saved; the same call goes on from there.

    Examples:
      >>> import tempfile
      >>> from paramact_jax.sweeps import sweep
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     sweep(lambda key: key, range(300), chunk=150, directory=directory, time_limit=1e-6)
      Traceback (most recent call last):
        ...
      paramact_jax.sweeps.ending.TimeLimitError: time_limit: the next call could end after 1e-06 s; 50.0% of the sweep \
is done and saved: make the same call again to go on from there
    """


class Ending:
    """Notes SIGTERM while a sweep runs in the main thread, so that the state is saved before the signal has its effect.

    A second one has its effect at once. Afterwards the handler is what it was. What has no directory, or ignores the
    signal, is left as it is.

    Args:
      keeps: whether the sweep has a directory.
      time_limit: seconds from `began` within which calls are to end, by process 0's clock.
      began: when the sweep was called, by `time.perf_counter`.
    """

    def __init__(self, *, keeps: bool, time_limit: float = math.inf, began: float = 0.0) -> None:
        self._keeps = keeps
        self._limit, self._until = time_limit, began + time_limit
        self._asked: float | None = None
        self._longest = 0.0
        self._noted = False
        self._reason = _NOTHING
        self._before = signal.getsignal(signal.SIGTERM)

    def __enter__(self) -> Ending:
        """Begins to note the signal."""
        self._before = signal.getsignal(signal.SIGTERM)
        replaceable = self._before not in (signal.SIG_IGN, None)  # None: not a handler of Python's
        if self._keeps and replaceable and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Gives the signal its effect, if it came."""
        self._restore()
        if self._noted:
            if error is not None and not isinstance(error, SystemExit):
                traceback.print_exception(error)  # the end of the process would hide it
            self._noted = False
            signal.raise_signal(signal.SIGTERM)

    def due(self) -> bool:
        """Returns whether the sweep is to end now, after its state has been saved: the same in every process.

        To be asked before the first call, which is made however little time there is, and between two calls.
        """
        if not self._keeps:
            return False
        now = time.perf_counter()
        late = False
        if self._asked is not None:
            self._longest = max(self._longest, now - self._asked)  # with what was saved and told before
            late = is_first() and now + self._longest > self._until
        self._asked = now
        self._reason = smallest(_SIGNAL if self._noted else _TIME if late else _NOTHING)
        return self._reason != _NOTHING

    def end_if_due(self, progress: Progress) -> None:
        """Ends the sweep if it was due when last asked; goes on if the user's handler of the signal returns."""
        reason, self._reason = self._reason, _NOTHING
        if reason == _TIME:
            raise TimeLimitError(
                f"time_limit: the next call could end after {self._limit:g} s; {progress.done / progress.total:.1%} of "
                f"the sweep is done and saved: make the same call again to go on from there"
            )
        if reason == _SIGNAL:
            self._noted = True  # perhaps another process was told
            if not callable(self._before):
                raise SystemExit(128 + signal.SIGTERM)  # through what is to be closed, to __exit__
            self.__exit__(None, None, None)
            self.__enter__()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            self._restore()
            signal.raise_signal(number)
        self._noted = True

    def _restore(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._note:  # else the user has set another one meanwhile
            signal.signal(signal.SIGTERM, self._before)
