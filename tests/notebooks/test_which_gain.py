"""The critical start value of a, by theory and by training."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

NAMES = ("ppns", "parametric_tanh")


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "which_gain",
        {
            "critical": "critical",
            "boundaries": "boundaries",
            "products": "products.tolist()",
            "shares": "{name: [np.nan_to_num(one.middle, nan=-1).tolist() for one in curves[name]] for name in curves}",
        },
    )


def shares(notebook, name):
    """Of each scale (scales, products); NaN where a scale has no such product."""
    found = np.array(notebook.values["shares"][name])
    return np.where(found < 0, np.nan, found)


def test_theory_has_the_critical_gains(notebook):
    assert notebook.values["critical"] == pytest.approx({"ppns": 4, "parametric_tanh": 1}, rel=1e-5)
    assert "ppns: 4.00, parametric_tanh: 1.00" in notebook.printed()


@pytest.mark.parametrize("name", NAMES)
def test_half_of_the_trials_converge_where_the_prose_says(notebook, name):
    stated = notebook.stated("half of the trials converge at about N % of the critical value")
    assert notebook.values["boundaries"][name] == pytest.approx(stated, abs=8)


@pytest.mark.parametrize("name", NAMES)
def test_none_converges_at_half_of_it_and_the_best_lie_above_it(notebook, name):
    means = np.nanmean(shares(notebook, name), axis=0)
    products = notebook.values["products"]
    assert means[products.index(notebook.stated("At N % no trial converges"))] == 0
    assert "The best start values are above the critical one." in notebook.prose
    assert products[np.argmax(means)] > 100


@pytest.mark.parametrize("name", NAMES)
def test_the_curves_of_the_scales_lie_close_to_each_other(notebook, name):
    assert "The curves of the three scales lie close to each other" in notebook.prose
    found = shares(notebook, name)
    deviation = found - np.nanmean(found, axis=0)[None]
    assert np.sqrt(np.nanmean(deviation**2)) < 0.1


def test_it_draws_one_figure_and_shows_two_diagrams(notebook):
    assert len(notebook.figures()) == 1
    tables = [output for output in notebook.outputs("execute_result") if "text/html" in output.data]
    assert len(tables) == 2
