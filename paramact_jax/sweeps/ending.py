"""Ends a sweep that keeps its state before it is finished: on SIGTERM, as batch systems send it."""

from __future__ import annotations

import signal
import threading
import traceback
from types import FrameType, TracebackType

from paramact_jax.sweeps.distributed import smallest

_SIGNAL, _NOTHING = range(2)


class Ending:
    """Notes SIGTERM while a sweep runs in the main thread, so that the state is saved before the signal has its effect.

    A second one has its effect at once. Afterwards the handler is what it was. What has no directory, or ignores the
    signal, is left as it is.

    Args:
      keeps: whether the sweep has a directory.
    """

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
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

        To be asked between two calls.
        """
        self._reason = smallest(_SIGNAL if self._noted else _NOTHING) if self._keeps else _NOTHING
        return self._reason != _NOTHING

    def end_if_due(self) -> None:
        """Ends the sweep if it was due when last asked; goes on if the user's handler of the signal returns."""
        reason, self._reason = self._reason, _NOTHING
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
