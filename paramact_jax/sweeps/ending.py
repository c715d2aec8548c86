"""Ends a sweep early, with its state saved: on SIGTERM, which batch systems send, or before a time limit."""

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
    """Raised if a sweep stops because of its time limit. It is saved, and the same call goes on from there.

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
    """Delays SIGTERM while a sweep runs in the main thread, so that the state is saved before the signal takes effect.

    A second SIGTERM takes effect at once. At the end of the sweep the old handler is restored. Nothing is changed if
    the sweep has no directory, or if the process ignores the signal.

    Args:
      keeps: whether the sweep has a directory.
      time_limit: seconds from `began` within which calls have to end, by process 0's clock.
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
        """Begins to delay the signal."""
        self._before = signal.getsignal(signal.SIGTERM)
        replaceable = self._before not in (signal.SIG_IGN, None)  # None: the handler was not set by Python
        if self._keeps and replaceable and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Lets the signal take effect, if it came."""
        self._restore()
        if self._noted:
            if error is not None and not isinstance(error, SystemExit):
                traceback.print_exception(error)  # the end of the process would hide it
            self._noted = False
            signal.raise_signal(signal.SIGTERM)

    def due(self) -> bool:
        """Returns whether the sweep has to end once its state is saved: the same in every process.

        It has to be called before the first call of the sweep, which is made even if there is little time, and between
        two calls.
        """
        if not self._keeps:
            return False
        now = time.perf_counter()
        late = False
        if self._asked is not None:
            self._longest = max(self._longest, now - self._asked)  # includes the time for saving and reporting
            late = is_first() and now + self._longest > self._until
        self._asked = now
        self._reason = smallest(_SIGNAL if self._noted else _TIME if late else _NOTHING)
        return self._reason != _NOTHING

    def end_if_due(self, progress: Progress) -> None:
        """Ends the sweep if the last call of `due` said so; goes on if the user's handler of the signal returns."""
        reason, self._reason = self._reason, _NOTHING
        if reason == _TIME:
            raise TimeLimitError(
                f"time_limit: the next call could end after {self._limit:g} s; {progress.done / progress.total:.1%} of "
                f"the sweep is done and saved: make the same call again to go on from there"
            )
        if reason == _SIGNAL:
            self._noted = True  # the signal may have come to another process
            if not callable(self._before):
                raise SystemExit(128 + signal.SIGTERM)  # closes what is open on the way to __exit__
            self.__exit__(None, None, None)
            self.__enter__()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            self._restore()
            signal.raise_signal(number)
        self._noted = True

    def _restore(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._note:  # otherwise the user has set another handler meanwhile
            signal.signal(signal.SIGTERM, self._before)
