"""The quickstart: what it says of its own network."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ANOTHER_START = """[
    float(train(nnx.merge(graph, __import__("jax").tree.map(lambda p: factor * p, params)))[-1])
    for graph, params in [nnx.split(network(lambda: pa.nnx.Parametric("ppns", features=2), SEED))]
    for factor in (0.999, 1.001)
]"""


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "quickstart",
        {
            "losses": "{name: loss.tolist() for name, loss in losses.items()}",
            "another_start": ANOTHER_START,
            "before": "np.concatenate(before).tolist()",
            "after": "np.concatenate(after).tolist()",
        },
    )


def test_it_shows_the_functions_the_losses_and_the_moves(notebook):
    assert len(notebook.figures()) == 3


def test_the_loss_reaches_0_under_ppns_and_stays_under_the_sigmoid(notebook):
    losses = notebook.values["losses"]
    assert losses["PPNS"][-1] < 1e-6
    assert losses["Sigmoid"][-1] == pytest.approx(notebook.stated("it stays at N,"), abs=5e-4)


def test_the_outcome_does_not_hang_on_a_rounding(notebook):
    assert "a change of all initial weights by a thousandth of them leaves it converging" in notebook.prose
    assert max(notebook.values["another_start"]) < 1e-6


def test_all_nodes_start_where_it_says_and_move_as_far(notebook):
    before, after = np.array(notebook.values["before"]), np.array(notebook.values["after"])
    assert "All twenty nodes started at $(a, b) = (6, 0)$" in notebook.prose
    assert before.tolist() == [[6.0, 0.0]] * 20
    of_a, of_b = abs(after - before).max(axis=0)
    assert 0 < of_a < notebook.stated("of $a$ by less than N")
    assert of_b == pytest.approx(notebook.stated("of $b$ by about N"), abs=0.05)
    assert (after != before).all()


def test_a_model_made_trainable_keeps_its_outputs(notebook):
    assert "layers.1.relu: relu at layers.1, input (3, 8), a and b of shape (8,)" in notebook.printed()
    assert "outputs changed by at most 0.0\n" in notebook.printed()
