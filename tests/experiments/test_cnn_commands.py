"""`cnn`, `cnn-sharing` and `cnn-search` as a user runs them."""

import json

import numpy as np
import pytest

from experiments import run_directory
from experiments.__main__ import main

pytestmark = pytest.mark.usefixtures("unoptimised")

TINY = ["--data", "synthetic", "--training-images", "60", "--batch-size", "20"]
SHORT = [*TINY, "--trials", "2", "--iterations", "4", "--test-every", "2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cnn", "--learning-rate", "0"], "--learning-rate: expected a finite number > 0, got 0.0"),
        (["cnn", "--test-every", "0"], "--test-every: expected an integer >= 1, got 0"),
        (["cnn", "--subset-seed", "-1"], "--subset-seed: expected an integer >= 0, got -1"),
        (
            ["cnn", "--combinations", "relu"],
            "--combinations: expected CONV/DENSE, two activations as in parametric_relu",
        ),
        (["cnn", "--combinations", "relu/swoosh"], "unknown activation 'swoosh'"),
        (["cnn", "--combinations", "relu/relu", "relu/relu"], "--combinations: expected each pair once"),
        (["cnn", "--kernel-size", "5", "--padding", "valid"], "expected at least one window to pool"),
        (["cnn", *TINY, "--data-dir", "x"], "--data-dir: expected none with --data synthetic, got x"),
        (["cnn", "--data-dir", "nowhere"], "--data-dir: "),
        (["cnn-sharing", "--sharing", "element"], "--sharing: expected two or three, each once, got element"),
        (["cnn-sharing", "--combinations", "relu/ppns"], "nothing can be shared; try parametric_relu/ppns"),
        (
            ["cnn-search", "--iterations", "30", "10"],
            "--iterations: expected rising numbers, one a round, got (30, 10)",
        ),
        (["cnn-search", "--iterations", "0", "10"], "--iterations: expected an integer >= 1, got 0"),
        (["cnn-search", "--keep-one-in", "1"], "--keep-one-in: expected an integer >= 2, got 1"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_bad_options_are_refused_in_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_is_reported(tmp_path, monkeypatch, capsys):
    from experiments.cnn import train as module

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


@pytest.mark.slow
def test_a_search_writes_its_ranking(tmp_path, monkeypatch):
    from experiments.cnn import protocol

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
