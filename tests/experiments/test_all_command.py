"""`all`: what it runs, what it skips, how it ends; and, once, everything small."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.__main__ import main
from experiments.commands import CONTENTS, TOOLS, all_leaves, leaves, parse
from experiments.study import run_directory
from experiments.tools import all as all_command
from experiments.tools.all import All, chosen

EVERY_FORMAT = True  # as a subprocess writes them; the quick tests draw nothing
ROOT = Path(__file__).parents[2]
LEAVES = [pytest.param(leaf, id=" ".join(leaf.path)) for leaf in all_leaves()]


def test_everything_but_all_itself_has_options_that_make_it_small():
    assert [leaf.path for leaf in all_leaves() if leaf.smoke is None] == [("all",)]
    assert [leaf.path for leaf in chosen(smoke=True)] == [leaf.path for leaf in all_leaves()][:-1]


@pytest.mark.parametrize("leaf", LEAVES[:-1])
def test_small_options_are_options_and_need_no_images(leaf):
    arguments = All(smoke=True).arguments(leaf, Path("no/such/directory"))
    command = parse(arguments)
    command = getattr(command, "what", command)
    assert isinstance(command, leaf.command)
    assert getattr(command, "data", "synthetic") == "synthetic"
    target = Path("no/such/directory") / "-".join(leaf.path)
    assert getattr(command, "out", target) == target
    assert getattr(command, "json", None) in (None, target.with_suffix(".json"))


def test_at_the_defaults_all_experiments_run_and_no_tool():
    tools = {leaf.path for entry in CONTENTS[TOOLS] for leaf in leaves(entry)}
    assert [leaf.path for leaf in chosen(smoke=False)] == [leaf.path for leaf in all_leaves() if leaf.path not in tools]
    for leaf in chosen(smoke=False):
        command = parse(All(data="idx", data_dir=Path("images")).arguments(leaf, Path("runs/all")))
        command = getattr(command, "what", command)
        own = {"out": Path("runs/all") / "-".join(leaf.path)}
        if hasattr(command, "data"):
            own |= {"data": "idx", "data_dir": Path("images")}
        default = getattr(parse(leaf.path), "what", parse(leaf.path))
        assert {k: v for k, v in vars(command).items() if v != getattr(default, k)} == own


@pytest.fixture
def three(monkeypatch):
    """Stand-ins: three experiments write a run each; those named in the list fail."""
    failing, ran = [], []

    class Stand:
        def __init__(self, words):
            self.name = words[0]
            self.out = Path(words[1] if self.name == "report" else words[words.index("--out") + 1])

        def prepare(self):
            return self.work

        def work(self):
            ran.append(self.name)
            if self.name in failing:
                raise failing[failing.index(self.name) + 1]
            if self.name != "report":
                records = xr.Dataset({"x": ("seed", np.arange(3.0))})
                run_directory.write(self.out, records, experiment=self.name, config={}, seconds={})
            (self.out / "report.md").write_text("")

    some = [leaf for leaf in all_leaves() if leaf.path in {("xor10",), ("xor10-figures",), ("gradients",)}]
    monkeypatch.setattr("experiments.tools.all.chosen", lambda smoke: some)
    monkeypatch.setattr("experiments.tools.all.parse", Stand)
    return failing, ran


def test_a_failure_is_said_at_the_end_and_the_same_command_goes_on(three, tmp_path, capsys):
    failing, ran = three
    failing += ["xor10-figures", RuntimeError("no memory\nat all")]
    command = ["all", "--data", "synthetic", "--out", str(tmp_path / "all")]
    assert main(command) == 1
    shown = capsys.readouterr()
    assert ran == ["xor10", "xor10-figures", "gradients"]
    rows = {line.split()[0]: line for line in shown.out.splitlines() if line}
    assert rows["xor10"].endswith(" done")
    assert rows["xor10-figures"].endswith(" FAILED: RuntimeError: no memory")
    assert "Traceback" in shown.err
    failing.clear()
    ran.clear()
    assert main(command) == 0
    assert ran == ["xor10-figures"]
    assert capsys.readouterr().out.count("done before") == 2


def test_an_interruption_stops_all_of_them_and_says_how_to_go_on(three, tmp_path, capsys):
    failing, ran = three
    failing += ["xor10-figures", KeyboardInterrupt()]
    out = tmp_path / "all"
    assert main(["all", "--data", "synthetic", "--out", str(out)]) == 130
    assert ran == ["xor10", "xor10-figures"]
    assert f"--out {out} goes on where it was" in capsys.readouterr().err


def test_a_run_that_was_interrupted_before_its_report_is_reported(three, tmp_path):
    command = ["all", "--data", "synthetic", "--out", str(tmp_path / "all")]
    assert main(command) == 0
    report = tmp_path / "all" / "gradients" / "report.md"
    report.unlink()
    assert main(command) == 0
    assert report.exists()
    assert three[1] == ["xor10", "xor10-figures", "gradients", "report"]


def test_a_damaged_run_is_a_failure_and_stays_as_it_is(three, tmp_path, capsys):
    command = ["all", "--data", "synthetic", "--out", str(tmp_path / "all")]
    assert main(command) == 0
    records = tmp_path / "all" / "gradients" / "records.nc"
    records.write_bytes(records.read_bytes()[:-10])
    size = records.stat().st_size
    capsys.readouterr()
    assert main(command) == 1
    assert "truncated or was altered" in capsys.readouterr().out
    assert records.stat().st_size == size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--smoke", "--data", "idx"], "--smoke: expected no --data and no --data-dir with it"),
        (["--smoke"], "--out: expected the options of the earlier call, {'smoke': False, 'data': 'auto'}, got"),
        (["--data-dir", "nowhere"], "--data-dir: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(options, says, tmp_path, capsys):
    (tmp_path / "all.json").write_text(json.dumps({"smoke": False, "data": "auto"}))
    assert main(["all", *options, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["all.json"]


def test_a_directory_of_something_else_is_refused(tmp_path, capsys):
    assert main(["all", "--smoke", "--out", str(tmp_path)]) == 2
    assert "--out: expected a new directory or one of `all`" in capsys.readouterr().err


def test_a_process_that_is_killed_is_a_failure_of_what_it_ran(monkeypatch, tmp_path, capsys):
    class Pool(ThreadPoolExecutor):
        """Processes that do nothing; the one with xor10 is killed."""

        def __init__(self, workers, **options):
            super().__init__(workers)

        def submit(self, apart, command, leaf, out):
            def work():
                if leaf.path == ("xor10",):
                    raise BrokenProcessPool("terminated abruptly")
                return all_command._Done("done", 1.0, "its table")

            return super().submit(work)

    monkeypatch.setattr(all_command, "ProcessPoolExecutor", Pool)
    assert main(["all", "--smoke", "--out", str(tmp_path / "all")]) == 1
    shown = capsys.readouterr().out
    assert shown.count("its table") == len(LEAVES) - 2
    assert shown.count(" FAILED: terminated abruptly") == 1


def test_on_an_accelerator_one_process_runs_everything_small(three, monkeypatch, tmp_path):
    """A second one would find its memory taken."""
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    monkeypatch.setattr(all_command, "ProcessPoolExecutor", None)
    assert main(["all", "--smoke", "--out", str(tmp_path / "all")]) == 0
    assert three[1] == ["xor10", "xor10-figures", "gradients"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All commands, small, as a user runs them: with the cache, in which some find what others compiled."""
    out = tmp_path_factory.mktemp("runs") / "all"
    own = {"PARAMACT_JAX_COMPILATION_CACHE": "1", "PARAMACT_CACHE": str(tmp_path_factory.mktemp("cache"))}
    command = [sys.executable, "-m", "experiments", "all", "--smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return out


@pytest.mark.slow
def test_everything_small_leaves_what_each_command_writes(everything):
    expected = {"all.json"}
    for leaf in chosen(smoke=True):
        name = "-".join(leaf.path)
        if "OUT.json" in leaf.smoke:
            assert json.loads((everything / f"{name}.json").read_text())["machine"]
            expected.add(f"{name}.json")
        elif "OUT" in leaf.smoke:
            expected.add(name)
            if leaf.path != ("activations",):
                run = run_directory.read(everything / name)
                assert run.manifest["experiment"] == name
                assert run.records.sizes
                assert {"report.md", "summary.json"} <= {file.name for file in run.directory.iterdir()}
    assert {path.name for path in everything.iterdir()} == expected


@pytest.mark.slow
def test_report_makes_every_derived_file_again(everything):
    runs = [path.parent for path in sorted(everything.glob("*/run.json"))]
    before = {}
    for run in runs:
        for file in run.iterdir():
            if file.name not in (run_directory.RECORDS, run_directory.MANIFEST):
                before[file] = file.read_bytes()
                file.unlink()
    assert main(["report", *map(str, runs)]) == 0
    assert {file for file in before if not file.exists()} == set()
    assert [file.name for file in before if file.suffix != ".png" and file.read_bytes() != before[file]] == []


@pytest.mark.slow
def test_sharing_draws_the_same_weights_and_counts_other_parameters(everything):
    records = run_directory.read(everything / "cnn-sharing").records
    assert records["parameters_of_activations"].values.tolist() == [[28_616], [6]]
    first, second = (records["test_loss"].sel(sharing=name) for name in ("element", "layer"))
    np.testing.assert_allclose(first.isel(test_step=0), second.isel(test_step=0), rtol=1e-6)
    assert (first.isel(test_step=-1) != second.isel(test_step=-1)).all()
    assert (records["seconds_per_step"] > 0).all()
    assert "NOT MNIST" in (everything / "cnn-sharing" / "report.md").read_text()
