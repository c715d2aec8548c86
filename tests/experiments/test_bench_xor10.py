"""A contest: its turns, ratios and totals; and `bench xor10`, whose contestants train the same trials."""

import json

import numpy as np
import pytest

from experiments.bench import yardstick
from experiments.bench.contest import Contestant, Unit, check_same, machine_and_versions, race, shown, total
from experiments.bench.xor10 import BenchXor10, differ

NAMES = ("ppns", "relu")
PAIRS = ["project / yardstick", "usual / project"]


@pytest.fixture(scope="module")
def measured():
    bench = BenchXor10(pytorch=False, seeds=64, rounds=1, steps=20, activations=NAMES)
    return bench.measure(bench.load())


def test_a_result_is_json_with_the_documented_entries(measured):
    result = json.loads(json.dumps(machine_and_versions(2) | measured[0]))
    assert set(result["machine"]) == {"cpu", "cores_used", "cores_there", "avx512", "default_backend"}
    assert set(result["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy", "torch"}
    assert (result["parameters"]["seeds"], result["parameters"]["loss"]) == (64, "half-mse")
    assert [row["activation"] for row in result["rows"]] == list(NAMES)


def test_a_row_has_times_ratios_and_seconds_to_compile(measured):
    for row in measured[0]["rows"]:
        assert list(row["microseconds"]) == ["project", "usual", "usual_sharded"]
        for times in row["microseconds"].values():
            assert 0 < times["min"] <= times["median"] <= times["max"]
            assert len(times["rounds"]) == 1
        assert set(row["compile_seconds"]) == {"project", "usual", "usual_sharded"}
        ratio = row["microseconds"]["usual"]["median"] / row["microseconds"]["project"]["median"]
        assert row["ratios"]["usual / project"]["median"] == pytest.approx(ratio)


def test_contestants_left_out_say_why_and_their_target_is_not_measured(measured):
    result, tables = measured
    assert "--yardstick" in result["contestants"]["yardstick"]["skipped"]
    assert result["contestants"]["pytorch"]["skipped"] == "not asked for"
    to_yardstick, usual = result["targets"]
    assert to_yardstick["value"] is None and to_yardstick["met"] is None
    assert usual["value"] > 0 and isinstance(usual["met"], bool)
    text = shown(machine_and_versions(2) | result, tables)
    for part in ("yardstick: skipped", "this project: the", "usual way: jax", "PyTorch: skipped", "not measured"):
        assert part in text
    times, ratios, compiled = tables
    assert [row[0] for row in times.rows] == [*NAMES, "total"] == [row[0] for row in compiled.rows]
    assert [row[0] for row in ratios.rows] == [*NAMES, "total", "sums of medians"]


def contestant(name, losses=(), *, seconds=1e-3, trials=20, iterations=10):
    return Contestant(name, "", lambda: seconds, lambda: np.array(losses), trials, iterations, 2.0)


def test_fewer_trials_and_iterations_are_scaled_linearly():
    unit = Unit("microseconds", "", PAIRS, lambda x: 20 * x)
    row = race(unit, [contestant("usual", trials=5), contestant("project", seconds=2e-3)], rounds=2)
    assert row["microseconds"]["usual"]["rounds"] == pytest.approx([400, 400])
    assert row["ratios"] == {"usual / project": {"min": 2, "median": 2, "max": 2, "rounds": [2, 2]}}
    assert row["compile_seconds"] == {"usual": 2.0, "project": 2.0}


def test_totals_are_sums_of_medians_and_ratios_by_round():
    def row(usual):
        times = {"project": [1, 2, 6], "yardstick": [2, 4, 12], "usual": usual}
        return {
            "microseconds": {name: {"median": sorted(x)[1], "rounds": x} for name, x in times.items()},
            "compile_seconds": {"project": 2.0, "usual": 1.0},
        }

    found = total([row([10, 20, 60]), row([20, 40, 120])], Unit("microseconds", "", PAIRS, float))
    assert found["microseconds"] == {"project": 4, "yardstick": 8, "usual": 60}
    half = {"min": 0.5, "median": 0.5, "max": 0.5, "rounds": [0.5] * 3, "of_sums": 0.5}
    assert found["ratios"]["project / yardstick"] == half
    assert found["ratios"]["usual / project"]["median"] == 15
    assert found["compile_seconds"] == {"project": 4.0, "usual": 2.0}


def test_another_problem_is_refused():
    same = np.linspace(1, 2, 40)
    forked = np.where(np.arange(40) < 3, 5, same)
    check_same("relu", [contestant("usual", x) for x in (same, forked, same[:4] * 1.0001)], differ)
    with pytest.raises(RuntimeError, match="relu: expected project and usual to train the same networks"):
        check_same("relu", [contestant("usual", same), contestant("project", same * 1.01)], differ)


def test_trials_that_do_not_fill_the_lanes_are_refused():
    with pytest.raises(ValueError, match="--seeds: expected a multiple of 16, got 24"):
        BenchXor10(seeds=24).load()


def test_check_yardstick_takes_the_directory_or_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(yardstick.shutil, "which", lambda name: f"/bin/{name}")
    for name in ("xor10.py", "xor10.c"):
        (tmp_path / name).touch()
    assert (
        yardstick.check_yardstick(tmp_path) == yardstick.check_yardstick(tmp_path / "xor10.py") == tmp_path / "xor10.py"
    )


def test_check_yardstick_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"expected the directory .* there is no xor10\.py; pass"):
        yardstick.check_yardstick(tmp_path)
    (tmp_path / "xor10.py").touch()
    with pytest.raises(ValueError, match=r"there is no xor10\.c; pass"):
        yardstick.check_yardstick(tmp_path)
    (tmp_path / "xor10.c").touch()
    monkeypatch.setattr(yardstick.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="expected gcc"):
        yardstick.check_yardstick(tmp_path)


@pytest.mark.parametrize("parametric", [True, False])
def test_to_params_turns_rows_into_our_params(parametric):
    rows = np.arange(2 * 103, dtype=np.float32).reshape(2, 103)
    params = yardstick.to_params(rows, parametric)
    layer = params["hidden"][3]
    # W[3][to][from] begins at row 12; a kernel is (from, to)
    assert layer["linear"]["kernel"][0].tolist() == [[12, 14], [13, 15]]
    assert layer["linear"]["bias"][0].tolist() == [46, 47]
    assert params["out"]["kernel"][0].tolist() == [[100], [101]]
    assert params["out"]["bias"][1].tolist() == [103 + 102]
    assert ("activation" in layer) == parametric
    if parametric:
        assert layer["activation"]["a"][0].tolist() == [66, 67]
        assert layer["activation"]["b"][0].tolist() == [86, 87]


def test_to_params_refuses_another_number_of_rows():
    with pytest.raises(ValueError, match=r"\(trials, 103\), got \(2, 102\)"):
        yardstick.to_params(np.zeros((2, 102), np.float32), parametric=True)
