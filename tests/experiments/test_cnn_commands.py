"""`cnn`, `cnn-sharing` and `cnn-search` as a user runs them."""

import json

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.study import run_directory

pytestmark = pytest.mark.usefixtures("unoptimised")

TINY = ["--data", "synthetic", "--training-images", "60", "--batch-size", "20"]
SHORT = [*TINY, "--trials", "2", "--iterations", "4", "--test-every", "2"]


def test_an_interrupted_run_goes_on_and_is_reported(tmp_path, monkeypatch, capsys):
    from experiments.problems.cnn import train as module

    real, interrupted = module.train, []

    def train(*arguments, **options):
        if not interrupted and "dense-only" in options["directory"].name:
            interrupted.append(options["directory"])
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "train", train)
    out = tmp_path / "run"
    arguments = ["cnn", *SHORT, "--combinations", "relu/parametric_sigmoid", "--out", str(out)]
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    assert not out.exists()
    kept = {path.name for path in (tmp_path / ".run.unfinished").iterdir()}
    assert "config.json" in kept
    assert interrupted[0].name not in kept
    assert "goes on where it was" in capsys.readouterr().err
    assert main(arguments) == 0
    assert not (tmp_path / ".run.unfinished").exists()
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    assert "SYNTHETIC IMAGES, NOT MNIST" in capsys.readouterr().out
    run = run_directory.read(out)
    assert np.isfinite(run.records["test_loss"]).all()
    assert run.manifest["config"]["combinations"] == [["relu", "parametric_sigmoid"]]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["synthetic"] is True
    assert len(summary["statements"]) == 1
    for name in ("figure_11", "figure_12", "figure_13", "figure_14_a", "figure_14_b"):
        assert (out / f"{name}.png").stat().st_size > 5_000


def test_a_search_writes_its_ranking(tmp_path, monkeypatch):
    from experiments.problems.cnn import protocol

    grid = {"pooling": ("max",), "learning_rate": (0.03, 0.3)}
    monkeypatch.setattr(protocol, "SEARCH_GRID", protocol.SEARCH_GRID | grid | {"weight_scale": (1.0,)})
    out = tmp_path / "run"
    rounds = ["--iterations", "2", "4", "--keep-one-in", "2"]
    options = [*rounds, "--combinations", "relu/parametric_relu", "--out", str(out)]
    assert main(["cnn-search", *TINY, *options]) == 0
    records = run_directory.read(out).records
    assert dict(records.sizes) == {"round": 2, "cell": 4, "combination": 1, "seed": 1}
    assert int(records["score"].sel(round=4).notnull().sum()) == 2
    assert float(records["score"].sel(round=4, cell=1)) <= float(records["score"].sel(round=4, cell=2))
    assert "training split alone" in records.attrs["source"]
    assert "What [A] leaves open, best first" in (out / "report.md").read_text()
