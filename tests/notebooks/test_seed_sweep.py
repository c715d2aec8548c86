"""The sweep of a thousand seeds: Table 5."""

import pytest

from paramact_jax.papers import ko2021

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "seed_sweep",
        {
            "counts": "counts",
            "holm": "table_5['p (Holm)'].values.tolist()",
            "trials": "TRIALS",
            "seeds": "results['Tanh'].sizes['seed']",
        },
    )


def test_it_trains_a_thousand_trials_of_all_seven(notebook):
    assert list(notebook.values["counts"]) == [row.label for row in ko2021.TABLE_5]
    assert notebook.values["trials"] == notebook.values["seeds"] == 1_000


def test_no_row_is_rejected(notebook):
    assert "No row is rejected" in notebook.prose
    assert min(notebook.values["holm"]) > 0.05


@pytest.mark.parametrize(
    ("name", "pattern", "within"),
    [  # chaotic trainings: a few trials of PPNS and Parametric Tanh go elsewhere on other processors
        ("PPNS", "converges in about N of 1,000", 20),
        ("Parametric Sigmoid", "shifted up to be positive, in about N;", 8),
        ("Tanh", "Tanh manages about N without", 10),
        ("Parametric Tanh", "and about N with them,", 20),
        ("ReLU", "ReLU about N in either case", 5),
        ("Parametric ReLU", "ReLU about N in either case", 5),
    ],
)
def test_counts_are_those_in_the_prose(notebook, name, pattern, within):
    assert notebook.values["counts"][name] == pytest.approx(notebook.stated(pattern), abs=within)


def test_the_sigmoid_never_converges(notebook):
    assert "the sigmoid in none" in notebook.prose
    assert notebook.values["counts"]["Sigmoid"] == 0


def test_it_draws_when_they_converge_and_shows_the_table(notebook):
    assert len(notebook.figures()) == 1
    tables = [output for output in notebook.outputs("execute_result") if "text/html" in output.data]
    assert [all(row.label in table.data["text/html"] for row in ko2021.TABLE_5) for table in tables] == [True]
