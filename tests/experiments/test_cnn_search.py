"""The search keeps the best cells, ranks them all, and says so."""

import dataclasses

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.problems.cnn.networks import for_training, load
from experiments.problems.cnn.train import classifier, conditions
from experiments.problems.digits import images_of
from experiments.studies import cnn_search
from experiments.studies.cnn_search import CnnSearch, cells, for_search, halving
from experiments.study import run_directory
from paramact_jax.datasets import synthetic_mnist
from paramact_jax.sweeps import long_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")

PAIR = "relu/parametric_relu"


def scored_by(losses):
    """Scores of a table (rounds, cells), and what was asked for."""
    asked = []

    def score(cells, iterations):
        asked.append((iterations, list(cells)))
        return np.array([[[losses[len(asked) - 1][cell]]] for cell in cells])

    return score, asked


def test_the_best_third_goes_on():
    score, asked = scored_by([[5, 4, 3, 2, 1, 0, 9], [0, 0, 0, 3, 1, 2, 0]])
    order, losses, scores = halving(7, [10, 30], 3, score)
    assert asked == [(10, list(range(7))), (30, [3, 4, 5])]
    assert order.tolist() == [4, 5, 3, 2, 1, 0, 6]
    np.testing.assert_array_equal(scores, [[5, 4, 3, 2, 1, 0, 9], [np.nan] * 3 + [3, 1, 2, np.nan]])
    np.testing.assert_array_equal(losses[:, :, 0, 0], scores)


def test_one_network_that_is_not_finite_puts_a_cell_last():
    losses = np.array([[[0.1, np.nan]], [[5.0, 5.0]], [[0.2, np.inf]]])
    order, _, scores = halving(3, [1], 2, lambda cells, steps: losses)
    np.testing.assert_array_equal(scores, [[np.inf, 5, np.inf]])
    assert order.tolist() == [1, 0, 2]


def test_the_search_scores_other_training_images_and_no_test_image():
    digits = synthetic_mnist(120, 30, flatten=False)
    chosen, search = for_training(digits, 60, seed=3), for_search(digits, 60, seed=3)
    np.testing.assert_array_equal(search.train_images, chosen.train_images)
    seen, scored = ({image.tobytes() for image in x} for x in (search.train_images, search.test_images))
    assert len(scored) == 60
    assert not seen & scored
    assert scored <= {image.tobytes() for image in digits.train_images}
    assert np.bincount(search.test_labels).tolist() == [6] * 10
    assert "training split alone" in search.source
    assert len(for_search(load("synthetic", None, 100), 100, 0).test_labels) == 100


def test_every_cell_of_the_search_can_be_trained():
    found = cells(CnnSearch())
    assert len(set(found)) == 24
    for cell in found:
        cell.check(None)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Two cells of each of two kinds of pooling, by the old names of the options."""
    out = tmp_path_factory.mktemp("search") / "run"
    options = ["--training-images", "60", "--batch-size", "20", "--trials", "2", "--iterations", "2", "4"]
    options += ["--keep-one-in", "2", "--combinations", PAIR, "--out", str(out)]
    grid = {"learning_rate": (0.03, 0.3), "weight_scale": (1.0,), "initial_a": (None,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cnn_search, "GRID", cnn_search.GRID | grid)
        assert main(["cnn-search", "--data", "synthetic", *options]) == 0
    return run_directory.read(out)


def test_a_search_ranks_its_cells(searched):
    records = searched.records
    assert dict(records.sizes) == {"round": 2, "cell": 4, "combination": 1, "seed": 2}
    assert records["round"].values.tolist() == [2, 4]
    assert int(records["score"].sel(round=4).notnull().sum()) == 2
    assert float(records["score"].sel(round=4, cell=1)) <= float(records["score"].sel(round=4, cell=2))
    np.testing.assert_allclose(records["loss"].mean(("combination", "seed"), skipna=False), records["score"])
    assert sorted(zip(records["pooling"].values, records["learning_rate"].values, strict=True)) == [
        *(("average", 0.03), ("average", 0.3), ("max", 0.03), ("max", 0.3))
    ]
    assert "training split alone" in records.attrs["source"]


def test_a_cell_of_the_search_trains_as_alone(searched):
    best = searched.records.sel(cell=1, combination=PAIR)
    protocol = cells(CnnSearch(training_images=60, batch=20, seeds=2))[0]
    own = {name: best[name].item() for name in ("pooling", "learning_rate", "weight_scale")}
    protocol = dataclasses.replace(protocol, **own, steps=4, test_every=1)
    used = for_search(load("synthetic", None, 60), 60, 0)
    settings = {"data": images_of(used), **conditions(protocol)}
    alone = long_sweep(classifier(PAIR, protocol), range(2), iterations=4, block=1, **settings)["test.loss"]
    np.testing.assert_allclose(best["loss"].sel(round=4), alone.min(alone.dims[-1]), rtol=1e-5)


def test_the_report_of_a_search(searched):
    run, rounds = searched, searched.records["score"].values
    tables = dict(CnnSearch.tables(run))
    assert [row[0] for row in tables["ranking"].rows] == [1, 2, 3, 4]
    np.testing.assert_array_equal([row[-2:] for row in tables["ranking"].rows], rounds.T)
    assert "own" in tables["ranking"].plain()
    assert tables["best_cell"].rows == [["ReLU / Agile ReLU", float(run.records["loss"].sel(round=4, cell=1).mean())]]
    found = CnnSearch.summary(run)["cells"]
    assert [cell["scores"]["2"] for cell in found] == rounds[0].tolist()
    assert np.isnan([found[0]["initial_a"], found[3]["scores"]["4"]]).all()
