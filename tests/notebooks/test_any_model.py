"""A residual network and a transformer: what is made trainable, and what changes the gradient."""

import pytest

pytestmark = pytest.mark.slow

KINDS = "{str(kind): decades(share) for kind, share in found.by_kind().items()}"


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "any_model",
        {
            "plain": "{str(kind): float(share) / np.log(10) for kind, share in plain_found.by_kind().items()}",
            "saturated": "plain_found.units.saturated.tolist()",
            "one_sign": "plain_found.units.one_sign.tolist()",
            "points": "[len(found.points) for found in deep.values()]",
            **{
                f"{name}_{what}": f"{{' '.join(key): {value} for key, found in {name}.items()}}"
                for name in ("deep", "deep_transformer")
                for what, value in {"totals": "decades(found.total)", "kinds": KINDS}.items()
            },
        },
    )


def test_every_activation_becomes_trainable(notebook):
    printed = notebook.printed()
    for i in range(3):
        assert f"blocks.{i}.tanh: tanh at blocks.{i}" in printed
    assert "a starts at 1.5\n" in printed
    assert "new parameters: blocks.0.gelu, blocks.1.gelu" in printed


def test_six_sigmoids(notebook):
    kinds = notebook.values["plain"]
    assert -kinds["activation"] == pytest.approx(notebook.stated("six sigmoids lose N decades"), abs=0.1)
    assert -kinds["linear"] == pytest.approx(notebook.stated("the linear maps N."), abs=0.1)
    assert -kinds["activation"] / 6 == pytest.approx(notebook.stated("a loss of N decades each time"), abs=0.05)
    assert "No unit is saturated" in notebook.prose
    assert max(notebook.values["saturated"]) == 0
    assert 100 * min(notebook.values["one_sign"][1:]) == notebook.stated('"one sign" is N %')
    assert "Gradient by inputs: norm" in notebook.printed()


@pytest.mark.parametrize(
    ("network", "pattern", "sign"),
    [
        ("neither sigmoid", "the sigmoid loses N decades, ReLU", -1),
        ("neither relu", "decades, ReLU N and tanh", -1),
        ("neither tanh", "and tanh N. It is", -1),
        ("neither ppns", "gains N. With a norm", 1),
        ("skip relu", "under ReLU by N decades", 1),
    ],
)
def test_totals_of_the_residual_network(notebook, network, pattern, sign):
    assert notebook.values["deep_totals"][network] == pytest.approx(sign * notebook.stated(pattern), abs=0.1)


@pytest.mark.parametrize(
    ("network", "kind", "pattern", "sign"),
    [
        ("norm sigmoid", "activation", "the sigmoids still lose N decades", -1),
        ("norm sigmoid", "normalisation", "the norms give N back", 1),
        ("skip sigmoid", "activation", "which now lose N.", -1),
    ],
)
def test_kinds_of_the_residual_network(notebook, network, kind, pattern, sign):
    assert notebook.values["deep_kinds"][network][kind] == pytest.approx(sign * notebook.stated(pattern), abs=0.1)


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh"])
def test_with_neither_it_is_the_activations_that_lose(notebook, name):
    assert "It is the activations that lose them." in notebook.prose
    kinds = notebook.values["deep_kinds"][f"neither {name}"]
    assert kinds["activation"] == min(kinds.values())
    assert set(kinds) == {"linear", "activation"}


def test_with_both_all_gain_little(notebook):
    assert "With both, all four activations gain less than one decade in 24 blocks." in notebook.prose
    totals = [total for network, total in notebook.values["deep_totals"].items() if network.startswith("both")]
    assert len(totals) == 4
    assert all(0 < total < 1 for total in totals)
    assert min(notebook.values["points"]) > 24


def test_a_block_loses_a_factor_of_four_and_gets_it_back(notebook):
    assert "Each block loses a factor of four to its sigmoid" in notebook.prose
    kinds = notebook.values["deep_kinds"]["norm sigmoid"]
    assert 10 ** (-kinds["activation"] / 24) == pytest.approx(4, rel=0.2)
    assert 10 ** (kinds["normalisation"] / 23) == pytest.approx(4, rel=0.25)


def test_the_transformer(notebook):
    totals, kinds = notebook.values["deep_transformer_totals"], notebook.values["deep_transformer_kinds"]
    assert -totals["neither sigmoid"] == pytest.approx(notebook.stated("residual network, N decades."), abs=0.2)
    assert -totals["norm sigmoid"] == pytest.approx(notebook.stated("With a norm it still loses N."), abs=0.2)
    of_norm = kinds["norm sigmoid"]
    assert of_norm["normalisation"] == pytest.approx(notebook.stated("gives back N of"), abs=0.2)
    assert -of_norm["activation"] == pytest.approx(notebook.stated("of N decades. Moved"), abs=0.2)
    assert totals["skip sigmoid"] > notebook.stated("the gradient grows by more than N decades")
    assert kinds["skip sigmoid"]["attention product"] > 4
    assert kinds["skip sigmoid"]["softmax"] < -4
    assert totals["both sigmoid"] == pytest.approx(notebook.stated("With both, it grows by N."), abs=0.2)


def test_centred_the_norms_give_all_back(notebook):
    assert "the sigmoid loses as many, but the norms give all of them back" in notebook.prose
    kinds = notebook.values["deep_transformer_kinds"]
    centred = kinds["norm centred"]
    assert centred["activation"] == pytest.approx(kinds["norm sigmoid"]["activation"], abs=0.3)
    assert centred["normalisation"] == pytest.approx(-centred["activation"], abs=1.5)
    assert centred["normalisation"] + centred["activation"] > 0
    assert abs(notebook.values["deep_transformer_totals"]["norm centred"]) < 1


def test_it_draws_three_profiles(notebook):
    assert len(notebook.figures()) == 3
