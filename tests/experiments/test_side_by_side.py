import threading
import time

import pytest

from experiments.study.side_by_side import one_after_another


def running(done):
    """A sweep that compiles and reports how much is done."""

    def sweep(on_plan, on_progress):
        on_plan("a plan")
        on_progress(done)
        return done

    return sweep


def test_sweeps_give_their_results_by_name_and_say_where_they_are():
    compiled, seen = [], []
    found = one_after_another(
        {"first": running(1), "second": running(2)},
        on_compiled=lambda name, seconds: compiled.append((name, seconds >= 0)),
        on_progress=lambda name, progress: seen.append((name, progress)),
    )
    assert list(found.items()) == [("first", 1), ("second", 2)]
    assert sorted(compiled) == [("first", True), ("second", True)]
    assert sorted(seen) == [("first", 1), ("second", 2)]


def test_two_compile_at_once(monkeypatch):
    monkeypatch.setattr("experiments.study.side_by_side.usable_cores", lambda: 2)
    together = threading.Barrier(2)

    def sweep(on_plan, on_progress):
        together.wait(timeout=10)
        on_plan("a plan")

    assert one_after_another({"first": sweep, "second": sweep}) == {"first": None, "second": None}


def test_one_compiles_while_another_runs_but_no_two_run(monkeypatch):
    """The first runs until the second is compiled, which then has to wait for it."""
    first_runs, second_is_compiled, events = threading.Event(), threading.Event(), []

    def first(on_plan, on_progress):
        on_plan("a plan")
        events.append("first runs")
        first_runs.set()
        assert second_is_compiled.wait(timeout=10)
        time.sleep(0.1)
        events.append("first ends")

    def second(on_plan, on_progress):
        assert first_runs.wait(timeout=10)
        second_is_compiled.set()
        on_plan("a plan")
        events.append("second runs")

    monkeypatch.setattr("experiments.study.side_by_side.usable_cores", lambda: 2)
    one_after_another({"first": first, "second": second})
    assert events == ["first runs", "first ends", "second runs"]


def test_no_more_compile_at_once_than_there_are_cores(monkeypatch):
    monkeypatch.setattr("experiments.study.side_by_side.usable_cores", lambda: 1)
    compiling = threading.Lock()

    def sweep(on_plan, on_progress):
        assert compiling.acquire(blocking=False)
        time.sleep(0.01)
        compiling.release()
        on_plan("a plan")

    assert len(one_after_another(dict.fromkeys(range(10), sweep))) == 10


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_sweep_that_fails_stops_the_others(error, monkeypatch):
    """One that runs ends where it reports next, and those that wait for their turn do not run."""
    begun, ran = threading.Event(), []

    def endless(on_plan, on_progress):
        on_plan("a plan")
        ran.append("endless")
        begun.set()
        while True:
            on_progress("on")

    def fails(on_plan, on_progress):
        assert begun.wait(timeout=10)
        raise error("cannot be compiled")

    def waits(on_plan, on_progress):
        assert begun.wait(timeout=10)
        on_plan("a plan")
        ran.append("waits")

    monkeypatch.setattr("experiments.study.side_by_side.usable_cores", lambda: 3)
    with pytest.raises(error, match="cannot be compiled"):
        one_after_another({"endless": endless, "fails": fails, "waits": waits})
    assert ran == ["endless"]


def test_what_a_report_raises_ends_the_sweeps():
    def stop(name, progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_after_another({name: running(1) for name in "abc"}, on_progress=stop)
