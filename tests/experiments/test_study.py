"""The frame of the studies, by a tiny study from its declaration to its report."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.__main__ import main
from experiments.commands import CONTENTS, Entry, all_leaves
from experiments.study import run_directory
from experiments.study.options import POSITIVE, Constraint, Count, Out, Rates, Seeds, Steps, _hints, check_options
from experiments.study.progress import SweepProgress
from experiments.study.samples import sample
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table
from paramact_jax.figures import BandCurve, curves_in_panels
from paramact_jax.sweeps import Training, long_sweep

# -- a study, whole ----------------------------------------------------------------------------------------------------

EVERY_FORMAT = True
GOAL = 3
VARIABLES = {
    "error": Variable("error", "distance from the goal after the last step"),
    "path": Variable("path", "distance from the goal after every tenth of the steps", ("tenth",)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent(Study):
    """Does plain descent on a parabola arrive, by learning rate?

    About 1 second on 2 cores. Writes runs/descent-DATE-TIME/. Example: python -m experiments descent --rates 0.1 0.5
    """

    name: ClassVar[str] = "descent"
    heading: ClassVar[str] = "Descent on a parabola"
    renamed: ClassVar = {"iterations": "steps"}

    rates: Rates = (0.01, 0.1, 0.6)
    """Learning rates."""
    seeds: Seeds = 5
    """Descents at each rate."""
    first_seed: int = 0
    """Descent i has seed first_seed + i."""
    steps: Steps = 40
    """Updates."""
    width: Count = 3
    """Numbers that are learned."""
    out: Out = None

    def check(self, data: Any) -> None:
        """Tenths are whole."""
        if self.steps % 10:
            raise ValueError(f"--steps: expected a multiple of 10, got {self.steps}")

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """One sweep, a program for each power of the curve."""
        with work.timed("sweep"):
            found = long_sweep(
                lambda power: training(power, self.width),
                range(self.first_seed, self.first_seed + self.seeds),
                iterations=self.steps,
                static_axes={"power": [2, 4]},
                axes={"learning_rate": self.rates},
                observe_every=self.steps // 10,
                chunk=len(self.rates) * self.seeds,
                directory=work.directory / "descents",
                **work.shown(["power 2", "power 4"], self.steps),
            )
        found = found.assign(path=found["distance"].rename(iteration="path_dim_0"))
        return described(found, VARIABLES, {}, {"goal": GOAL})

    @classmethod
    def tables(cls, run: run_directory.Run) -> Iterator[tuple[str, Table]]:
        """The error at the end."""
        error = run.records["error"]
        rows = []
        for power in error["power"].values:
            for rate in error["learning_rate"].values:
                own = sample(error.sel(power=power, learning_rate=rate).values)
                rows.append([power, rate, own.mean, own.interval()])
        columns = ["power", Column("rate", "g"), Column("error", ".3f"), Column("95 % interval", ".3f", key="error")]
        yield "errors", Table("Error at the end", columns, rows, keys=2)

    @classmethod
    def figures(cls, run: run_directory.Run) -> Iterator[tuple[str, Any]]:
        """The way there."""
        path = run.records["path"].sel(power=2).mean("seed")
        curves = [BandCurve(f"{r:g}", *[path.sel(learning_rate=r).values] * 3) for r in path["learning_rate"].values]
        yield "path", curves_in_panels(np.arange(path.sizes["tenth"]), {"power 2": curves}, title="Distance")

    @classmethod
    def statements(cls, run: run_directory.Run) -> Iterator[Statement]:
        """Three claims."""
        mean = run.records["error"].mean("seed")
        parabola = mean.sel(power=2)
        effect = float(parabola[0] - parabola[-1])
        yield Statement(
            "ours", "a larger rate is nearer", "mean error", judged(effect > 0), "", effect, (effect, effect)
        )
        yield Statement(
            "ours", "the parabola is quicker", "mean error", judged(bool((parabola < mean.sel(power=4))[0]))
        )
        yield Statement("ours", "it matters in practice", "no record says", judged(None))

    @classmethod
    def summary(cls, run: run_directory.Run) -> dict[str, Any]:
        """Mean errors, and where the way leads, as the records have them."""
        return {"means": run.records["error"].mean("seed").values, "goal": run.records.attrs["goal"]}


def training(power: int, width: int) -> Training:
    """Descent on |w - GOAL|^power."""
    return Training(
        init=lambda key: jax.random.normal(key, (width,)),
        step=lambda w, learning_rate: w - learning_rate * jax.grad(lambda w: jnp.mean((w - GOAL) ** power))(w),
        summarise=lambda w: {"error": jnp.abs(w - GOAL).max()},
        observe=lambda w: {"distance": jnp.abs(w - GOAL).max()},
    )


# -- what the frame makes of it ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def known():
    """The study among the commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONTENTS, "Tests", (Entry("descent", Descent, {"": "--out OUT"}),))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "descent"
    assert main(["descent", "--rates", "0.01", "0.2", "--out", str(out)]) == 0
    return run_directory.read(out)


def test_a_run_has_records_config_and_seconds(run):
    assert dict(run.records.sizes) == {"power": 2, "learning_rate": 2, "seed": 5, "tenth": 11}
    assert run.records["error"].attrs["description"] == VARIABLES["error"].description
    np.testing.assert_allclose(run.records["path"].isel(tenth=-1), run.records["error"], rtol=1e-6)
    assert run.manifest["config"] == {"rates": [0.01, 0.2], "seeds": 5, "first_seed": 0, "steps": 40, "width": 3}
    assert set(run.manifest["seconds"]) == {"total", "sweep"}


def test_a_report_has_every_notation_and_is_the_same_again(run, capsys):
    before = {file.name: file.read_bytes() for file in run.directory.iterdir()}
    names = {"records.nc", "run.json", "report.md", "summary.json", "errors.csv", "errors.tex", "statements.csv"}
    assert set(before) == names | {"statements.tex", "path.png", "path.pdf", "path.svg"}
    text = before["report.md"].decode()
    assert text.startswith("# Descent on a parabola\n\n**Error at the end**")
    assert "![path](path.png)" in text
    rows = list(csv.DictReader(before["errors.csv"].decode().splitlines()))
    assert rows[0].keys() == {"power", "rate", "error", "error_low", "error_high"}
    own = run.records["error"].sel(power=4, learning_rate=0.01)
    assert float(rows[2]["error"]) == pytest.approx(float(own.mean()), rel=1e-6)
    assert float(rows[2]["error_low"]) < float(rows[2]["error"]) < float(rows[2]["error_high"])
    assert main(["report", str(run.directory)]) == 0
    assert "Error at the end" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in run.directory.iterdir()} == before


def test_the_summary_is_plain_data_with_one_schema(run):
    found = json.loads((run.directory / "summary.json").read_text())
    assert list(found) == ["experiment", "config", "synthetic", "statements", "means", "goal"]
    first, _, last = found["statements"]
    assert set(first) == {"source", "text", "criterion", "verdict", "measured", "effect", "interval"}
    assert (first["verdict"], last["verdict"], last["effect"]) == ("true", "undecided", None)
    assert first["interval"] == [first["effect"]] * 2
    assert found["goal"] == GOAL


def test_runs_stand_side_by_side(run, tmp_path, capsys):
    other = tmp_path / "other"
    assert main(["descent", "--rates", "0.01", "0.6", "--out", str(other)]) == 0
    capsys.readouterr()
    assert main(["report", str(run.directory), str(other)]) == 0
    shown = capsys.readouterr().out
    assert f"A: {run.directory}" in shown
    cells = [line.split() for line in shown.splitlines() if line.startswith("2 ")]
    assert [line[:2] for line in cells] == [["2", "0.01"], ["2", "0.2"], ["2", "0.6"]]
    assert [len(line) for line in cells] == [4, 3, 3]
    assert cells[0][2] == cells[0][3]
    assert "ours: it matters in practice" in shown
    assert max(map(len, shown.splitlines())) < 150


def test_options_that_were_called_otherwise_are_read(run, tmp_path):
    config = {"iterations" if name == "steps" else name: value for name, value in run.manifest["config"].items()}
    old = dataclasses.replace(run, manifest={**run.manifest, "config": config})
    assert Descent.up_to_date(old).manifest["config"] == run.manifest["config"]


def interrupted_at(training):
    real = SweepProgress.advanced

    def interrupted(self, name, progress):
        if name == training:
            raise KeyboardInterrupt
        real(self, name, progress)

    return interrupted


def test_an_interrupted_run_says_how_it_goes_on_and_ends_with_the_same_records(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    words = ["descent", "--rates", "0.01", "0.2", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(SweepProgress, "advanced", interrupted_at("power 4"))
        assert main(words) == 130
    told = capsys.readouterr().err
    assert f"interrupted; resume with: python -m experiments {' '.join(words)}" in told
    assert not out.exists()
    assert main([*words, "--width", "2"]) == 2
    assert "--out: expected the width of the interrupted run" in capsys.readouterr().err
    assert main(words) == 0
    assert "power 2: trained before" in capsys.readouterr().err
    xr.testing.assert_identical(run_directory.read(out).records, run.records)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_kept_of_another_program_is_not_said_to_resume(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    monkeypatch.setattr(SweepProgress, "advanced", interrupted_at("power 4"))
    assert main(["descent", "--out", str(out)]) == 130
    monkeypatch.undo()
    monkeypatch.setattr(f"{__name__}.GOAL", 4)
    capsys.readouterr()
    assert main(["descent", "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "is kept: delete it to begin anew, or name another --out" in told
    assert "resume with" not in told


def test_a_run_that_is_interrupted_at_once_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Descent, "train", interrupted)
    assert main(["descent", "--out", str(tmp_path / "run")]) == 130
    assert "interrupted; nothing was trained far enough to be kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rates 0.1 0", "--rates: expected a finite number > 0 that float32 can hold, got 0.0"),
        ("--rates 0.1 1e39", "--rates: expected a finite number > 0 that float32 can hold, got 1e+39"),
        ("--rates 0.1 0.1000000001", "--rates: expected at least one value, each once, got 0.1 0.1000000001"),
        ("--rates nan", "--rates: expected a finite number > 0"),
        ("--seeds 0", "--seeds: expected an integer within 1..2**31 - 1, got 0"),
        ("--trials 0", "--seeds: expected an integer within 1..2**31 - 1, got 0"),
        ("--iterations 2147483648", "--steps: expected an integer within 1..2**31 - 1, got 2147483648"),
        ("--first-seed -1", "--first-seed: expected an integer within 0..4294967291, got -1"),
        ("--first-seed 4294967295", "--first-seed: expected an integer within 0..4294967291, got 4294967295"),
        ("--steps 15", "--steps: expected a multiple of 10, got 15"),
        ("--out .", "--out: expected a directory that does not exist yet, got ."),
    ],
)
def test_bad_options_are_refused_in_one_line_and_leave_nothing(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["descent", *options.split()]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def every_option_with_a_least():
    for leaf in all_leaves():
        if issubclass(leaf.command, Study):
            for field, kind in _hints(leaf.command).items():
                for constraint in getattr(kind, "__metadata__", ()):
                    if isinstance(constraint, Constraint) and constraint.expected.startswith("an integer within"):
                        yield pytest.param(leaf.command, field, id=f"{leaf.command.name} {field}")


@pytest.mark.parametrize(("study", "field"), list(every_option_with_a_least()))
def test_every_study_refuses_counts_below_their_least(study, field):
    kind = getattr(study(), field)
    bad = (-1,) if isinstance(kind, tuple) else -1
    with pytest.raises(ValueError, match=rf"^--{field.replace('_', '-')}: expected an integer within \d\.\.2"):
        check_options(dataclasses.replace(study(), **{field: bad}))


def test_a_constraint_says_what_it_expected():
    assert POSITIVE.holds(1e-30)
    assert not POSITIVE.holds(1e-50)


def test_heavy_imports_wait_for_the_work(tmp_path):
    """In a process without JAX, a module with `at_once` has its imports after `complete` alone."""
    (tmp_path / "study_of_mine.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from experiments.study.imports import at_once\n"
        "if TYPE_CHECKING or at_once(__name__):\n"
        "    import numpy as np\n"
        "def half(x):\n"
        "    return np.asarray(x) / 2\n"
    )
    script = (
        "import sys, study_of_mine\n"
        "from experiments.study import imports\n"
        "assert not {'jax', 'numpy'} & set(sys.modules)\n"
        "imports.complete()\n"
        "assert study_of_mine.half([4]).tolist() == [2]\n"
        "import jax\n"
        "sys.modules.pop('study_of_mine')\n"
        "import study_of_mine\n"
        "assert study_of_mine.half([4]).tolist() == [2]\n"
    )
    path = [str(tmp_path), *sys.path]
    command = [sys.executable, "-c", f"import sys\nsys.path[:0] = {path!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
