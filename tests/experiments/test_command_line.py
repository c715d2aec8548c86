"""The commands as a user runs them."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import matplotlib
import pytest
import xarray as xr

from experiments.__main__ import main
from paramact_jax.activations import catalogue, errata

EVERY_FORMAT = True
TINY = ["--trials", "120", "--iterations", "40", "--activations", "sigmoid", "ppns"]


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["xor10", *TINY, "--out", str(out)]) == 0
    return out


def copy(directory, to):
    to.mkdir()
    for file in directory.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_run_leaves_records_tables_and_figure(run_directory):
    assert {file.name for file in run_directory.iterdir()} == {
        "records.nc",
        "run.json",
        "summary.json",
        "report.md",
        "table_5.csv",
        "table_5.tex",
        "table_4.csv",
        "table_4.tex",
        "statements.csv",
        "statements.tex",
        "convergence.png",
        "convergence.pdf",
        "convergence.svg",
    }
    manifest = json.loads((run_directory / "run.json").read_text())
    assert manifest["config"]["protocol"] == "recovered"
    assert manifest["config"]["seeds"] == 120
    assert manifest["environment"]["packages"]["jax"]
    assert manifest["environment"]["devices"]["count"] == jax.device_count()
    with xr.open_dataset(run_directory / "records.nc", engine="h5netcdf") as records:
        assert records["learned_weight"].dims == ("activation", "seed", "layer", "from_node", "node")
        assert records["final_loss"].shape == (2, 120)
        assert list(records["seed"].values[:3]) == [0, 1, 2]
        assert records["converged"].dtype == bool
    summary = json.loads((run_directory / "summary.json").read_text())
    assert set(summary["activations"]["ppns"]) >= {
        "converged",
        "trials",
        "interval",
        "published",
        "p_value",
        "matched",
    }
    assert summary["activations"]["ppns"]["published"] == 744
    assert summary["table_4"]["ppns"]["trials"] == 100
    with (run_directory / "table_5.csv").open() as file:
        assert [row["activation"] for row in csv.DictReader(file)] == ["Sigmoid", "PPNS"]
    assert not list(run_directory.parent.glob(".*partial"))


def test_report_redraws_from_records_alone(run_directory, tmp_path, capsys):
    again = copy(run_directory, tmp_path / "again")
    derived = {f.name for f in again.iterdir()} - {"records.nc", "run.json"}
    for name in derived:
        (again / name).unlink()
    assert main(["report", str(again), str(run_directory)]) == 0
    for name in derived:
        assert (again / name).read_bytes() == (run_directory / name).read_bytes()
    printed = capsys.readouterr().out
    assert "Trials that reach loss 0, per 1,000 [P, Table 5]" in printed
    assert f"A: {again}\nB: {run_directory}\n" in printed


def test_an_existing_directory_is_never_overwritten(run_directory, capsys):
    before = {file.name: file.read_bytes() for file in run_directory.iterdir()}
    assert main(["xor10", *TINY, "--out", str(run_directory)]) == 2
    assert "expected a directory that does not exist yet" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in run_directory.iterdir()} == before


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["xor10", *TINY, "--out", str(tmp_path / "file" / "run")]) == 2
    assert "expected a place that can be written to" in capsys.readouterr().err


def test_a_directory_that_appears_meanwhile_keeps_both(run_directory, tmp_path):
    """The finished files stay under the temporary name that the error gives."""
    from experiments.study import run_directory as runs

    run = runs.read(run_directory)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="its files are kept in") as caught:
        runs.write(tmp_path / "taken", run.records, experiment="xor10", config={}, seconds={})
    kept = str(caught.value).rsplit(" ", 1)[-1]
    with xr.open_dataset(f"{kept}/records.nc", engine="h5netcdf") as records:
        assert records.sizes == run.records.sizes
    assert not list((tmp_path / "taken").iterdir())


def change_manifest(directory, **entries):
    path = directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("name", ["protocol", "steps", "threshold"])
def test_a_report_names_what_the_manifest_lacks(run_directory, tmp_path, capsys, name):
    damaged = copy(run_directory, tmp_path / "damaged")
    config = json.loads((damaged / "run.json").read_text())["config"]
    del config[name]
    change_manifest(damaged, config=config)
    before = {file.name: file.read_bytes() for file in damaged.iterdir()}
    assert main(["report", str(damaged)]) == 2
    assert capsys.readouterr().err == (
        f"error: expected '{name}' in {damaged / 'run.json'}, got a damaged manifest without it; run again\n"
    )
    assert {file.name: file.read_bytes() for file in damaged.iterdir()} == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "records.nc").write_bytes((d / "records.nc").read_bytes()[:-1000]), "truncated or was altered"),
        (lambda d: (d / "records.nc").unlink(), "expected records in"),
        (lambda d: (d / "run.json").write_text('{"experiment": "xor'), "damaged"),
        (lambda d: (d / "run.json").write_text("[]"), "expected a JSON object in"),
        (lambda d: (d / "run.json").write_text('{"config": {}}'), "expected 'experiment' in"),
        (lambda d: change_manifest(d, config=[]), "expected 'config' in"),
        (lambda d: change_manifest(d, records={}), "expected 'bytes' in"),
        (lambda d: (d / "run.json").unlink(), "expected the directory of a run"),
    ],
    ids=[
        "truncated records",
        "no records",
        "truncated manifest",
        "no manifest of ours",
        "half a manifest",
        "no config",
        "no size",
        "no manifest",
    ],
)
def test_damaged_runs_are_refused_and_left_as_they_are(run_directory, tmp_path, capsys, damage, says):
    damaged = copy(run_directory, tmp_path / "damaged")
    damage(damaged)
    before = {file.name: file.read_bytes() for file in damaged.iterdir()}
    assert main(["report", str(damaged)]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert {file.name: file.read_bytes() for file in damaged.iterdir()} == before


def test_activations_prints_every_record_and_draws_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 50)
    out = tmp_path / "catalogue"
    assert main(["activations", "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {"gallery.png", "catalogue.md", "catalogue.csv", "catalogue.tex"}
    printed = capsys.readouterr().out
    with (out / "catalogue.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(catalogue.names())
    assert all(name in printed for name in rows)
    assert rows["ppns"]["parameters"] == "a = 6, b = 0"
    assert rows["relu"]["slope_at_kinks"] == "0 at 0"
    assert main(["activations", "--out", str(out)]) == 2


def test_verify_checks_and_lists_the_errata(capsys):
    assert main(["verify", "--activations", "ppns", "relu"]) == 0
    printed = capsys.readouterr().out
    assert "Closed forms" in printed
    assert "units in the last place" in printed
    assert "[P, Table 2; eq. 7, 15]" in printed
    assert f"{len(errata.ERRATA)} of {len(errata.ERRATA)} errata confirmed" in printed


def test_verify_fails_where_a_closed_form_is_wrong(monkeypatch, capsys):
    wrong = dataclasses.replace(catalogue.get("tanh"), derivative=jnp.ones_like)
    monkeypatch.setattr(catalogue, "get", lambda name: wrong)
    monkeypatch.setattr(errata, "ERRATA", ())  # they are checked above; here the closed form alone must fail
    assert main(["verify", "--activations", "tanh"]) == 1
    assert "FAILED: tanh dz/dy" in capsys.readouterr().out
