import dataclasses
import functools
import json
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import run_directory as runs
from experiments.__main__ import main
from experiments.xor10 import train as xor10
from experiments.xor10.protocol import ACTIVATIONS, LOSS_SCALE, PROTOCOLS
from experiments.xor10_protocol import records, report, train
from experiments.xor10_protocol.grid import Cell, Conditions, Grid, Scale, is_protocol, programs
from experiments.xor10_protocol.ranking import margins, ranking
from experiments.xor10_protocol.scores import log_likelihoods, posterior, rows_matched
from experiments.xor10_protocol.search import MOST_ROUNDS, Effort, Job, Tally, search, tallies_of
from experiments.xor10_protocol.train import LEARNING_RATE, Trainer, counts_of, training
from paramact_jax.activations import catalogue
from paramact_jax.papers import ko2021
from paramact_jax.sweeps import Progress

PUBLISHED = {row.activation: (row.converged, row.trials) for row in ko2021.TABLE_5}
FAN_IN = Scale("fan-in", 1 / math.sqrt(2), 1 / math.sqrt(2))
NORMAL = Scale("normal", 1.0, 1.0)


def test_the_declared_grid():
    """He's rule for 2 inputs is 1; Glorot's is that of fan-in but for the output layer, 2 -> 1."""
    grid = Grid()
    grid.check()
    assert grid.distinct_scales() == [
        FAN_IN,
        Scale("normal = he", 1.0, 1.0),
        Scale("glorot", 1 / math.sqrt(2), 1 / math.sqrt(1.5)),
    ]
    assert len(grid.conditions()) == 3 * 3 * 4 * 2
    assert len(grid.cells()) == len(set(grid.cells())) == 144
    assert len(programs(grid)) == 2 * 8
    for name in PROTOCOLS:
        (cell,) = [cell for cell in grid.cells() if is_protocol(cell, name)]
        expected = ("fan-in", 1 / 4) if name == "recovered" else ("normal = he", 1 / 2)
        assert (cell.conditions.scale.name, cell.conditions.gradient_scale) == expected
    assert Grid(scales=("0.5", "glorot")).distinct_scales()[0] == Scale("0.5", 0.5, 0.5)


def test_the_kink_is_that_of_plain_relu_alone():
    left, right = (Cell(Conditions(NORMAL, 0.0, 0.5, "full"), kink) for kink in (0, 1))
    assert left.trained_as("relu") == "relu"
    assert right.trained_as("relu") == "relu_from_right"
    assert {left.trained_as(name) == right.trained_as(name) for name in ACTIVATIONS if name != "relu"} == {True}


def test_gradient_scales_are_those_of_the_losses():
    assert Conditions(NORMAL, 0.0, 1 / 4, "full").loss_scale == LOSS_SCALE["half-mse"]
    assert Conditions(NORMAL, 0.0, 1 / 2, "full").loss_scale == LOSS_SCALE["mse"]


@pytest.fixture(scope="module")
def trainer():
    return Trainer(600)


def test_a_trial_is_that_of_xor10_bit_for_bit(trainer):
    """Conditions mixed in one call, more trials than a call takes, chunks of another size; the training is chaotic."""
    recovered, literal = (Conditions(FAN_IN, 0.0, 1 / 4, "full"), Conditions(NORMAL, 0.0, 1 / 2, "full"))
    jobs = [Job(recovered, 0, 300), Job(literal, 40, 500), Job(recovered, 7, 5)]
    losses = trainer.losses(("parametric_tanh", "full"), jobs, iterations=300, chunk=130)
    assert trainer.trials_at_once < 805

    def alone(protocol, job):
        changes = {"trials": job.trials, "first_seed": job.first_seed, "iterations": 300}
        name = "parametric_tanh"
        return xor10.train(dataclasses.replace(PROTOCOLS[protocol], activations=(name,), **changes))[name].loss

    first, second, again = np.split(losses, [300, 800])
    np.testing.assert_array_equal(first, alone("recovered", jobs[0]))
    np.testing.assert_array_equal(second, alone("literal", jobs[1]))
    np.testing.assert_array_equal(again, first[7:12])
    assert len(np.unique(losses)) > 600


@pytest.mark.parametrize("gradient_scale", [1 / 8, 1 / 4, 1.0])
@pytest.mark.parametrize("batch", ["full", "point"])
def test_the_gradient_scale_is_the_factor_of_the_error(trainer, gradient_scale, batch):
    """With weights of nearly 0 only the output's bias moves: b <- b - rate * c * (b - t), for the sum or each point."""
    job = Job(Conditions(Scale("1e-9", 1e-9, 1e-9), 0.0, gradient_scale, batch), 0, 3)
    losses = trainer.losses(("tanh", batch), [job], iterations=20)
    bias = 0.0
    for _ in range(20):
        if batch == "full":
            bias -= LEARNING_RATE * gradient_scale * sum(bias - t for t in (0, 1, 1, 0))
        else:
            for t in (0, 1, 1, 0):
                bias -= LEARNING_RATE * gradient_scale * (bias - t)
    np.testing.assert_allclose(losses, np.mean([(bias - t) ** 2 for t in (0, 1, 1, 0)]), rtol=1e-5)


def test_initial_weights_have_their_layers_deviations():
    """The same draws under any scale, the output layer with a deviation of its own."""
    scales = [Scale("fan-in", 0.7, 0.7), Scale("wide output", 0.7, 1.4)]
    outcomes = []
    for scale in scales:
        job = Job(Conditions(scale, 0.3, 1 / 4, "full"), 0, 100)
        trials = jax.tree.map(jnp.asarray, train._trials_of([job], 100))
        init = functools.partial(training(catalogue.get("tanh"), "full").init, trials=trials, starts={})
        states = jax.vmap(init, in_axes=(None, 0))(jax.random.key(0), jnp.arange(100))
        outcomes.append(states["now"].params)
    for i in range(10):
        np.testing.assert_array_equal(
            outcomes[0]["hidden"][i]["linear"]["kernel"], outcomes[1]["hidden"][i]["linear"]["kernel"]
        )
    np.testing.assert_allclose(outcomes[1]["out"]["kernel"], 2 * outcomes[0]["out"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(outcomes[1]["out"]["bias"], outcomes[0]["out"]["bias"])
    biases = np.stack([outcomes[0]["hidden"][i]["linear"]["bias"] for i in range(10)])
    assert np.std(biases) == pytest.approx(0.3, rel=0.1)


def test_counts_of_jobs():
    jobs = [Job(Conditions(NORMAL, 0.0, 0.5, "full"), 0, trials) for trials in (3, 1, 2)]
    losses = np.array([1e-4, 0.1, 9e-4, 1e-3, np.nan, np.inf])
    assert counts_of(jobs, losses) == [Tally(3, 2, 0), Tally(1, 0, 0), Tally(2, 0, 2)]


class Oracle:
    """Outcomes drawn from known proportions instead of trained: published under one cell, moved elsewhere."""

    def __init__(self, right):
        self.right, self.calls, self.rng = right, [], np.random.default_rng(0)

    def __call__(self, kind, jobs):
        self.calls.append((kind, list(jobs)))
        name = "relu" if kind[0] == "relu_from_right" else kind[0]
        k, n = PUBLISHED[name]
        outcomes = []
        for job in jobs:
            p = k / n
            for field in ("scale", "bias_std", "gradient_scale", "batch"):
                if getattr(job.conditions, field) != getattr(self.right.conditions, field):
                    p = 0.1 + 0.7 * p
            if kind[0] in ("relu", "relu_from_right") and kind[0] != self.right.trained_as("relu"):
                p += 0.05
            outcomes.append(Tally(job.trials, int(self.rng.binomial(job.trials, p))))
        return outcomes


@pytest.fixture(scope="module")
def found():
    grid = Grid()
    right = next(cell for cell in grid.cells() if is_protocol(cell, "recovered"))
    oracle, rounds = Oracle(right), []
    tallies = search(grid, Effort(50, 400, 6, first_seed=9), oracle, lambda *args: rounds.append(args))
    return grid, right, oracle, rounds, tallies


def test_the_search_finds_the_cell_that_the_counts_come_from(found):
    grid, right, _, _, tallies = found
    best = ranking(records.to_dataset(grid, tallies))
    assert best[0].cell == right
    assert (best[0].protocol, best[0].matched, best[0].rank) == ("recovered", 7, 1)
    assert best[0].posterior > 0.9
    assert [r.log_likelihood for r in best] == sorted((r.log_likelihood for r in best), reverse=True)
    assert sum(r.posterior for r in best) == pytest.approx(1)


def test_every_cell_is_tried_the_best_get_more_and_no_seed_twice(found):
    grid, _, oracle, rounds, tallies = found
    assert rounds[0] == (144, 72 * 8 * 50, 2 * 8)
    assert rounds[1][0] == 6
    assert 2 <= len(rounds) <= MOST_ROUNDS
    assert sum(job.trials for _, jobs in oracle.calls for job in jobs) == sum(trials for _, trials, _ in rounds)
    assert sum(programs for _, _, programs in rounds) == len(oracle.calls)
    assert all(cells <= 6 for cells, _, _ in rounds[1:])
    best = ranking(records.to_dataset(grid, tallies))[0]
    assert {tally.trials for tally in tallies_of(best.cell, tallies).values()} == {400}
    seeds = {}
    for kind, jobs in oracle.calls:
        assert {job.conditions.batch for job in jobs} == {kind[1]}
        for job in jobs:
            seeds.setdefault((kind[0], job.conditions), []).extend(range(job.first_seed, job.first_seed + job.trials))
    for own in seeds.values():
        assert own == list(range(9, 9 + len(own)))
        assert len(own) in (50, 400)


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_losses(trainer, tmp_path):
    """Of 805 trials in two calls the first is kept, and nothing else runs again."""
    jobs, seen = [Job(Conditions(FAN_IN, 0.0, 1 / 4, "full"), 0, 805)], []
    first_call = trainer.trials_at_once * 300

    def killed(progress):
        if progress.done > first_call:
            raise KilledError

    losses = functools.partial(trainer.losses, ("parametric_tanh", "full"), jobs, iterations=300, chunk=130)
    with pytest.raises(KilledError):
        losses(directory=tmp_path, on_progress=killed)
    again = losses(directory=tmp_path, on_progress=lambda progress: seen.append(progress.found))
    assert set(seen) == {first_call}
    np.testing.assert_array_equal(again, losses())


def test_the_search_ends_where_no_cell_is_better():
    """Every cell counts 0, so each falls behind as soon as it has more trials."""
    rounds = []
    zero = lambda kind, jobs: [Tally(job.trials) for job in jobs]  # noqa: E731
    search(Grid(), Effort(8, 16, 2), zero, lambda *args: rounds.append(args))
    assert len(rounds) == MOST_ROUNDS


def test_scores():
    likelihoods = log_likelihoods(PUBLISHED)
    assert list(likelihoods) == list(ACTIVATIONS)
    for name, moved in (("ppns", (193, 1000)), ("relu", (40, 1000)), ("sigmoid", (9, 1000))):
        assert log_likelihoods(PUBLISHED | {name: moved})[name] < likelihoods[name] - 3
    assert sum(log_likelihoods(PUBLISHED, ko2021.TABLE_4).values()) > -5
    assert rows_matched(PUBLISHED) == 7
    assert rows_matched(PUBLISHED | {"ppns": (193, 1000), "tanh": (762, 1000)}) == 5
    np.testing.assert_allclose(
        posterior(np.log([[0.2, 0.2], [0.1, 1e-300]]) - 5000), [[0.4, 0.4], [0.2, 0]], atol=1e-15
    )


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "search"
    grid = ["--scales", "fan-in", "1.0", "he", "--bias-stds", "0", "--gradient-scales", "0.25", "0.5"]
    options = ["--trials", "150", "--finalists", "1", "--final-trials", "300", "--batches", "full", "--kinks", "0"]
    assert main(["xor10-protocol", *grid, *options, "--out", str(out)]) == 0
    return out


def test_a_real_search_finds_the_recovered_protocol_on_its_own(run_directory):
    """Trained in full, 10,000 iterations: among the literal protocol and two others."""
    ranked = json.loads((run_directory / "summary.json").read_text())["ranking"]
    assert [entry["rank"] for entry in ranked] == [1, 2, 3, 4]
    assert ranked[0]["protocol"] == "recovered"
    assert ranked[0]["trials"] == 300
    assert ranked[0]["rows_matched"] == 7
    assert ranked[0]["posterior"] > 0.999
    (literal,) = [entry for entry in ranked if entry["protocol"] == "literal"]
    assert literal["log_likelihood"] < ranked[0]["log_likelihood"] - 50
    assert literal["rows_matched"] < 6


def test_a_run_leaves_records_tables_and_figure(run_directory, capsys):
    assert {file.name for file in run_directory.iterdir()} == {
        "records.nc",
        "run.json",
        "summary.json",
        "ranking.csv",
        "ranking.tex",
        "margins.csv",
        "margins.tex",
        "report.md",
        "ranking.png",
    }
    run = runs.read(run_directory)
    assert run.manifest["experiment"] == "xor10-protocol"
    assert run.manifest["config"]["final_trials"] == 300
    data = run.records
    assert data["converged"].dims == ("scale", "bias_std", "gradient_scale", "batch", "kink", "activation")
    assert list(data["scale"].values) == ["fan-in", "1.0 = he"]
    best = data.sel(scale="fan-in", bias_std=0.0, gradient_scale=0.25, batch="full", kink=0)
    assert set(best["trials"].values.tolist()) == {300}
    assert (data["converged"] <= data["trials"]).all()
    recovered = dataclasses.replace(PROTOCOLS["recovered"], trials=300, activations=("tanh",))
    assert int(best["converged"].sel(activation="tanh")) == int((xor10.train(recovered)["tanh"].loss < 1e-3).sum())


def test_the_report_command_redraws_the_same(run_directory, capsys):
    before = {file.name: file.read_bytes() for file in run_directory.iterdir()}
    assert main(["report", str(run_directory)]) == 0
    assert "Conditions by the likelihood" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in run_directory.iterdir()} == before


def test_the_report_is_made_from_the_records_alone(run_directory, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for name in ("records.nc", "run.json"):
        (again / name).write_bytes((run_directory / name).read_bytes())
    written = report.write(runs.read(again))
    assert {path.name for path in written} == {file.name for file in run_directory.iterdir()} - {
        "records.nc",
        "run.json",
    }
    for path in written:
        if path.suffix != ".png":
            assert path.read_bytes() == (run_directory / path.name).read_bytes()
    best, margin = report.tables(runs.read(again))
    assert [row[1] for row in best.rows[:2]] == ["published", "recovered"]
    assert "literal" in [row[1] for row in best.rows]
    assert best.rows[0][7:14] == ["0", "29", "744", "628", "700", "11", "8"]
    assert len(margin.rows) == 2 + 1 + 2 + 1 + 1
    assert "recovered: rank 1, 0.0 below the best, not told apart from the best; 7 rows matched." in margin.note
    assert ", told apart from the best;" in margin.note.split("literal: rank ")[1]


def test_margins_add_up(run_directory):
    rows = margins(runs.read(run_directory).records)
    for axis in records.AXES:
        assert sum(mass for name, _, mass, _ in rows if name == axis) == pytest.approx(1)
        assert max(below for name, _, _, below in rows if name == axis) == 0


class QuickTrainer:
    """In the place of Trainer: losses that depend on seed and conditions, without training."""

    calls: ClassVar = []
    fatal = 0

    def __init__(self, most_trials):
        pass

    def compile(self, kinds, on_compiled):
        for kind in kinds:
            on_compiled(kind, 0.0)

    def losses(self, kind, jobs, *, iterations, directory, on_progress):
        self.calls.append((directory.name, kind, jobs))
        if len(self.calls) == self.fatal:
            raise KeyboardInterrupt
        number = sum(job.trials for job in jobs)
        on_progress(Progress(iterations * number, iterations * number, 0.0))
        trials = train._trials_of(jobs, number)
        return (trials["seed"] % 97) * trials["loss_scale"] * 1e-4


def test_an_interrupted_command_goes_on_to_the_same_records(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "Trainer", QuickTrainer)
    monkeypatch.setattr(QuickTrainer, "calls", [])
    arguments = ["--smoke", "--batches", "full", "--kinks", "0", "--out"]
    straight, out = tmp_path / "straight", tmp_path / "interrupted"
    assert main(["xor10-protocol", *arguments, str(straight)]) == 0
    all_calls, QuickTrainer.calls = QuickTrainer.calls, []
    monkeypatch.setattr(QuickTrainer, "fatal", 4)
    with pytest.raises(KeyboardInterrupt):
        main(["xor10-protocol", *arguments, str(out)])
    assert "goes on where it was" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert main(["xor10-protocol", *arguments, str(out), "--bias-stds", "0"]) == 2
    refusal = capsys.readouterr().err
    assert "--out: expected the bias_stds of the interrupted run" in refusal
    assert refusal.count("\n") == 1
    assert main(["xor10-protocol", *arguments, str(out)]) == 0
    assert "(7 of 7, about 0 s left)" in capsys.readouterr().err
    assert QuickTrainer.calls == all_calls[:4] + all_calls
    assert len({directory for directory, _, _ in all_calls}) == len(all_calls)
    first, second = (runs.read(path) for path in (straight, out))
    xr.testing.assert_identical(first.records, second.records)
    assert first.records["converged"].values.std() > 0
    assert {path.name for path in tmp_path.iterdir()} == {"straight", "interrupted"}


@pytest.mark.slow
def test_smoke_is_short_and_says_where_it_is(tmp_path, capsys):
    out = tmp_path / "smoke"
    arguments = ["--smoke", "--batches", "point", "--kinks", "1", "--scales", "fan-in", "--bias-stds", "0.01"]
    assert main(["xor10-protocol", *arguments, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "compiled 7 programs" in captured.err
    assert "round 1: 4 cells, 224 trials of 20 iterations" in captured.err
    assert "(7 of 7, about 0 s left)" in captured.err
    assert "4 cells, the same conditions for every row of a cell; 8 trials of each activation" in captured.out
    with xr.open_dataset(out / "records.nc", engine="h5netcdf") as data:
        assert data.sizes["activation"] == 7
