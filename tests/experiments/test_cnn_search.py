"""The search keeps the best cells, ranks them all, and says so."""

import json

import numpy as np
import pytest

from experiments.cnn import search_records, search_report
from experiments.cnn.search import halving, mean_scores, ranking
from experiments.problems.cnn.images import for_training
from experiments.problems.cnn.protocol import Protocol, search_cells
from experiments.study.run_directory import Run
from paramact_jax.datasets import synthetic_mnist


def scored_by(losses):
    """Scores of a table (rounds, cells), and what was asked for."""
    asked = []

    def score(cells, iterations):
        asked.append((iterations, list(cells)))
        return np.array([[[losses[len(asked) - 1][cell]]] for cell in cells])

    return score, asked


def test_the_best_third_goes_on():
    score, asked = scored_by([[5, 4, 3, 2, 1, 0, 9], [0, 0, 0, 3, 1, 2, 0]])
    rounds = halving(7, [10, 30], 3, score)
    assert asked == [(10, list(range(7))), (30, [3, 4, 5])]
    assert rounds[0].cells == (5, 4, 3, 2, 1, 0, 6)
    assert rounds[1].cells == (4, 5, 3)
    assert ranking(rounds) == [4, 5, 3, 2, 1, 0, 6]
    np.testing.assert_array_equal(rounds[1].scores(), [1, 2, 3])


def test_one_network_that_is_not_finite_puts_a_cell_last():
    losses = np.array([[[0.1, np.nan]], [[5.0, 5.0]], [[0.2, np.inf]]])
    np.testing.assert_array_equal(mean_scores(losses), [np.inf, 5, np.inf])
    rounds = halving(3, [1], 2, lambda cells, n: losses)
    assert ranking(rounds) == [1, 0, 2]


@pytest.fixture
def searched(tmp_path):
    base = Protocol(training_images=100, trials=2, combinations=(("relu", "relu"), ("sigmoid", "relu")))
    grid = search_cells(base)
    each = np.random.default_rng(0).uniform(0.1, 0.9, (len(grid), 2, 2))
    each[7] = 0.01
    each[3, 0, 0] = np.nan
    rounds = halving(len(grid), [10, 30], 3, lambda cells, n: each[list(cells)])
    images = for_training(synthetic_mnist(100, 20, flatten=False), 100, 0)
    records = search_records.to_dataset(grid, rounds, images)
    config = {"training_images": 100, "keep_one_in": 3}
    return grid, each, Run(tmp_path, records, {"experiment": "cnn-search", "config": config})


def test_records_and_ranking_of_a_search(searched):
    grid, each, run = searched
    records = run.records
    assert dict(records.sizes) == {"round": 2, "cell": 24, "combination": 2, "seed": 2}
    best = records.sel(cell=1)
    for name in ("pooling", "learning_rate", "weight_scale"):
        assert best[name].item() == getattr(grid[7], name)
    np.testing.assert_array_equal(best["loss"].sel(round=30), each[7])
    assert int(records["score"].sel(round=30).notnull().sum()) == 8
    assert records["score"].sel(round=10, cell=24).item() == np.inf
    assert records["learning_rate"].sel(cell=24).item() == grid[3].learning_rate
    ranked, of_best = search_report.tables(run)
    assert "NOT MNIST" in ranked.title
    assert [row[0] for row in ranked.rows] == [f"{n}" for n in range(1, 25)]
    assert ranked.rows[0][-2:] == ["0.0100", "0.0100"]
    assert ranked.rows[10][-1] == ""
    assert [row[1] for row in of_best.rows] == ["0.0100", "0.0100"]
    assert of_best.rows[0][0] == "Sigmoid / ReLU"


def test_a_search_is_reported_as_json(searched):
    _, _, run = searched
    search_report.write(run)
    cells = json.loads((run.directory / "summary.json").read_text())["cells"]
    assert len(cells) == 24
    assert cells[0]["scores"] == {"10": pytest.approx(0.01), "30": pytest.approx(0.01)}
    assert cells[23]["scores"] == {"10": None, "30": None}
    assert {cell["initial_a"] for cell in cells} == {None, 1.0}
