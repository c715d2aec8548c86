import dataclasses
import threading
import time

import jax
import pytest

from experiments.study.side_by_side import one_after_another, side_by_side


def test_as_many_trainings_run_at_once_as_there_are_devices_each_on_its_own():
    devices = jax.local_devices()
    together = threading.Barrier(len(devices))

    def train(name, mesh, compiled, check):
        check()
        (device,) = mesh.devices.flat
        together.wait(timeout=10)
        return name, device

    names = [f"{i}" for i in range(len(devices))]
    found = side_by_side(names, train)
    assert [name for name, _ in found.values()] == list(found) == names
    assert {device for _, device in found.values()} == set(devices)


def test_more_trainings_than_devices_take_the_devices_that_become_free():
    found = side_by_side(range(11), lambda name, mesh, compiled, check: (name, mesh.size))
    assert found == {name: (name, 1) for name in range(11)}


@pytest.mark.cpu_devices(2)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_ends_the_others_and_is_the_one_that_is_raised(error):
    begun = threading.Event()
    ended = []

    def train(name, mesh, compiled, check):
        if name == "fails":
            begun.wait(timeout=10)
            raise error("this one")
        begun.set()
        try:
            while True:
                check()
        finally:
            ended.append(name)

    with pytest.raises(error, match="this one"):
        side_by_side(["runs on", "fails", *map(str, range(20))], train)
    assert "runs on" in ended


@dataclasses.dataclass(frozen=True)
class Accelerator:
    number: int
    platform: str = "gpu"


@pytest.mark.parametrize("count", [1, 2])
def test_on_accelerators_the_next_ones_compile_while_others_train_one_on_each(count, monkeypatch):
    """Those that train first wait until all the next ones have compiled, which then wait for them."""
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator(i) for i in range(count)])
    monkeypatch.setattr("experiments.study.side_by_side.trial_mesh", tuple)
    all_compiled = threading.Barrier(2 * count)
    running = {Accelerator(i): threading.Lock() for i in range(count)}

    def train(name, mesh, compiled, check):
        (device,) = mesh
        if name < 2 * count:
            all_compiled.wait(timeout=10)
        compiled("a plan")
        assert running[device].acquire(blocking=False)
        compiled("that of a second sweep")
        time.sleep(0.02)
        running[device].release()
        return name

    assert side_by_side(range(6), train) == {name: name for name in range(6)}


def test_on_an_accelerator_too_a_failure_ends_the_others(monkeypatch):
    """Also one that waits for the device."""
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator(0)])
    monkeypatch.setattr("experiments.study.side_by_side.trial_mesh", tuple)
    ended, runs, waits = [], threading.Event(), threading.Event()

    def train(name, mesh, compiled, check):
        if name == "fails":
            compiled("a plan")
            runs.set()
            assert waits.wait(timeout=10)
            raise ValueError("this one")
        if name == "waits":
            assert runs.wait(timeout=10)
            waits.set()
        try:
            compiled("a plan")
            while True:
                check()
        finally:
            ended.append(name)

    with pytest.raises(ValueError, match="this one"):
        side_by_side(["fails", "waits", *map(str, range(20))], train)
    assert "waits" in ended


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
