import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.__main__ import INTERRUPTED, main
from experiments.problems.xor10 import train as xor10
from experiments.problems.xor10.protocol import ACTIVATIONS, LOSS_SCALE, PROTOCOLS
from experiments.studies import xor10_protocol as study
from experiments.studies.xor10_protocol import (
    AXES,
    LEARNING_RATE,
    MOST_ROUNDS,
    Cell,
    Xor10Protocol,
    log_likelihoods,
    margins,
    posterior,
    ranking,
    rows_matched,
    search,
)
from experiments.study import run_directory as runs
from paramact_jax.papers import ko2021
from paramact_jax.sweeps import Progress, trial_key

PUBLISHED = {row.activation: (row.converged, row.trials) for row in ko2021.TABLE_5}
FAN_IN = ("fan-in", 1 / math.sqrt(2), 1 / math.sqrt(2))
NORMAL = ("normal", 1.0, 1.0)


def test_the_declared_grid():
    """He's rule for 2 inputs is 1; Glorot's is that of fan-in but for the output layer, 2 -> 1."""
    grid = Xor10Protocol()
    assert grid.distinct_scales() == [
        FAN_IN,
        ("normal = he", 1.0, 1.0),
        ("glorot", 1 / math.sqrt(2), 1 / math.sqrt(1.5)),
    ]
    assert len(grid.cells()) == len(set(grid.cells())) == 144
    for name in PROTOCOLS:
        (cell,) = [cell for cell in grid.cells() if cell.protocol == name]
        expected = ("fan-in", 1 / 4) if name == "recovered" else ("normal = he", 1 / 2)
        assert (cell.scale, cell.gradient_scale) == expected
    assert Xor10Protocol(scales=("0.5", "glorot")).distinct_scales()[0] == ("0.5", 0.5, 0.5)


def test_the_kink_is_that_of_plain_relu_alone():
    left, right = (Cell(*NORMAL, 0.0, 0.5, "full", kink) for kink in (0, 1))
    assert left.trained("relu").activation == "relu"
    assert right.trained("relu").activation == "relu_from_right"
    assert all(left.trained(name) == right.trained(name) for name in ACTIVATIONS if name != "relu")


def test_gradient_scales_are_those_of_the_losses():
    assert Cell(*NORMAL, 0.0, 1 / 4, "full", 0).trained("tanh").loss_scale == LOSS_SCALE["half-mse"]
    assert Cell(*NORMAL, 0.0, 1 / 2, "full", 0).trained("tanh").loss_scale == LOSS_SCALE["mse"]


def test_a_trial_is_that_of_xor10_bit_for_bit():
    """Conditions mixed, more trials than a call takes; the training is chaotic."""
    cells = {
        "recovered": Cell(*FAN_IN, 0.0, 1 / 4, "full", 0),
        "literal": Cell(*NORMAL, 0.0, 1 / 2, "full", 0),
    }
    name = "parametric_tanh"
    found = study.losses([one.trained(name) for one in cells.values()], range(40, 440), steps=300, at_once=512)
    for protocol, own in zip(cells, found, strict=True):
        changes = {"seeds": 400, "first_seed": 40, "steps": 300, "activations": (name,)}
        np.testing.assert_array_equal(own, xor10.train(dataclasses.replace(PROTOCOLS[protocol], **changes))[name].loss)
    assert len(np.unique(found)) > 600


def test_the_gradient_scale_is_the_factor_of_the_error():
    """With weights of nearly 0 only the output's bias moves: b <- b - rate * c * (b - t), for the sum or each point."""
    cells = Xor10Protocol(scales=("1e-9",), bias_stds=(0.0,), gradient_scales=(1 / 8, 1 / 4, 1.0), kinks=(0,)).cells()
    found = study.losses([cell.trained("tanh") for cell in cells], range(3), steps=20)
    for cell, losses in zip(cells, found, strict=True):
        bias, factor = 0.0, LEARNING_RATE * cell.gradient_scale
        for _ in range(20):
            if cell.batch == "full":
                bias -= factor * sum(bias - t for t in (0, 1, 1, 0))
            else:
                for t in (0, 1, 1, 0):
                    bias -= factor * (bias - t)
        np.testing.assert_allclose(losses, np.mean([(bias - t) ** 2 for t in (0, 1, 1, 0)]), rtol=1e-5)


def test_initial_weights_have_their_layers_deviations():
    """The same draws under any scale, the output layer with a deviation of its own."""
    keys = jax.vmap(trial_key)(jnp.arange(100))
    plain, wide = (
        jax.vmap(lambda key, std=std: study.init(key, "tanh", 0.7, std, 0.3))(keys).params for std in (0.7, 1.4)
    )
    for i in range(10):
        np.testing.assert_array_equal(*(params["hidden"][i]["linear"]["kernel"] for params in (plain, wide)))
    np.testing.assert_allclose(wide["out"]["kernel"], 2 * plain["out"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(wide["out"]["bias"], plain["out"]["bias"])
    biases = np.stack([plain["hidden"][i]["linear"]["bias"] for i in range(10)])
    assert np.std(biases) == pytest.approx(0.3, rel=0.1)


def test_counts():
    losses = np.array([[1e-4, 0.1, 9e-4], [1e-3, np.nan, np.inf]])
    assert list(study.OUTCOMES) == ["converged", "trials", "non_finite"]
    assert study.counts_of(losses).tolist() == [[2, 3, 0], [0, 3, 2]]


class Oracle:
    """Outcomes drawn from known proportions instead of trained: published under one cell, moved elsewhere."""

    def __init__(self, right):
        self.right, self.calls, self.rng = right, [], np.random.default_rng(0)

    def __call__(self, work, seeds):
        self.calls.append((work, seeds))
        outcomes = []
        for one in work:
            name = "relu" if one.activation == "relu_from_right" else one.activation
            right = self.right.trained(name)
            k, n = PUBLISHED[name]
            p = k / n
            for pair in zip(one[1:], right[1:], strict=True):
                if len(set(pair)) > 1:
                    p = 0.1 + 0.7 * p
            if name == "relu" and one.activation != right.activation:
                p += 0.05
            outcomes.append([self.rng.binomial(len(seeds), p), len(seeds), 0])
        return np.array(outcomes)


@pytest.fixture(scope="module")
def found():
    grid = Xor10Protocol(seeds=50, final_seeds=400, finalists=6, first_seed=9)
    right = next(cell for cell in grid.cells() if cell.protocol == "recovered")
    oracle = Oracle(right)
    return grid, right, oracle, search(grid, oracle)


def test_the_search_finds_the_cell_that_the_counts_come_from(found):
    grid, right, _, counts = found
    ranked = ranking(study.to_dataset(grid, counts))
    best = ranked.sel(cell=1)
    for name, value in dataclasses.asdict(right).items():
        assert best[name] == value
    assert (best["protocol"].item(), int(best["rows_matched"])) == ("recovered", 7)
    assert best["posterior"] > 0.9
    assert (ranked["total_log_likelihood"].diff("cell") <= 0).all()
    assert float(ranked["posterior"].sum()) == pytest.approx(1)


def test_every_cell_is_tried_the_best_get_more_and_no_seed_twice(found):
    grid, _, oracle, counts = found
    assert len(oracle.calls[0][0]) == 72 * 8
    assert 2 <= len(oracle.calls) <= MOST_ROUNDS
    assert all(len(work) <= 6 * 7 for work, _ in oracle.calls[1:])
    assert (ranking(study.to_dataset(grid, counts))["trials"].sel(cell=1) == 400).all()
    seeds = {}
    for work, own in oracle.calls:
        for trained in work:
            seeds.setdefault(trained, []).extend(own)
    for own in seeds.values():
        assert own == list(range(9, 9 + len(own)))
        assert len(own) in (50, 400)


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_losses(tmp_path):
    """Of two programs the first is kept, and nothing of it runs again."""
    work = [Cell(*FAN_IN, 0.0, 1 / 4, batch, 0).trained("parametric_tanh") for batch in ("full", "point")]
    seen = []
    losses = functools.partial(study.losses, work, range(70), steps=300, at_once=70)

    def killed(progress):
        if progress.done >= 70 * 300:
            raise KilledError

    with pytest.raises(KilledError):
        losses(directory=tmp_path, on_progress=killed)
    again = losses(directory=tmp_path, on_progress=lambda progress: seen.append(progress.found))
    assert set(seen) == {70 * 300}
    np.testing.assert_array_equal(again, losses())


def test_the_search_ends_where_no_cell_is_better():
    """Every cell counts 0, so each falls behind as soon as it has more trials."""
    rounds = []

    def zero(work, seeds):
        rounds.append(seeds)
        return np.array([[0, len(seeds), 0]] * len(work))

    search(Xor10Protocol(seeds=8, final_seeds=16, finalists=2), zero)
    assert len(rounds) == MOST_ROUNDS


def test_scores():
    def likelihoods(counts, rows=ko2021.TABLE_5):
        return log_likelihoods(np.array([[*counts[name], 0] for name in ACTIVATIONS]), rows)

    def matched(counts):
        return rows_matched(*zip(*(counts[name] for name in ACTIVATIONS), strict=True))

    assert len(likelihoods(PUBLISHED)) == len(ACTIVATIONS)
    for name, moved in (("ppns", (193, 1000)), ("relu", (40, 1000)), ("sigmoid", (9, 1000))):
        change = np.subtract(likelihoods(PUBLISHED | {name: moved}), likelihoods(PUBLISHED))
        assert change.min() == change[ACTIVATIONS.index(name)] < -3
    assert sum(likelihoods(PUBLISHED, ko2021.TABLE_4)) > -5
    assert matched(PUBLISHED) == 7
    assert matched(PUBLISHED | {"ppns": (193, 1000), "tanh": (762, 1000)}) == 5
    np.testing.assert_allclose(
        posterior(np.log([[0.2, 0.2], [0.1, 1e-300]]) - 5000), [[0.4, 0.4], [0.2, 0]], atol=1e-15
    )


@pytest.mark.parametrize(("k", "n", "row"), [(0, 100, 1), (765, 1000, 2), (7, 7, 2)])
def test_a_published_count_has_its_mean_probability_under_jeffreys_posterior(k, n, row):
    counts = np.zeros((len(ACTIVATIONS), 3), int)
    counts[:] = k, n, 0
    p = (np.arange(200_000) + 0.5) / 200_000
    # p^-1/2 (1 - p)^-1/2 dp is d(2 arcsin(sqrt(p))): the substitution p = sin^2 removes the poles at 0 and 1.
    p = np.sin(p * math.pi / 2) ** 2
    weight = stats.binom.pmf(k, n, p)
    printed = ko2021.TABLE_5[row]
    expected = (weight * stats.binom.pmf(printed.converged, printed.trials, p)).sum() / weight.sum()
    found = log_likelihoods(counts, ko2021.TABLE_5)[row]
    assert np.isfinite(found)
    assert math.exp(found) == pytest.approx(expected, rel=1e-6)


def test_the_figure_shows_what_the_records_say(found):
    grid, _, _, counts = found
    records = study.to_dataset(grid, counts)
    ((_, figure),) = Xor10Protocol.figures(runs.Run(None, records, {}))
    left, _ = figure.axes
    total = records["total_log_likelihood"].max("kink").transpose("scale", "bias_std", "batch", "gradient_scale")
    np.testing.assert_allclose(left.images[0].get_array(), float(total.max()) - total.values.reshape(9, 8))
    assert [label.get_text() for label in left.get_yticklabels()][:2] == ["fan-in, 0", "fan-in, 0.01"]
    assert [label.get_text() for label in left.get_xticklabels()][4:6] == ["each point\n0.125", "each point\n0.25"]
    framed = {frame.get_xy(): text.get_text() for frame, text in zip(left.patches, left.texts[72:], strict=True)}
    assert framed == {(0.5, -0.5): "recovered", (1.5, 2.5): "literal"}


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "search"
    grid = ["--scales", "fan-in", "1.0", "he", "--bias-stds", "0", "--gradient-scales", "0.25", "0.5"]
    options = ["--seeds", "150", "--finalists", "1", "--final-seeds", "300", "--batches", "full", "--kinks", "0"]
    assert main(["xor10-protocol", *grid, *options, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
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


@pytest.mark.slow
def test_records_and_tables_of_a_run(run_directory):
    run = runs.read(run_directory)
    data = run.records
    assert data["converged"].dims == (*AXES, "activation")
    assert list(data["scale"].values) == ["fan-in", "1.0 = he"]
    best = data.sel(scale="fan-in", bias_std=0.0, gradient_scale=0.25, batch="full", kink=0)
    assert set(best["trials"].values.tolist()) == {300}
    assert (data["converged"] <= data["trials"]).all()
    recovered = dataclasses.replace(PROTOCOLS["recovered"], seeds=300, activations=("tanh",))
    assert int(best["converged"].sel(activation="tanh")) == int((xor10.train(recovered)["tanh"].loss < 1e-3).sum())
    tables = dict(Xor10Protocol.tables(run))
    rows = tables["ranking"].rows
    assert [row[0] for row in rows[:2]] == ["published", "recovered"]
    assert "literal" in [row[0] for row in rows]
    assert rows[0][7:14] == [0, 29, 744, 628, 700, 11, 8]
    assert len(tables["margins"].rows) == 2 + 1 + 2 + 1 + 1
    said = {one.text.split()[4]: one for one in Xor10Protocol.statements(run)}
    assert {name: one.verdict for name, one in said.items()} == {"recovered": "true", "literal": "false"}
    assert said["recovered"].measured == "rank 1 of 4; log likelihood 0.0 below the best; 7 rows matched"


@pytest.mark.slow
def test_margins_add_up(run_directory):
    rows = list(margins(runs.read(run_directory).records))
    for axis in AXES:
        assert sum(mass for name, _, mass, _ in rows if name == axis) == pytest.approx(1)
        assert max(below for name, _, _, below in rows if name == axis) == 0


def test_a_search_goes_on_with_the_round_that_was_interrupted(tmp_path, capsys, monkeypatch):
    calls = []

    def quick(work, seeds, *, steps, directory, on_progress, fatal=0):
        """Losses that depend on seed and conditions, without training."""
        calls.append((directory.name, work, seeds))
        if fatal and len(calls) == fatal:
            directory.mkdir()
            raise KeyboardInterrupt
        total = steps * len(work) * len(seeds)
        on_progress(Progress(total, total, 0.0))
        return np.array([one.loss_scale * (np.array(seeds) % 97) * 1e-4 for one in work])

    out = tmp_path / "out"
    short = ["--seeds", "8", "--finalists", "2", "--final-seeds", "16", "--steps", "20"]
    command = ["xor10-protocol", *short, "--batches", "full", "--kinks", "0", "--out", str(out)]
    monkeypatch.setattr(study, "losses", functools.partial(quick, fatal=2))
    assert main(command) == INTERRUPTED
    assert main([*command, "--bias-stds", "0"]) == 2
    assert "--out: expected the bias_stds of the interrupted run" in capsys.readouterr().err
    monkeypatch.setattr(study, "losses", quick)
    assert main(command) == 0
    assert "round 1: 2,016 trials of 20 steps" in capsys.readouterr().err
    assert calls[:2] == calls[2:4]
    directories = [directory for directory, _, _ in calls[2:]]
    assert len(set(directories)) == len(directories)
    assert runs.read(out).records["converged"].values.std() > 0
