"""Processes that fight for one directory without locks of the system, and are killed while they have it.

    python -m tests.sweeps.racing DIRECTORY SECONDS

Prints how often one had it, how often one was killed then, how often two had it at once, and what is left in it.
"""

import errno
import functools
import os
import random
import signal
import sys
import time
from pathlib import Path

from paramact_jax.sweeps import DirectoryRefusedError
from paramact_jax.sweeps.storage import lock

PROCESSES = 5
NOTES = ("had", "killed", "both")


def no_locks(descriptor):
    raise OSError(errno.ENOTSUP, "No locks here")


def hesitating(original):
    """The same, with other processes in between now and then."""

    @functools.wraps(original)
    def wrapped(*args, **kwargs):
        if random.random() < 0.3:
            time.sleep(random.uniform(0, 2e-3))
        return original(*args, **kwargs)

    return wrapped


def note(path):
    """One more byte in a file."""
    with path.open("ab") as file:
        file.write(b".")


def fight(directory, until):
    """Has the directory as often as it can, and is killed one time in three."""
    random.seed()
    lock._read, Path.unlink, Path.open = map(hesitating, (lock._read, Path.unlink, Path.open))
    own, inside = directory / "own", directory / "inside"
    while time.perf_counter() < until:
        try:
            held = lock.Lock(own)
        except DirectoryRefusedError:
            continue
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            note(directory / "both")
        note(directory / "had")
        inside.unlink()
        if random.random() < 1 / 3:
            note(directory / "killed")
            os.kill(os.getpid(), signal.SIGKILL)
        held.release()


def main():
    directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
    lock._lock = no_locks
    (directory / "own").mkdir()
    until = time.perf_counter() + seconds
    running = 0
    while running or time.perf_counter() < until:
        while running < PROCESSES and time.perf_counter() < until:
            if os.fork() == 0:
                try:
                    fight(directory, until)
                except FileNotFoundError:  # `inside`, which the other one of two has removed
                    note(directory / "both")
                os._exit(0)
            running += 1
        os.wait()
        running -= 1
    lock.Lock(directory / "own").release()  # also after the last one that was killed
    counts = [path.stat().st_size if path.exists() else 0 for path in map(directory.joinpath, NOTES)]
    print(*counts, *sorted(path.name for path in (directory / "own").iterdir()))


if __name__ == "__main__":
    main()
