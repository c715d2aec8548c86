"""`bench accelerator`: its parts small, its limits, what it keeps, and how it is shown."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.bench import accelerator
from experiments.bench.accelerator import render, usual_to_project
from experiments.bench.contest import Contestant

DONE = {"device": "Some GPU", "finished": True, "seconds": 1.0}
XOR10 = DONE | {
    "trials": 1000,
    "iterations": 10_000,
    "cold": {"wall_seconds": 9.0, "train_seconds": {"relu": 2.0, "ppns": 3.0}, "compile_seconds": {"ppns": 4.0}},
    "warm": {"wall_seconds": 5.0, "train_seconds": {"relu": 1.0, "ppns": 3.0}, "compile_seconds": {"ppns": 0.5}},
}
USUAL = DONE | {"microseconds": {"relu": 500.0, "ppns": 900.0}}


def share(converged):
    return np.arange(1000) < converged


def test_counts_match_unless_a_test_rejects():
    rows = accelerator.counts({"ppns": share(765), "relu": share(9)})
    assert (rows["ppns"]["here"], rows["ppns"]["published"], rows["ppns"]["kept"]) == (765, (744, 1000), (765, 1000))
    assert rows["ppns"]["p_published"] == pytest.approx(0.275, abs=1e-3) and rows["ppns"]["p_kept"] == 1
    assert rows["ppns"]["p_published_holm"] == pytest.approx(2 * rows["ppns"]["p_published"])
    assert all(row["matches"] for row in rows.values())
    rows = accelerator.counts({"ppns": share(694), "relu": share(9)})
    assert rows["ppns"]["p_published_holm"] < 0.05 and not rows["ppns"]["matches"] and rows["relu"]["matches"]


def test_a_rate_is_that_of_steps_of_all_seeds_at_once():
    kept = {}
    seeds = Contestant("project", "", lambda: 0.5, lambda: np.array([[2.0, 3.0], [1.0, 1.5]]), 2, 100, 7.0)
    accelerator.rate(lambda **values: kept.update(values), "program", seeds)
    found = kept["program"]
    assert (found["steps_per_second"], found["seeds"], found["losses"]) == (pytest.approx(200), 2, [2.0, 1.0])
    assert found["compile_seconds"] == 7.0


def test_the_usual_way_is_compared_where_both_have_trained():
    assert usual_to_project({"xor10": XOR10, "usual": USUAL}) == {"relu": 5.0, "ppns": 3.0, "total": 3.5}
    assert usual_to_project({"xor10": XOR10, "usual": {"microseconds": {"relu": 500.0}}}) == {"relu": 5.0, "total": 5.0}
    assert usual_to_project({"xor10": XOR10}) == {}


def test_a_part_that_is_cut_off_keeps_what_it_had_and_leaves_no_process(tmp_path):
    file = tmp_path / "part.json"
    script = f"""
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(file)!r}, "w").write(json.dumps({{"child": child.pid}}))
time.sleep(60)
"""
    found = accelerator.in_a_process([sys.executable, "-c", script], file, 2, dict(os.environ))
    assert found["cut"] == "after 2 s" and "finished" not in found
    stat, until = Path(f"/proc/{found['child']}/stat"), time.monotonic() + 5
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, "the process of the part's own still runs"
        time.sleep(0.01)


def test_a_part_that_fails_keeps_what_it_said_last(tmp_path):
    script = "import sys; sys.exit('one\\nno such device')"
    found = accelerator.in_a_process([sys.executable, "-c", script], tmp_path / "none", 60, dict(os.environ))
    assert found["failed"] == "exit status 1: no such device"
    assert found["said_last"] == ["one", "no such device"]


def test_no_part_begins_when_the_time_of_all_is_over():
    (part,) = accelerator.measure(["info"], total=1)["parts"].values()
    assert part == {"skipped": "the 1 s of all parts are over"}


@pytest.mark.parametrize("bare", [True, False])
def test_one_json_is_written_after_every_part_and_the_rest_goes_on(bare, monkeypatch, tmp_path, capsys):
    file, seen = tmp_path / "all.json", []

    def stand_in(words, part, limit, environment):
        seen.append(
            (words[4], words[7:], environment.get("JAX_PLATFORMS"), file.exists() and json.loads(file.read_text()))
        )
        return {"torch": DONE | {"skipped": "not installed"}, "usual": {"cut": "after 5 s"}}.get(
            words[4], DONE | {"machine": {"cpu": "some"}, "versions": {"jax": "1.2.3"}, "commit": None}
        )

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(accelerator, "in_a_process", stand_in)
    options = ["--parts", "usual,info,torch", "--small", "--json", str(file)]
    assert (accelerator.main(options) if bare else main(["bench", "accelerator", *options])) == 1
    assert [(name, small, platform) for name, small, platform, _ in seen] == [
        ("usual", ["small"], None),
        ("info", ["small"], None),
        ("torch", ["small"], "cpu"),
    ]
    assert seen[0][3] is False and list(seen[2][3]["parts"]) == ["usual", "info"]
    result = json.loads(file.read_text())
    assert result["machine"] == {"cpu": "some"} and result["parts"]["usual"]["cut"] == "after 5 s"
    shown = capsys.readouterr().out
    for part in ("Some GPU; TINY SIZES", "jax 1.2.3", "cut: after 5 s", "skipped: not installed"):
        assert part in shown


def test_tables_show_what_there_is():
    rows = accelerator.counts({"relu": share(9), "ppns": share(600)})
    rate = {"steps_per_second": 1234.0, "seeds": 8, "compile_seconds": 1.5}
    parts = {
        "info": DONE | {"platform": "gpu", "devices": 2},
        "xor10": XOR10 | {"rows": rows},
        "usual": USUAL,
        "mnist": {"device": "Some GPU", "program, 8 seeds": rate, "cut": "after 150 s", "seconds": 150.0},
        "torch": DONE | {"eager": rate | {"losses": [3.0, 2.5]}, "compiled": {"failed": "TypeError: no Triton"}},
    }
    text = render({"small": False, "parts": parts, "usual_to_project": usual_to_project(parts)})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Some GPU, 2 of gpu"
    assert "relu 2 1 100.0 500.0 5.00 9 11 9 0.65 1 yes" in lines
    assert any(line.startswith("ppns 4.0 3 3 300.0 900.0 3.00 600 744 765") and line.endswith("no") for line in lines)
    assert "total 5 4 400.0 1,400.0 3.50" in lines
    assert "this project: program, 8 seeds 1,234 9,872 1.5" in lines
    assert "PyTorch: eager 1,234 9,872 1.5 2.500000" in lines
    assert "PyTorch: compiled failed: TypeError: no Triton" in lines
    assert "mnist 150 cut: after 150 s" in lines


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--parts", "info,speed"],
            "--parts: expected some of info,xor10,usual,mnist,torch, each once, got info,speed",
        ),
        (["--parts", "info,info"], "each once, got info,info"),
        (["--parts", ""], "each once, got "),
        (["--total", "4"], "--total: expected a number of seconds >= 5, got 4"),
        (["--json", "no/such/directory/x.json"], "--json: expected a new file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(options, message, capsys):
    for run in (accelerator.main, lambda words: main(["bench", "accelerator", *words])):
        assert run(options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


@pytest.mark.slow
def test_everything_runs_small_with_few_packages(tmp_path):
    """In processes that cannot import what a machine with a GPU may lack."""
    for name in ("tyro", "h5netcdf", "docstring_parser", "typeguard", "tensorflow_datasets", "matplotlib"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError({name!r})")
    file, root = tmp_path / "all.json", Path(__file__).parents[2]
    path = os.pathsep.join([str(tmp_path), str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "experiments.bench.accelerator", "--small", "--json", str(file)]
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(file.read_text())
    parts = result["parts"]
    assert parts["info"]["product_error_highest"] < 1e-6
    assert parts["info"]["platform"] == result["machine"]["default_backend"] == "cpu"
    rows = parts["xor10"]["rows"]
    assert {name: row["trials"] for name, row in rows.items()} == {"ppns": 64, "relu": 64}
    assert parts["xor10"]["not_finite"] == {"ppns": 0, "relu": 0}
    assert set(parts["usual"]["microseconds"]) == set(rows)
    assert set(result["usual_to_project"]) == {*rows, "total"}
    mnist = {name: found for name, found in parts["mnist"].items() if isinstance(found, dict)}
    assert [found["seeds"] for found in mnist.values()] == [1, 2, 1, 2]
    before, after = mnist["program without scores, 1 seed"]["losses"]
    assert after < 0.5 * before
    if "skipped" not in parts["torch"]:
        ways = [found for found in parts["torch"].values() if isinstance(found, dict) and "losses" in found]
        assert ways
        for found in ways:
            np.testing.assert_allclose(found["losses"], [before, after], rtol=1e-4)
