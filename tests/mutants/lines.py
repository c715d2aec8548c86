"""Which lines of the package run, in this process and in those that it starts.

Standard library only: every process that a traced test starts imports it first.
"""

import os
import sys
from pathlib import Path

TOOL = 4  # sys.monitoring's numbers 0 to 2 and 5 are those of debuggers, coverage, profilers and optimisers
TREES = ("paramact_jax", "experiments")
# Variables of the environment: the repository, and where child processes write.
ROOT, CHILDREN = "MUTANTS_ROOT", "MUTANTS_CHILDREN"


def watch(root: str, hit) -> None:
    """Calls hit(path, line) when a line runs for the first time, and after each `sys.monitoring.restart_events()`."""
    monitoring = sys.monitoring
    starts = tuple(f"{root}{os.sep}{tree}{os.sep}" for tree in TREES)

    def line(code, number):
        if code.co_filename.startswith(starts):
            hit(code.co_filename[len(root) + 1 :], number)
        return monitoring.DISABLE

    monitoring.use_tool_id(TOOL, "tests.mutants")
    monitoring.register_callback(TOOL, monitoring.events.LINE, line)
    monitoring.set_events(TOOL, monitoring.events.LINE)


def writer():
    """Returns a `hit` that writes each line at once: a child process may end by os._exit or be killed."""
    file = Path(os.environ[CHILDREN], f"{os.getpid()}-{os.urandom(4).hex()}")
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return lambda path, line: os.write(number, f"{path}:{line}\n".encode())


def watch_child() -> None:
    """Watches this process if it is the child of a traced test; does nothing elsewhere."""
    if CHILDREN in os.environ and hasattr(sys, "monitoring"):
        watch(os.environ[ROOT], writer())
