"""`bench sweeps`: what it measures, and how it is shown."""

import json

import pytest

from experiments.__main__ import main
from experiments.bench import sweeps


def test_every_size_is_measured_on_one_and_two_devices(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sweeps, "ITERATIONS", 3)
    file = tmp_path / "bench.json"
    assert (
        main(["bench", "sweeps", "--parts", "trials", "--rounds", "1", "--trials", "64", "256", "--json", str(file)])
        == 0
    )
    rows = json.loads(file.read_text())["rows"]
    assert [(row["devices"], row["trials"]) for row in rows] == [(1, 64), (1, 256), (2, 64), (2, 256)]
    assert all(row["microseconds_per_trial"] > 0 and row["bytes"] > 0 for row in rows)
    assert "swept over seeds" in capsys.readouterr().out


def test_early_stops_are_measured(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert main(["bench", "sweeps", "--parts", "stopping", "--small", "--rounds", "1", "--json", str(file)]) == 0
    found = json.loads(file.read_text())["stopping"]
    assert ([row["activation"] for row in found["rows"]], found["trials"]) == (["tanh"], 8)
    for row in found["rows"]:
        assert set(row["converged"]) == set(row["seconds"]) == {"whole", "stopped"}
        assert 10 <= row["iterations"] <= 20
    assert "stopped or not" in capsys.readouterr().out


def test_rows_are_compared_with_the_one_before_on_the_same_devices():
    rows = [
        {"devices": 1, "trials": 100, "microseconds_per_trial": 4.0, "bytes": 3000},
        {"devices": 1, "trials": 200, "microseconds_per_trial": 3.0, "bytes": 4700},
        {"devices": 2, "trials": 100, "microseconds_per_trial": 2.0, "bytes": 6000},
    ]
    lines = sweeps.sizes_table({"rows": rows, "iterations": 10}).plain().splitlines()
    cells = [line.split() for line in lines if line[:1] in ("1", "2")]
    assert cells == [["1", "100", "4.0", "3"], ["1", "200", "3.0", "0.75", "5", "17.0"], ["2", "100", "2.0", "6"]]


def test_a_bench_that_there_is_not_is_refused():
    with pytest.raises(SystemExit):
        main(["bench", "nothing"])
