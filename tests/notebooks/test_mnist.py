"""MNIST: on the real images where they lie, and what is said where they cannot be had."""

import os
from pathlib import Path

import pytest

import paramact_jax
from notebooks.__main__ import from_text
from paramact_jax.papers import ko2021

pytestmark = pytest.mark.slow

REAL = Path(os.environ.get("PARAMACT_DATA", Path(__file__).parents[3] / "shared" / "data" / "mnist"))
IMAGES = 5
"""The cell that looks for them."""


@pytest.fixture(scope="module")
def notebook(run_notebook):
    if not REAL.is_dir():
        pytest.skip("the files of MNIST are not here")
    return run_notebook(
        "mnist",
        {
            "synthetic": "digits.synthetic",
            "counts": "{label: float(count.mean()) for label, count in counts.items()}",
            "deviations": "{label: float(count.std(ddof=1)) for label, count in counts.items()}",
            "losses": "{label: found['test.loss'].mean('seed').values.tolist() for label, found in results.items()}",
            "steps": "[*range(0, STEPS, TEST_EVERY), STEPS]",
        },
        PARAMACT_DATA=REAL,
    )


def test_without_images_it_says_that_synthetic_ones_say_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PARAMACT_DATA", str(tmp_path / "nowhere"))
    names = {"pa": paramact_jax}
    exec(from_text("mnist").cells[IMAGES].source, names)
    assert "synthetic images, which say nothing about MNIST." in capsys.readouterr().out
    assert names["digits"].synthetic


def test_it_is_about_mnist(notebook):
    assert notebook.values["synthetic"] is False
    assert notebook.printed() == "MNIST: 60,000 images to train with, 10,000 to test with.\n"
    assert len(notebook.figures()) == 2


def test_published_counts_lie_within_three_deviations(notebook):
    published = {row.activation: row.count for row in ko2021.FIG_14}
    labels = {row.label: row.activation for row in ko2021.TABLE_7}
    for label, mean in notebook.values["counts"].items():
        assert abs(mean - published[labels[label]]) < 3 * notebook.values["deviations"][label]


@pytest.mark.parametrize(
    ("label", "pattern", "within"),
    [
        ("ReLU", "test loss is N under ReLU", 0.1),
        ("Parametric Tanh", "N under Parametric Tanh", 0.03),
        ("PPNS", "and N under PPNS", 0.03),
    ],
)
def test_losses_are_those_in_the_prose(notebook, label, pattern, within):
    assert notebook.values["steps"][-1] == notebook.stated("After N steps")
    assert notebook.values["losses"][label][-1] == pytest.approx(notebook.stated(pattern), abs=within)


def test_relu_stays_near_chance_as_long_as_the_prose_says(notebook):
    at = notebook.values["steps"].index(notebook.stated("after N of them"))
    assert notebook.values["losses"]["ReLU"][at] > notebook.stated("still above N after")
