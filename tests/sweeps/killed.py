"""A short sweep that is killed at many points, each time in a process of its own, and started again.

    python killed.py DIRECTORY

At every fifth step of writing, then at times by chance. Prints a line for each that does not end as it should, and at
last how many times it was killed.
"""

import functools
import hashlib
import io
import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from paramact_jax.sweeps import Training, long_sweep, use_compilation_cache
from paramact_jax.sweeps.storage import atomic

STEPS = 64  # of writing in one run: in the midst of each write, before each flush, renaming and removal
STRIDE = 5  # from one that kills to the next
TIMES = 6  # kill points by chance

NOISY = Training(
    init=lambda key: {"key": key, "x": jax.random.uniform(key, (3,))},
    step=lambda state, rate: {
        "key": jax.random.fold_in(state["key"], 1),
        "x": rate * state["x"] * (1 - state["x"]) + 1e-3 * jax.random.uniform(state["key"]),
    },
    summarise=lambda state: {"x": state["x"], "key": state["key"], "half": state["x"].astype(jnp.bfloat16)},
)


def run(directory):
    """The sweep, saved after every call: 3 parts of the trials with 2 states and one result each."""
    results = long_sweep(
        NOISY,
        range(75),
        axes={"rate": [3.7, 3.9]},
        iterations=12,
        iterations_per_call=4,
        chunk=64,
        directory=directory,
        seconds_between_saves=0,
    )
    return hashlib.sha256(b"".join(results[name].values.tobytes() for name in sorted(results))).hexdigest()


def left_over(directory):
    """What no finished sweep keeps."""
    kept = ("trials-", "final-", "labels", "sweep", "program", "lock")
    return [path.name for path in Path(directory).iterdir() if not path.name.startswith(kept)]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_each_step(step, put=setattr):
    """Call `step` before each flush, renaming and removal, and before and in the midst of each write."""

    def before(original):
        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            step()
            return original(*args, **kwargs)

        return wrapped

    save = atomic._save

    def half_written(file, members):
        content = io.BytesIO()
        save(content, members)
        written = content.getvalue()
        file.write(written[: len(written) // 2])
        file.flush()
        step()
        file.write(written[len(written) // 2 :])

    put(atomic, "_save", half_written)
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        put(owner, name, before(getattr(owner, name)))


def die_at(number):
    """Die at step `number` of writing."""
    steps = itertools.count(1)
    at_each_step(lambda: die() if next(steps) == number else None)


def in_child(work, seconds=None):
    """Whether a forked process was killed, and what it says; killed from outside after so many seconds."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, work().encode())
            os._exit(0)
        except BaseException as error:
            os.write(send, repr(error).encode())
            os._exit(1)
    os.close(send)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(receive) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), said


def main():
    directory = sys.argv[1]
    os.environ.pop("PARAMACT_JAX_COMPILATION_CACHE", None)  # switched off for tests
    use_compilation_cache(f"{directory}/cache")
    _, expected = in_child(lambda: run(None))
    begin = time.perf_counter()
    in_child(lambda: run(f"{directory}/whole"))
    duration = time.perf_counter() - begin
    choose = random.Random(0)
    killed = 0
    for number, step in enumerate([*range(1, STEPS + 1, STRIDE), *[None] * TIMES]):
        path = f"{directory}/{number}"
        if step:
            died, said = in_child(lambda step=step, path=path: (die_at(step), run(path))[1])
            if not died:
                print(f"step {step}: not killed: {said}")
        else:
            died, seconds = False, choose.uniform(0, duration)
            while not died:
                path += "-"  # the last one had ended already
                died, _ = in_child(lambda path=path: run(path), seconds)
                seconds *= 0.7
        killed += died
        _, digest = in_child(lambda path=path: run(path))
        if digest != expected:
            print(f"step {step}: expected {expected}, got {digest}")
        if left := left_over(path):
            print(f"step {step}: left {left}")
    print(f"killed {killed}")


if __name__ == "__main__":
    main()
