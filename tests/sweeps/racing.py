"""Processes that fight for one directory without locks of the system, and are killed while they have it.

    python -m tests.sweeps.racing DIRECTORY KILLS

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


def size(path):
    return path.stat().st_size if path.exists() else 0


def fight(directory, kills):
    """Has the directory as often as it can, and is killed one time in three, until there were so many kills."""
    random.seed()
    lock._read, Path.unlink, Path.open = map(hesitating, (lock._read, Path.unlink, Path.open))
    own, inside = directory / "own", directory / "inside"
    while size(directory / "killed") < kills:
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
    directory, kills = Path(sys.argv[1]), int(sys.argv[2])
    lock._lock = no_locks
    (directory / "own").mkdir()
    running = 0
    while running or size(directory / "killed") < kills:
        while running < PROCESSES and size(directory / "killed") < kills:
            if os.fork() == 0:
                try:
                    fight(directory, kills)
                except FileNotFoundError:  # `inside`, which the other one of two has removed
                    note(directory / "both")
                os._exit(0)
            running += 1
        os.wait()
        running -= 1
    lock.Lock(directory / "own").release()  # also after the last one that was killed
    print(*(size(directory / name) for name in NOTES), *sorted(path.name for path in (directory / "own").iterdir()))


if __name__ == "__main__":
    main()
