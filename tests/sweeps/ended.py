"""A long sweep that is told to end; prints `done` of its progress, and at last a digest of its results.

python -m tests.sweeps.ended DIRECTORY LIMIT [COORDINATOR PROCESSES PROCESS]

LIMIT is `time_limit` in seconds; inf: none is reached.
"""

import hashlib
import sys

import jax

from paramact_jax.sweeps import TimeLimitError, initialise_distributed, long_sweep
from tests.sweeps.killed import NOISY

ITERATIONS = 120_000
CALLS = 20


def run(directory=None, **options):
    """The sweep: 2 parts of the trials, each in 20 calls; a state is saved only if it is to end."""
    options = {
        "iterations": ITERATIONS,
        "iterations_per_call": ITERATIONS // CALLS,
        "seconds_between_saves": 1e9,
    } | options
    return long_sweep(NOISY, range(64), axes={"rate": [3.7, 3.9]}, chunk=64, directory=directory, **options)


def digest(results):
    return hashlib.sha256(b"".join(results[name].values.tobytes() for name in sorted(results))).hexdigest()


def main():
    directory, limit, *distributed = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", 1 if distributed else 4)
    if distributed:
        coordinator, processes, process = distributed
        initialise_distributed(coordinator, int(processes), int(process), timeout=60)
    try:
        results = run(directory, time_limit=float(limit), on_progress=lambda p: print(p.done, flush=True))
        print(digest(results), flush=True)
    except TimeLimitError:
        print("time", flush=True)


if __name__ == "__main__":
    main()
