import threading

import jax
import pytest

from experiments.side_by_side import compile_side_by_side, side_by_side


def test_as_many_trainings_run_at_once_as_there_are_devices_each_on_its_own():
    devices = jax.local_devices()
    together = threading.Barrier(len(devices))

    def train(name, mesh, check):
        check()
        (device,) = mesh.devices.flat
        together.wait(timeout=10)
        return name, device

    names = [f"{i}" for i in range(len(devices))]
    found = side_by_side(names, train)
    assert [name for name, _ in found.values()] == list(found) == names
    assert {device for _, device in found.values()} == set(devices)


def test_more_trainings_than_devices_take_the_devices_that_become_free():
    found = side_by_side(range(11), lambda name, mesh, check: (name, mesh.size))
    assert found == {name: (name, 1) for name in range(11)}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_ends_the_others_and_is_the_one_that_is_raised(error):
    begun = threading.Event()
    ended = []

    def train(name, mesh, check):
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


def test_compilations_overlap_and_the_next_program_is_traced_meanwhile():
    traced, compiled = threading.Event(), []

    def first():
        assert traced.wait(timeout=10)
        return "program of first"

    def compilers():
        yield "first", first
        traced.set()
        yield "second", lambda: "program of second"

    found = compile_side_by_side(compilers(), on_compiled=lambda name, seconds: compiled.append((name, seconds >= 0)))
    assert found == {"first": "program of first", "second": "program of second"}
    assert sorted(compiled) == [("first", True), ("second", True)]


def test_what_a_compilation_raises_is_raised():
    def fails():
        raise ValueError("cannot be compiled")

    with pytest.raises(ValueError, match="cannot be compiled"):
        compile_side_by_side([("good", lambda: 1), ("bad", fails)])
