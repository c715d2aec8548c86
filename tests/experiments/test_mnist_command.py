"""`python -m experiments mnist` as a user runs it, on images that need no files."""

import socket
import time

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.study import run_directory

pytestmark = pytest.mark.usefixtures("unoptimised")

SMALL = [
    "--steps",
    "40",
    "--seeds",
    "2",
    "--test-every",
    "10",
    "--train-every",
    "20",
    "--batch",
    "16",
    "--counted",
    "20",
    "--depth",
    "4",
    "--width",
    "32",
]
COMMAND = ["mnist", "--data", "synthetic", *SMALL, "--activations", "relu", "ppns"]


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch, tmp_path):
    """No test reads what the user has, and none connects to other machines."""
    for name in ("PARAMACT_DATA", "TFDS_DATA_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARAMACT_CACHE", str(tmp_path / "cache"))

    def refuse(self, address):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mnist"
    assert main([*COMMAND, "--out", str(out)]) == 0
    return run_directory.read(out)


def test_dims_and_coordinates_of_the_records(run):
    records = run.records
    scores = {"test_loss": 5, "test_accuracy": 5, "train_loss": 3, "train_accuracy": 3}
    for name, marks in scores.items():
        assert records[name].dims == ("activation", "seed", f"{name.split('_')[0]}_step")
        assert records[name].shape == (2, 2, marks)
    for name in ("gradient_smallest", "gradient_largest"):
        assert records[name].dims == ("activation", "seed", "step")
    assert records["steep_slopes"].dims == ("activation", "seed", "layer")
    assert records["counted_slopes"].dims == ("activation", "counted")
    assert records.sizes["counted"] == 20
    first = records["counted_slopes"].isel(counted=slice(2)).values
    np.testing.assert_array_equal(first, records["steep_slopes"].sum("layer"))
    assert records["seconds_per_step"].dims == ("activation", "timing")
    assert records["seconds"].dims == ("activation",)
    for name in ("learned_a", "learned_b"):
        assert records[name].dims == ("activation", "seed", "layer", "node")
    assert records["activation"].values.tolist() == ["relu", "ppns"]
    assert records["seed"].values.tolist() == [0, 1]
    assert records["test_step"].values.tolist() == [0, 10, 20, 30, 40]
    assert records["train_step"].values.tolist() == [0, 20, 40]
    assert records["step"].values.tolist() == list(range(40))
    assert records["layer"].values.tolist() == list(range(1, 5))
    assert records["node"].values.tolist() == list(range(1, 33))


def test_values_of_the_records(run):
    records = run.records
    for name in ("test_loss", "train_loss", "test_accuracy", "train_accuracy", "gradient_smallest", "gradient_largest"):
        assert np.isfinite(records[name]).all(), name
        assert len(np.unique(records[name].isel({records[name].dims[-1]: -1}))) > 1, name
    np.testing.assert_allclose(records["test_loss"].sel(activation="relu", test_step=0), np.log(10), atol=0.1)
    for name in ("test_loss", "train_loss"):
        of_ppns = records[name].sel(activation="ppns").values
        assert (of_ppns[:, -1] < of_ppns[:, 0]).all(), "the blots are learned"
    for name in ("test_accuracy", "train_accuracy"):
        assert ((records[name] >= 0) & (records[name] <= 1)).all()
    assert np.issubdtype(records["steep_slopes"].dtype, np.integer)
    assert ((records["steep_slopes"] > 0) & (records["steep_slopes"] <= 32 * 16)).all()
    assert (records["gradient_smallest"] < records["gradient_largest"]).all()
    assert (records["seconds_per_step"] > 0).all()
    learned = records[["learned_a", "learned_b"]]
    for name, start in (("learned_a", 6), ("learned_b", 0)):
        assert np.isnan(learned[name].sel(activation="relu")).all()
        assert 0 < abs(learned[name].sel(activation="ppns") - start).max() < 1


def test_the_run_says_what_it_is(run):
    assert run.records.attrs["source"] == "synthetic blots, seed 0 (not MNIST)"
    assert run.records.attrs["synthetic"] == 1
    config = run.manifest["config"]
    expected = {"protocol": "recovered", "steps": 40, "batch": 16, "seeds": 2, "first_seed": 0, "optimiser": "sgd"}
    expected |= {"initial": "fan-in", "batches": "shuffled", "test_every": 10, "train_every": 20}
    assert {name: config[name] for name in expected} == expected
    assert config["learning_rate"] == config["learning_rate_a"] == config["learning_rate_b"] == 0.01
    assert config["data"] == run.records.attrs["source"]
    assert set(run.manifest["seconds"]["activations"]) == {"relu", "ppns"}


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_other_activations(run, tmp_path, interrupt, capsys):
    """Each has a directory of its own; what is trained before is found."""
    out = tmp_path / "run"
    interrupt([*COMMAND, "--out", str(out)], "ppns")
    assert main([*COMMAND, "--learning-rate", "0.02", "--out", str(out)]) == 2
    assert "error: --out: expected the learning_rate of the interrupted run in " in capsys.readouterr().err
    assert main([*COMMAND, "--activations", "relu", "--out", str(out)]) == 0
    assert "relu: trained before" in capsys.readouterr().err
    clocks = ["seconds", "seconds_per_step"]
    own = run_directory.read(out).records.drop_vars(clocks)
    assert own.identical(run.records.drop_vars(["learned_a", "learned_b", *clocks]).sel(activation=["relu"]))


@pytest.mark.parametrize("arguments", [["--protocol", "printed"], ["--optimiser", "lion"]])
def test_a_choice_that_is_none(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, *arguments, "--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--data", "tfds"], ["--data", "idx"], ["--data-dir", "nowhere"]])
def test_no_data_and_no_network(arguments, tmp_path, capsys, monkeypatch):
    """Said within seconds, where TensorFlow Datasets itself would try again for minutes."""
    monkeypatch.chdir(tmp_path)
    begin = time.monotonic()
    assert main(["mnist", *SMALL, *arguments, "--out", "runs/mnist"]) == 2
    assert time.monotonic() - begin < 30
    error = capsys.readouterr().err
    assert error.startswith("error: --data-dir: ")
    assert error.count("\n") == 1
    assert "nowhere" in error or "PARAMACT_DATA" in error
    assert not (tmp_path / "runs").exists()
