"""The decay of the gradient: by cause, by layer, and by the start value of a."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

DRAWN = "{name: [getattr(curve(name), part).tolist() for part in ('measured', 'predicted')] for name in ACTIVATIONS}"
KINDS = "{kind: share(name, kind).measured.tolist() for kind in ('saturated', 'slope_at_least_one')}"


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "where_gradients_vanish",
        {
            "change": "{name: change[name].to_series().to_dict() for name in change}",
            "drawn": DRAWN,
            "shares": f"{{name: {KINDS} for name in ACTIVATIONS}}",
            "starts": "{slope: prediction(slope).measured[-1] for slope in (0.5, 1.0, 1.25, 1.5, 3.0)}",
        },
    )


def test_the_linear_factor_takes_next_to_nothing(notebook):
    assert "$W$ takes next to nothing" in notebook.prose
    assert max(abs(value) for value in notebook.values["change"]["by W"].values()) < 0.2


@pytest.mark.parametrize(
    ("name", "pattern", "sign"),
    [
        ("sigmoid", "Those of the sigmoid lose N decades", -1),
        ("relu", "those of ReLU lose N,", -1),
        ("tanh", "those of tanh N.", -1),
        ("ppns", "gain N instead", 1),
    ],
)
def test_the_slopes_take_what_the_prose_says(notebook, name, pattern, sign):
    assert notebook.values["change"]["by the slopes"][name] == pytest.approx(sign * notebook.stated(pattern), abs=0.1)


def test_a_layer_of_sigmoids_hands_on_less_than_a_quarter(notebook):
    assert "a layer hands on less than a quarter" in notebook.prose
    assert 10 ** (notebook.values["change"]["by both"]["sigmoid"] / 20) < 0.25


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "ppns"])
def test_mean_field_theory_predicts_every_layer(notebook, name):
    measured, predicted = notebook.values["drawn"][name]
    assert len(measured) == 21
    np.testing.assert_allclose(measured, predicted, atol=0.15)


def test_units(notebook):
    shares = notebook.values["shares"]
    assert max(shares["sigmoid"]["saturated"]) < 1 / notebook.stated("Less than 1 in N of the sigmoid's units")
    assert "Half of ReLU's units have slope 0" in notebook.prose
    np.testing.assert_allclose(shares["relu"]["saturated"], 0.5, atol=0.05)
    assert min(shares["ppns"]["slope_at_least_one"]) > 0.5


def test_start_values(notebook):
    decades = notebook.values["starts"]
    assert "between 1 and 1.25 the gradient neither vanishes nor grows" in notebook.prose
    assert decades["1.0"] < 0 < decades["1.25"]
    assert decades["1.5"] == pytest.approx(notebook.stated("1.5 lets it grow by N decades"), abs=0.05)
    assert decades["0.5"] == pytest.approx(-notebook.stated("at 0.5 it loses N,"), abs=0.2)
    assert decades["3.0"] == pytest.approx(notebook.stated("at 3 it gains N."), abs=0.2)


def test_it_draws_gradient_units_and_start_values(notebook):
    assert len(notebook.figures()) == 3
