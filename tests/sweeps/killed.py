"""A short sweep that is killed at many points, each time in a process of its own, and started again.

    python killed.py DIRECTORY FIRST STRIDE

At points FIRST, FIRST + STRIDE, ...: every step of writing, then times by chance. Prints a line for each that does not
end as it should, and at last how many times it was killed and how many steps of writing there are.
"""

import functools
import hashlib
import io
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

STEPS = 48  # of writing in one run: before and in the midst of each write, before each flush, renaming and removal
TIMES = 20  # kill points by chance

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


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(number, count):
    """Die at step `number` of writing; every step adds to `count`."""

    def step():
        count.append(1)
        if len(count) == number:
            die()

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

    atomic._save, os.fsync, Path.replace, Path.unlink = (
        half_written,
        *map(before, (os.fsync, Path.replace, Path.unlink)),
    )


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


def counted(directory):
    count = []
    die_at(None, count)
    run(directory)
    return str(len(count))


def main():
    directory, first, stride = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ.pop("PARAMACT_JAX_COMPILATION_CACHE", None)  # switched off for tests
    use_compilation_cache(f"{directory}/cache")
    _, expected = in_child(lambda: run(None))
    begin = time.perf_counter()
    _, steps = in_child(lambda: counted(f"{directory}/counted-{first}"))
    duration = time.perf_counter() - begin
    choose = random.Random(first)
    killed = 0
    points = [("step", n) for n in range(1, STEPS + 1)] + [("time", None)] * TIMES
    for number, (kind, n) in list(enumerate(points))[first::stride]:
        path = f"{directory}/{number}"
        if kind == "step":
            died, said = in_child(lambda n=n, path=path: (die_at(n, []), run(path))[1])
            if not died:
                print(f"{kind} {n}: not killed: {said}")
        else:
            died, seconds = False, choose.uniform(0, duration)
            while not died:
                path += "-"  # the last one had ended already
                died, _ = in_child(lambda path=path: run(path), seconds)
                seconds *= 0.7
        killed += died
        _, digest = in_child(lambda path=path: run(path))
        if digest != expected:
            print(f"{kind} {n}: expected {expected}, got {digest}")
        if left := [
            p.name for p in Path(path).iterdir() if not p.name.startswith(("trials-", "sweep", "program", "lock"))
        ]:
            print(f"{kind} {n}: left {left}")
    print(f"killed {killed} of {steps}")


if __name__ == "__main__":
    main()
