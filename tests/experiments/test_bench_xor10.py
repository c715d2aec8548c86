import json

import numpy as np
import pytest

from experiments.bench import yardstick
from experiments.bench.contest import Contestant, check_same_problem, race
from experiments.bench.summary import Row, summarise
from experiments.bench.xor10 import check_yardstick, measure, render

NAMES = ("ppns", "relu")


@pytest.fixture(scope="module")
def result():
    return measure(yardstick=None, pytorch=False, trials=64, rounds=1, iterations=20, activations=NAMES)


def test_a_result_is_json_with_the_documented_entries(result):
    assert json.loads(json.dumps(result)) == {**result, "parameters": {**result["parameters"], "activations": [*NAMES]}}
    assert set(result["machine"]) == {"cpu", "cores_used", "cores_there", "avx512", "default_backend"}
    assert set(result["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy", "torch"}
    assert result["parameters"]["trials"] == 64
    assert result["parameters"]["loss"] == "half-mse"
    assert [row["activation"] for row in result["rows"]] == list(NAMES)


def test_a_row_has_times_ratios_and_seconds_to_compile(result):
    for row in result["rows"]:
        assert set(row["microseconds"]) == {"project", "usual", "usual_sharded"}
        for times in row["microseconds"].values():
            assert 0 < times["min"] <= times["median"] <= times["max"]
            assert len(times["rounds"]) == 1
        assert set(row["compile_seconds"]) == {"project", "usual", "usual_sharded"}
        assert row["ratio_to_yardstick"] == {}
        ratio = row["microseconds"]["usual"]["median"] / row["microseconds"]["project"]["median"]
        assert row["ratio_to_project"]["usual"]["median"] == pytest.approx(ratio)


def test_contestants_left_out_say_why_and_their_target_is_not_measured(result):
    assert "--yardstick" in result["contestants"]["yardstick"]["skipped"]
    assert result["contestants"]["pytorch"]["skipped"] == "not asked for"
    to_yardstick, usual = result["targets"]
    assert to_yardstick["value"] is None and to_yardstick["met"] is None
    assert usual["value"] > 0 and isinstance(usual["met"], bool)


def test_render_shows_every_contestant_and_activation(result):
    text = render(result)
    for part in ("yardstick: skipped", "this project:", "usual way:", "PyTorch: skipped", "not measured", *NAMES):
        assert part in text


def test_totals_are_sums_of_medians_and_ratios_by_round():
    seconds = {"project": 2.0, "usual": 1.0}
    rows = [
        Row("one", {"project": [1, 2, 6], "yardstick": [2, 4, 12], "usual": [10, 20, 60]}, seconds),
        Row("two", {"project": [1, 2, 6], "yardstick": [2, 4, 12], "usual": [20, 40, 120]}, seconds),
    ]
    summary = summarise(rows)
    assert summary["totals"]["microseconds"] == {"project": 4, "yardstick": 8, "usual": 60}
    assert summary["totals"]["ratio_to_yardstick"]["project"] == {"min": 0.5, "median": 0.5, "max": 0.5, "of_sums": 0.5}
    assert summary["totals"]["ratio_to_project"]["usual"]["median"] == 15
    assert [target["met"] for target in summary["targets"]] == [True, True]


def contestant(losses, *, trials=20, iterations=10):
    return Contestant("some", lambda: 1e-3, lambda: np.array(losses), trials, iterations)


def test_fewer_trials_and_iterations_are_scaled_linearly():
    assert race([contestant([], trials=5, iterations=10)], rounds=2, trials=20) == {"some": [400.0, 400.0]}


def test_another_problem_is_refused():
    same = np.linspace(1, 2, 40)
    forked = np.where(np.arange(40) < 3, 5, same)
    check_same_problem("relu", [contestant(same), contestant(forked), contestant(same[:4] * 1.0001)])
    with pytest.raises(RuntimeError, match="relu: expected some and some to train the same networks"):
        check_same_problem("relu", [contestant(same), contestant(same * 1.01)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 24}, "multiple of 16, got 24"),
        ({"rounds": 0}, "got rounds=0"),
        ({"activations": ("identity",)}, "got identity"),
        ({"activations": ()}, "got none"),
    ],
)
def test_measure_refuses_bad_numbers_and_names(change, message):
    with pytest.raises(ValueError, match=message):
        measure(**{"yardstick": None, "pytorch": False, **change})


def test_check_yardstick_takes_the_directory_or_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(yardstick.shutil, "which", lambda name: f"/bin/{name}")
    for name in ("xor10.py", "xor10.c"):
        (tmp_path / name).touch()
    assert check_yardstick(tmp_path) == check_yardstick(tmp_path / "xor10.py") == tmp_path / "xor10.py"


def test_check_yardstick_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"expected the directory .* there is no xor10\.py; pass"):
        check_yardstick(tmp_path)
    (tmp_path / "xor10.py").touch()
    with pytest.raises(ValueError, match=r"there is no xor10\.c; pass"):
        check_yardstick(tmp_path)
    (tmp_path / "xor10.c").touch()
    with pytest.raises(ValueError, match=r"there is no xor10\.py; pass"):
        check_yardstick(tmp_path / "xor10.c")
    monkeypatch.setattr(yardstick.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="expected gcc"):
        check_yardstick(tmp_path)


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
