"""Equal seeds are equal trials, bit for bit, on any number of devices and processes; see layouts.py."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.bench.trainings import TRAININGS
from paramact_jax.sweeps import initialise_distributed, sweep
from tests.sweeps import layouts

pytestmark = [pytest.mark.slow, pytest.mark.cpu_devices(4)]

ROOT = Path(__file__).parents[2]


def run(task, directory, *, devices=1, processes=1, status=0):
    """What each process printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.sweeps.layouts", task, str(devices), str(directory)]
    several = [[f"127.0.0.1:{port}", str(processes), str(i)] for i in range(processes)] if processes > 1 else [[]]
    started = [
        subprocess.Popen([*command, *own], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for own in several
    ]
    try:
        said = [process.communicate(timeout=900) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [status] * processes, said
    lines = (line for out, _ in said for line in out.splitlines())  # JAX's communication prints lines of its own
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """One process with one device."""
    (found,) = run("same", tmp_path_factory.mktemp("unused"))
    return found


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """The same for the eight trainings of the bench."""
    (found,) = run("trainings", tmp_path_factory.mktemp("unused"))
    return found


@pytest.mark.parametrize(
    ("name", "sweeps"),
    [
        ("network", [{"seeds": range(40, 50)}, {"seeds": range(300)}, {"seeds": range(50), "chunk": 7}]),
        ("network, fused", [{"seeds": range(40, 50)}, {"seeds": range(100), "chunk": 250}]),
        ("training", [{"seeds": range(40, 50)}, {"seeds": range(200)}, {"seeds": range(50), "chunk": 7}]),
        ("training, fused", [{"seeds": range(40, 50)}, {"seeds": range(200)}, {"seeds": range(50), "chunk": 7}]),
        ("stopped", [{"seeds": range(40, 50)}, {"seeds": range(200)}, {"seeds": range(40, 50), "chunk": 7}]),
        ("stopped, fused", [{"seeds": range(40, 50)}, {"seeds": range(200)}]),
    ],
)
def test_a_trial_does_not_depend_on_its_company(reference, name, sweeps):
    """Here on 4 devices; alone, among hundreds, and in chunks that cut anywhere."""
    fused = name.endswith(", fused")
    for options in sweeps:
        if name.startswith(("training", "stopped")):
            train = layouts.stopped if name.startswith("stopped") else layouts.train
            results = train(fused=fused, **options)
        else:
            results = sweep(layouts.network, axes=layouts.RATES, fused=fused, **options)
        assert layouts.rows(results) == reference[name], options


@pytest.mark.parametrize("name", TRAININGS)
def test_a_trial_of_any_training_does_not_depend_on_its_company(trainings, name):
    """As above; the reference trains them among 90, in chunks of 50."""
    for options in ({"seeds": range(40, 50)}, {"seeds": range(35, 50), "chunk": 7}):
        assert layouts.rows(layouts.trained(name, **options)) == trainings[name], options


def test_a_trial_of_any_training_does_not_depend_on_devices_and_processes(trainings, tmp_path):
    for found in run("trainings", tmp_path, devices=4, processes=2):
        assert found == trainings | {"devices": 8, "processes": 2}


@pytest.mark.parametrize(("devices", "processes"), [(8, 1), (2, 2), (1, 4)])
def test_a_trial_does_not_depend_on_devices_and_processes(reference, tmp_path, devices, processes):
    for found in run("same", tmp_path, devices=devices, processes=processes):
        assert found == reference | {"devices": devices * processes, "processes": processes}


def test_several_processes_store_and_go_on(tmp_path):
    """Two are interrupted, four go on from their files, one finds the results."""
    (expected,) = run("whole", tmp_path / "alone")
    assert run("interrupted", tmp_path / "files", processes=2, status=9) == []
    assert sorted(path.name for path in (tmp_path / "files" / "training").glob("*.npz")) == [
        "final-0-150-50.npz",
        "labels.npz",
        "state-150-300-10.npz",
        "trials-0-150.npz",
    ]
    assert run("interrupted", tmp_path / "files", processes=2, status=9) == []
    assert (tmp_path / "files" / "network" / "trials-100-200.npz").exists()
    for found in run("whole", tmp_path / "files", processes=4):
        assert found == expected | {"devices": 4, "processes": 4}
    assert run("whole", tmp_path / "files") == [expected]


def test_what_process_0_cannot_do_is_said_by_all(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    for name, says in (("file", "ValueError: directory: expected a directory"), ("full", "ValueError: directory: exp")):
        said = run("refused", tmp_path / name, processes=2)
        assert [found["error"][: len(says)] for found in said] == [says, says]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("10.0.0.1:1234",), "got no processes, no process"),
        (("10.0.0.1", 2, 0), "coordinator: expected HOST:PORT, got '10.0.0.1'"),
        (("10.0.0.1:1234", 2, 2), "expected process within 0..processes - 1, got process 2 of 2"),
        ((), "expected to join the processes once, before any use of a device"),
    ],
)
def test_processes_that_cannot_be_joined_are_refused_in_one_line(arguments, says):
    import jax

    jax.devices()
    with pytest.raises(ValueError, match=says) as caught:
        initialise_distributed(*arguments)
    assert "\n" not in str(caught.value)


def test_no_cluster_is_said_in_one_line():
    script = "from paramact_jax.sweeps import initialise_distributed as i\ntry: i()\nexcept ValueError as e: print(e)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.startswith("expected coordinator=HOST:PORT, processes= and process=, or a cluster that JAX detects")
    assert said.count("\n") == 1
