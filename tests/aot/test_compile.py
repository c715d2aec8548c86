"""The programs compiled for an H100 and a TPU that are not there. Needs the extra `aot`."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = {"h100": "jax_cuda13_plugin", "tpu": "libtpu"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["h100", "tpu"])
def compiled(request):
    """What was made of each program, by its name and part."""
    if importlib.util.find_spec(NEEDED[request.param]) is None:
        pytest.skip(f'needs {NEEDED[request.param]}: pip install -e ".[aot]"')
    command = [sys.executable, "-m", "tests.aot.compile", request.param]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert not done.returncode, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return request.param, {(one["name"], one["part"]): one for one in found}


def test_all_trials_of_seven_activations_are_seven_kernels_in_one_program(compiled):
    _, found = compiled
    for key in (("xor10", "all"), ("xor10 in calls", "whole")):
        assert found[key]["form"].startswith("one kernel")
        assert found[key]["kernels"] == 7
        assert found[key]["conditionals"] == 0
    assert found["xor10 in calls", "whole"]["loops"] == 0  # none that the host or a launch drives


@pytest.mark.parametrize("name", ["mnist", "cnn"])
def test_no_iteration_waits_for_the_host(name, compiled):
    kind, found = compiled
    (stretch,) = (one for (program, part), one in found.items() if program == name and part.startswith("stretch"))
    assert stretch["conditionals"] == 0
    assert kind == "tpu" or stretch["loops_of_known_length"] == stretch["loops"]
    assert stretch["launches_an_iteration"] <= 110
    assert found[name, "with conditionals"]["conditionals"] == 3


def test_numbers_are_float32_and_so_are_their_products(compiled):
    _, found = compiled
    assert not any(one["float64"] for one in found.values())
    assert not any(one["rounded_products"] for one in found.values())


def test_loops_of_all_kinds_are_kernels(compiled):
    _, found = compiled
    kernels = {name: one["kernels"] for (name, _), one in found.items() if name.startswith("kernel of")}
    assert len(kernels) > 45
    assert all(kernels.values()), kernels
