"""Locks a directory for one process at a time, even if the file system has no locks.

lock               locked by the system, which releases it when the process ends, however it ends
lock.json          used if the system has no locks; stays if its process is killed
lock-TOKEN.json    replaces the file with this token after the process of that file has ended
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import errno
import json
import os
import platform
import re
import secrets
import sys
from pathlib import Path
from typing import NamedTuple

from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError

LOCKS = re.compile(r"lock|lock(-\w+)?\.json")
"""Names of the lock's files."""
_IN_USE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
"""Errors of a system if another process holds the lock."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Errors of a system without locks, such as NFS without its lock service, or Lustre mounted without `flock`."""


class Holder(NamedTuple):
    """The process that holds a directory, as it is written to the file.

    Attributes:
      token: of this lock; no other lock ever has it.
      host: name of the machine.
      system: identifies the running system and container, in which process numbers are unique; "" if not known.
      process: number of the process.
      started: when the process started, as its system counts; "" if not known.
      since: when the process took the directory.
    """

    token: str
    host: str
    system: str
    process: int
    started: str
    since: str

    @classmethod
    def here(cls) -> Holder:
        """Returns this process, with a new token."""
        number, now = os.getpid(), datetime.datetime.now().astimezone()
        return cls(
            secrets.token_hex(8), platform.node(), _system(), number, _started(number), now.isoformat(" ", "seconds")
        )

    def has_ended(self) -> bool:
        """Returns whether the process has certainly ended; for a process on another machine that is not known."""
        if (self.host, self.system) != (platform.node(), _system()) or sys.platform == "win32":
            return False
        started = _started(self.process)  # asked first: if the process ends meanwhile, os.kill shows it
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:  # a process of another user
            pass
        return bool(self.started and started) and self.started != started  # a later process has the number


_UNKNOWN = Holder("", "", "", 0, "", "")


class Lock:
    """Takes a directory for this process, until it is released or the process ends.

    Args:
      directory: an existing directory.

    Raises:
      DirectoryRefusedError: in one line, if another process holds it.
      OSError: if no file can be made there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._me = Holder.here()
        self._files: list[Path] = []
        self._locked = False
        self._file = (directory / "lock").open("a+", encoding="utf-8")
        try:
            self._take()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Releases the directory for other processes."""
        if self._me.process == os.getpid():  # a forked process has a copy
            if self._files and self._found() == (self._files, self._me):
                for path in self._files:  # the first one first: without it no process reads the others
                    path.unlink(missing_ok=True)
            if self._locked and not self._file.closed:
                self._file.truncate(0)
        self._file.close()
        atexit.unregister(self.release)

    def _take(self) -> None:
        """Locks, or makes a file. Then it looks for the other kind, since one machine may have locks, another none."""
        path = self._directory / "lock"
        try:
            self._file.seek(0)
            _lock(self._file.fileno())
        except OSError as error:
            if error.errno in _IN_USE:
                raise self._refusal(_read(path) or _UNKNOWN) from error
            if error.errno not in _NO_LOCKS:
                raise
            atexit.register(self.release)
            self._take_file()
            other = _read(path) or _UNKNOWN
            if other != _UNKNOWN and not other.has_ended():
                raise self._refusal(other, path) from error
        else:
            self._locked = True
            self._file.truncate(0)
            self._file.write(json.dumps(self._me._asdict()))
            self._file.flush()
            if (holder := self._found()[1]) is not None:
                raise self._refusal(holder, self._first)

    @property
    def _first(self) -> Path:
        return self._directory / "lock.json"

    def _take_file(self) -> None:
        """Makes the first file, or the one after those of processes that have ended.

        It does not remove older files: another process may just have read one, and would then remove a later file.
        """
        while not self._files:
            files, holder = self._found()
            if holder is not None:
                raise self._refusal(holder, self._first)
            with contextlib.suppress(FileExistsError):
                file = files[-1].open("x", encoding="utf-8")
                try:
                    with file:
                        file.write(json.dumps(self._me._asdict()))
                    if self._found() == (files, self._me):  # otherwise a later holder removed older files
                        self._files = files
                finally:
                    if not self._files:
                        files[-1].unlink(missing_ok=True)

    def _found(self) -> tuple[list[Path], Holder | None]:
        """Returns the files from the first to the holder's, or to one that is not there; and the holder."""
        files = [self._first]
        while (holder := _read(files[-1])) and holder.has_ended():
            files.append(self._directory / f"lock-{holder.token}.json")
        return files, holder

    def _refusal(self, holder: Holder, path: Path | None = None) -> DirectoryRefusedError:
        known = f"process {holder.process} on {holder.host} since {holder.since}"
        shown = "unknown" if holder == _UNKNOWN else known
        advice = "wait for it" if path is None else f"wait for it, delete {path} if that process has ended"
        return DirectoryRefusedError(
            f"directory: {self._directory} is in use by another process ({shown}); {advice}, or name another directory"
        )


def _read(path: Path) -> Holder | None:
    """Returns the process that made a file; None if the file is not there."""
    try:
        holder = Holder(**json.loads(path.read_text(encoding="utf-8")))
        return holder if holder.process > 0 else _UNKNOWN
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):  # it is being written, or is not a lock's file
        return _UNKNOWN


def _system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(process: int) -> str:
    try:
        about = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *rest = about.rpartition(")")[2].split()
    return "ended" if state in "ZX" else rest[18]  # an ended process keeps its number until its parent asks


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
