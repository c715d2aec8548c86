"""`python -m experiments COMMAND`: every experiment is one command."""

from __future__ import annotations

import importlib.util
import sys

if importlib.util.find_spec("tyro") is None:
    sys.exit('error: the experiments need more packages than the library: pip install -e ".[experiments]"')

from experiments.commands import parse, prepared
from experiments.front_page import page

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    0: done. 1: a check failed, or a file could not be written. 2: bad input, reported in one line; nothing was written.
    130: interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        print(page(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    command = parse(words)
    try:
        work = prepared(command)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        return work() or 0
    except KeyboardInterrupt:  # the run itself has said what is kept and how to go on
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        sys.stdout = None
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        from experiments.study.run_directory import DamagedRunError
        from paramact_jax.sweeps import DirectoryRefusedError

        if not isinstance(error, DirectoryRefusedError | DamagedRunError):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
