"""A sweep that is told to end saves its state first, and goes on from there to the same bits."""

import contextlib
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import pytest

from paramact_jax.sweeps import TimeLimitError, ending, long_sweep, sweep
from tests.sweeps import ended
from tests.sweeps.killed import NOISY

ROOT = Path(__file__).parents[2]
unix = pytest.mark.skipif(sys.platform == "win32", reason="a signal of another process ends one on Windows at once")


def states(directory):
    return sorted(int(path.stem.rpartition("-")[2]) for path in directory.glob("state-*.npz"))


def train(directory=None, seen=None, **options):
    """8 calls in 2 parts; states are saved only if the sweep is to end."""
    return long_sweep(
        NOISY,
        range(64),
        axes={"rate": [3.7, 3.9]},
        iterations=20,
        iterations_per_call=5,
        chunk=64,
        directory=directory,
        seconds_between_saves=1e9,
        **({} if seen is None else {"on_progress": seen}),
        **options,
    )


def draw(key, scale):
    return scale * jax.random.normal(key)


@pytest.fixture
def handler():
    """Sets a handler of SIGTERM, and at last the one before."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda new: signal.signal(signal.SIGTERM, new)
    signal.signal(signal.SIGTERM, before)


def terminate(done):
    """To be told progress: sends SIGTERM to this process when so much is done."""

    def on_progress(progress):
        if progress.done == done:
            signal.raise_signal(signal.SIGTERM)

    return on_progress


def start(directory, limit="inf", *distributed):
    command = [sys.executable, "-m", "tests.sweeps.ended", str(directory), limit, *distributed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def end(process):
    """The status of a process, and the last number or digest that it printed."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out.split()[-1:], err


@pytest.fixture(scope="module")
def expected():
    return ended.run()


@unix
@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_process_saves_its_state_and_ends_as_by_the_signal(tmp_path, expected, times):
    """In the midst of a call, since a call begins as soon as the one before is told."""
    before = 0
    for _ in range(times):
        process = start(tmp_path)
        process.stdout.readline()
        process.terminate()
        status, last, error = end(process)
        assert status == -signal.SIGTERM, error
        assert int(last[0]) > before
        before = int(last[0])
        finished = 64 * ended.ITERATIONS * len(list(tmp_path.glob("trials-*.npz")))
        assert finished + 64 * max(states(tmp_path), default=0) == before
    seen = []
    resumed = ended.run(tmp_path, on_progress=seen.append)
    assert seen[0].found == before
    assert resumed.identical(expected)


@unix
@pytest.mark.slow
@pytest.mark.skipif(jax.__version_info__ < (0, 9), reason="while JAX 0.8 frees donated arrays, Python hears nothing")
def test_a_second_signal_ends_a_process_in_the_midst_of_a_call(tmp_path):
    script = "from tests.sweeps.ended import run; import sys\n"
    script += "endless = 2**31 - 1\n"
    script += "plan = lambda plan: print('plan', flush=True)\n"
    script += "run(sys.argv[1], iterations=endless, iterations_per_call=endless, on_plan=plan)"
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout.readline() == b"plan\n"
        time.sleep(3)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.terminate()
        assert process.wait(timeout=10) == -signal.SIGTERM
    finally:
        process.kill()
        process.stdout.close()


def test_the_users_handler_is_called_when_the_state_is_saved(tmp_path, handler):
    called = []

    def own(number, frame):
        called.append((number, states(tmp_path)))
        raise SystemExit(7)

    handler(own)
    with pytest.raises(SystemExit) as caught:
        train(tmp_path, terminate(64 * 5))
    assert caught.value.code == 7
    assert called == [(signal.SIGTERM, [10])]  # of two calls: told after the first one
    assert signal.getsignal(signal.SIGTERM) is own
    assert train(tmp_path).identical(train())


def test_a_handler_that_returns_lets_the_sweep_go_on(tmp_path, handler):
    called = []

    def own(number, frame):
        called.append(states(tmp_path))

    handler(own)
    seen = []

    def on_progress(progress):
        seen.append(progress.done // 64)
        if progress.done in (64 * 5, 64 * 15, 64 * 40):
            signal.raise_signal(signal.SIGTERM)

    assert train(tmp_path, on_progress).identical(train())
    assert seen == [5, 10, 15, 20, 25, 30, 35, 40]
    assert called == [[10], [], []]  # the second came in the last call of a part, the third in the last of all
    assert signal.getsignal(signal.SIGTERM) is own


def test_a_second_signal_does_not_wait(tmp_path, handler):
    called = []

    def own(number, frame):
        called.append(states(tmp_path))
        raise SystemExit(7)

    handler(own)

    def on_progress(progress):
        signal.raise_signal(signal.SIGTERM)
        assert called == []
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(tmp_path, on_progress)
    assert called[0] == []
    assert signal.getsignal(signal.SIGTERM) is own


def test_a_sweep_keeps_the_calls_that_are_finished(tmp_path, handler):
    def own(number, frame):
        raise SystemExit(7)

    handler(own)
    options = {"axes": {"scale": [1.0, 2.0]}, "chunk": 64}
    with pytest.raises(SystemExit):
        sweep(draw, range(128), **options, directory=tmp_path, on_progress=terminate(64))
    assert sorted(path.name for path in tmp_path.glob("trials-*")) == ["trials-0-64.npz", "trials-64-128.npz"]
    assert sweep(draw, range(128), **options, directory=tmp_path).identical(sweep(draw, range(128), **options))


def test_before_the_first_call_nothing_runs(tmp_path, handler):
    handler(lambda number, frame: sys.exit(7))
    seen = []
    with pytest.raises(SystemExit):
        train(tmp_path, seen.append, on_plan=lambda plan: signal.raise_signal(signal.SIGTERM))
    assert seen == []


def test_an_error_is_told_although_the_process_ends(tmp_path, handler, capsys):
    called = []
    handler(lambda number, frame: called.append(number))

    def on_progress(progress):
        signal.raise_signal(signal.SIGTERM)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        train(tmp_path, on_progress)
    assert called == [signal.SIGTERM]
    assert "OSError: the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["no directory", "a thread", "ignored"])
def test_elsewhere_the_signal_is_left_alone(tmp_path, handler, where):
    own = signal.SIG_IGN if where == "ignored" else lambda number, frame: None
    handler(own)
    seen = []
    look = lambda progress: seen.append(signal.getsignal(signal.SIGTERM) is own)  # noqa: E731
    work = threading.Thread(target=train, args=(tmp_path if where != "no directory" else None, look))
    if where == "a thread":
        work.start()
        work.join()
    else:
        work.run()
    assert seen == [signal.getsignal(signal.SIGTERM) is own] * 8 == [True] * 8


def test_a_time_limit_lets_each_run_make_one_call_at_least(tmp_path):
    ends = []
    with pytest.raises(TimeLimitError) as caught:
        train(tmp_path, ends.append, time_limit=1e-6)
    assert str(caught.value) == (
        "time_limit: the next call could end after 1e-06 s; 12.5% of the sweep is done and saved: make the same call "
        "again to go on from there"
    )
    for _ in range(6):
        with pytest.raises(TimeLimitError):
            train(tmp_path, ends.append, time_limit=1e-6)
    results = train(tmp_path, ends.append, time_limit=1e-6)  # after the last call nothing is left to end
    assert [progress.done // 64 for progress in ends] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert results.identical(train())
    assert train(tmp_path, ends.append, time_limit=0).identical(results)
    assert len(ends) == 8


def test_a_time_limit_of_a_sweep_of_whole_trainings(tmp_path):
    options = {"axes": {"scale": [1.0, 2.0]}, "chunk": 64}
    for done in (1, 2, 3):
        with pytest.raises(TimeLimitError, match=f"; {done / 4:.1%} of the sweep is done and saved: make"):
            sweep(draw, range(128), **options, directory=tmp_path, time_limit=1e-6)
    stored = sweep(draw, range(128), **options, directory=tmp_path, time_limit=1e-6)
    assert stored.identical(sweep(draw, range(128), **options))


@pytest.mark.parametrize(("limit", "calls"), [(81, 5), (79, 4), (71, 4), (69, 3), (1e9, 8), (math.inf, 8), (None, 8)])
def test_the_longest_call_tells_whether_there_is_time_for_the_next(tmp_path, monkeypatch, limit, calls):
    """The second takes 30 seconds, all others 10."""
    now, seen = [100.0], []
    monkeypatch.setattr(ending.time, "perf_counter", lambda: now[0])

    def on_progress(progress):
        seen.append(progress)
        now[0] += 30 if len(seen) == 2 else 10

    with pytest.raises(TimeLimitError) if calls < 8 else contextlib.nullcontext():
        train(tmp_path, on_progress, time_limit=limit)
    assert len(seen) == calls


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"time_limit: expected a directory to go on from, got none; name one with directory=, or give no limit"),
        ({"directory": "x", "time_limit": -1}, "time_limit: expected a number >= 0, got -1"),
        ({"directory": "x", "time_limit": math.nan}, "time_limit: expected a number >= 0, got nan"),
        ({"directory": "x", "time_limit": "1h"}, "time_limit: expected a number >= 0, got '1h'"),
    ],
)
def test_an_impossible_time_limit_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        sweep(draw, range(3), scale=1.0, **({"time_limit": 60} | options))


def start_two(directory, limits=("inf", "inf")):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [start(directory, limits[i], f"127.0.0.1:{port}", "2", str(i)) for i in range(2)]


@unix
@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_all_processes_end_when_one_is_told(tmp_path, expected, told):
    started = start_two(tmp_path)
    for line in started[0].stdout:
        if line.strip().isdecimal():  # JAX's communication prints lines of its own
            break
    started[told].terminate()
    results = [end(process) for process in started]
    assert [status for status, _, _ in results] == [-signal.SIGTERM] * 2, results
    ((done,),) = {tuple(last) for _, last, _ in results}
    assert 0 < int(done) < 128 * ended.ITERATIONS
    seen = []
    assert ended.run(tmp_path, on_progress=seen.append).identical(expected)
    assert seen[0].found == int(done)


@pytest.mark.slow
def test_the_first_process_keeps_the_time_for_all(tmp_path, expected):
    for limits, last in ((("1e-6", "inf"), "time"), (("inf", "1e-6"), ended.digest(expected))):
        results = [end(process) for process in start_two(tmp_path, limits)]
        assert [(status, said) for status, said, _ in results] == [(0, [last])] * 2, results
