"""What a sweep says and refuses before it runs, and compiled programs that are kept."""

import itertools
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest

from paramact_jax.sweeps import BLOCK, grid, memory, sweep
from paramact_jax.sweeps.seeds import check_seeds

ROOT = Path(__file__).parents[2]
STEP = BLOCK * 4  # the tests' devices
four_devices = pytest.mark.cpu_devices(4)
ROW = 1000


def wide(key):
    return {"row": jax.random.normal(key, (ROW,))}


def plan_of(seeds, **options):
    plans = []
    sweep(wide, seeds, on_plan=plans.append, **options)
    return plans[0]


@four_devices
def test_a_plan_tells_what_will_run():
    plan = plan_of(range(1000), chunk=400)
    assert (plan.trials, plan.remaining, plan.trials_per_call, plan.calls, plan.devices) == (1000, 1000, 400, 3, 4)
    assert plan.bytes_of_results == 1000 * ROW * 4
    assert plan.bytes_on_host == (1000 + 2 * 400) * ROW * 4 + 1000 * 4
    assert plan.bytes_per_device >= 2 * BLOCK * ROW * 4
    assert str(plan).startswith("1000 trials in 3 calls of at most 400 on 4 devices, one kernel, trials last, ")


@four_devices
def test_memory_grows_with_the_trials_of_a_call_and_not_with_all():
    small, large, chunked = (plan_of(range(n), chunk=chunk) for n, chunk in ((512, 512), (4096, 4096), (4096, 512)))
    assert large.bytes_per_device - small.bytes_per_device > 0.9 * (4096 - 512) // 4 * ROW * 4
    assert chunked.bytes_per_device == small.bytes_per_device


@four_devices
def test_what_does_not_fit_is_refused_with_the_chunk_that_does(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "device_memory", lambda mesh, reserved=0: 2_000_000)
    with pytest.raises(
        ValueError, match=r"4096 trials a call take .* on each of 4 devices, 2 MB are free; pass chunk="
    ) as e:
        sweep(wide, range(4096), directory=tmp_path)
    assert "\n" not in str(e.value)
    chunk = int(str(e.value).rpartition("=")[2])
    assert chunk % STEP == 0
    assert sweep(wide, range(4096), chunk=chunk, directory=tmp_path)["row"].shape == (4096, ROW)
    with pytest.raises(ValueError, match="devices, 2 MB are free"):
        sweep(wide, range(4096), chunk=chunk + STEP)


@pytest.mark.parametrize(("limit", "free"), [("max", 9_216), ("9000", 5_000)])
def test_free_memory_is_what_the_system_and_the_container_leave(limit, free, monkeypatch):
    texts = {
        "/proc/meminfo": "MemTotal: 99 kB\nMemFree: 1 kB\nMemAvailable:      9 kB\n",
        "/proc/self/cgroup": "0::/job\n",
        "/sys/fs/cgroup/job/memory.max": f"{limit}\n",
        "/sys/fs/cgroup/job/memory.current": "4000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: texts[path.as_posix()])
    assert memory.host_memory() == free


@four_devices
def test_what_never_fits_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "device_memory", lambda mesh, reserved=0: 100_000)
    with pytest.raises(
        ValueError, match=r"even the smallest call, 256 trials, takes .*; make the arrays of a trial smaller"
    ):
        sweep(wide, range(4096))
    monkeypatch.setattr(memory, "host_memory", lambda: 1_000_000)
    with pytest.raises(ValueError, match=r"4096 trials with results of 16.4 MB take 18.4 MB of memory, 1 MB are free"):
        sweep(wide, range(4096), chunk=256)


@pytest.mark.parametrize(
    ("seeds", "options"),
    [
        (range(200_000), {}),
        (range(200_000), {"chunk": 50_000}),
        (range(400), {"axes": {"x": range(500)}}),
        (np.arange(200_000, dtype=np.uint32)[::-1], {}),
    ],
    ids=["range", "chunks", "axes", "array"],
)
def test_a_plan_is_what_the_host_uses(seeds, options):
    """Of a sweep whose trials do next to nothing, so that the seeds and their copies are most of it."""

    def cheap(key, x=0):
        return jax.random.key_data(key)[0] + x

    plans = []
    sweep(cheap, seeds, **options)  # compiles, which is no part of a plan
    tracemalloc.start()
    try:
        sweep(cheap, seeds, on_plan=plans.append, **options)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plans[0].bytes_on_host / 1.5 < used < plans[0].bytes_on_host * 1.5


def test_seeds_that_do_not_fit_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(memory, "host_memory", lambda: 10**9)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"4294967296 seeds take 85.9 GB of memory, 1 GB are free; sweep fewer"):
            sweep(wide, range(2**32))
        with pytest.raises(
            ValueError, match="1000000000 trials with results of 4 GB take 20 GB of memory, 1 GB are free"
        ):
            sweep(lambda key, x: x, range(1000), axes={"x": range(10**6)})
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()


def test_ranges_of_seeds_are_what_they_say():
    for seeds in (
        range(5),
        range(7, 100, 13),
        range(2**32 - 1, 5, -(2**30)),
        range(3, -1, -1),
        range(2**32 - 4, 2**32),
    ):
        np.testing.assert_array_equal(check_seeds(seeds), list(seeds))
        assert check_seeds(seeds).dtype == np.uint32


def test_parts_of_a_grid_are_its_points_in_order(monkeypatch):
    monkeypatch.setattr(grid, "_AT_ONCE", 7)
    points = grid.make_grid({"x": [1.0, 2.0, 3.0], "on": [True, False]}, [9, 4, 5, 1])
    expected = list(itertools.product([1.0, 2.0, 3.0], [True, False], [9, 4, 5, 1]))
    for begin, end in ((0, 24), (5, 20), (3, 4), (23, 24)):
        part = points.part(begin, end)
        found = zip(part["axes"]["x"].tolist(), part["axes"]["on"].tolist(), part["seed"].tolist(), strict=True)
        assert list(found) == expected[begin:end]


def test_the_memory_of_this_machine_is_known():
    assert 2**24 < memory.host_memory() < 2**50
    assert memory._available() < 2**50


CACHED = """
import sys, jax
from paramact_jax.sweeps import use_compilation_cache
directory = use_compilation_cache(sys.argv[1] if len(sys.argv) > 1 else None)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if "cache_hit" in name else None)
jax.jit(lambda x: jax.numpy.sin(x) ** 3)(1.0).block_until_ready()
print(directory, bool(hits))
"""


def cached(*arguments, **environment):
    variables = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name} | environment
    command = [sys.executable, "-c", CACHED, *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=variables).stdout
    return out.split()


def test_a_second_process_finds_the_compiled_programs(tmp_path):
    where = tmp_path / "paramact_jax"
    assert cached(XDG_CACHE_HOME=str(tmp_path)) == [str(where), "False"]
    assert cached(XDG_CACHE_HOME=str(tmp_path)) == [str(where), "True"]
    for entry in where.iterdir():  # cut short, as by a kill
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert cached(XDG_CACHE_HOME=str(tmp_path)) == [str(where), "False"]
    assert cached(where, PARAMACT_JAX_COMPILATION_CACHE="0") == ["None", "False"]
    (tmp_path / "file").write_text("")
    assert cached(tmp_path / "file" / "x") == ["None", "False"]
