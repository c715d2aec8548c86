"""`xor10-figures`: the chosen trial, its history, the figures, and the statements about them."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.__main__ import main
from experiments.problems.xor10 import records
from experiments.problems.xor10.train import model
from experiments.studies.xor10_figures import Xor10Figures, checked, choose_seed
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.datasets import xor
from paramact_jax.networks import with_params

SMALL = ["--seeds", "48", "--steps", "3000", "--every", "5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "figures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "FORMATS", {})  # no test looks at the files of the figures
        assert main(["xor10-figures", *SMALL, "--out", str(out)]) == 0
    return run_directory.read(out)


def test_the_chosen_trial_is_the_one_nearest_the_median(run):
    trials = run.records.sel(activation="ppns")
    reached = {
        int(seed): int(trials["reached_at"].sel(seed=seed))
        for seed in trials["seed"].values
        if float(trials["final_loss"].sel(seed=seed)) < 1e-3
    }
    assert len(reached) > 10
    middle = np.median(list(reached.values()))
    assert run.records.attrs["history_seed"] == min(reached, key=lambda seed: (abs(reached[seed] - middle), seed))


def test_the_history_is_that_of_the_trial_bit_for_bit(run):
    assert run.records.attrs["history_retraced"] == 1
    trial = run.records.sel(seed=run.records.attrs["history_seed"])
    assert run.records["iteration"].values.tolist() == list(range(0, 3001, 5))
    for when, at in (("initial", 0), ("learned", -1)):
        for name in ("weight", "output_weight", "a", "b"):
            np.testing.assert_array_equal(
                run.records[f"history_{name}"].isel(iteration=at).values, trial[f"{when}_{name}"].values
            )
    np.testing.assert_allclose(
        run.records["history_loss"].isel(iteration=-1), trial["final_loss"], rtol=1e-3, atol=1e-12
    )
    below = run.records["history_loss"].sel(activation="ppns").values < 1e-3
    reached_at = int(trial["reached_at"].sel(activation="ppns"))
    assert abs(5 * int(below.argmax()) - reached_at) <= 5


@functools.cache
def of_flax(activation):
    """Compiles the gradient of the Flax model's first layer, and the slopes of the second layer's inputs."""
    template = model(activation, 0)
    x, t = map(jnp.asarray, xor())

    def loss(model):
        return 0.5 * jnp.mean((model(x.astype("float32")) - t) ** 2)

    @jax.jit
    def found(params):
        own = with_params(template, params)
        first = nnx.to_pure_dict(nnx.grad(loss)(own))["hidden"][0]["linear"]
        slopes = jax.vmap(jax.jacrev(own.hidden[0].activation))(own.hidden[0].linear(x.astype("float32")))
        return first, slopes

    return found


@pytest.mark.parametrize("activation", ["sigmoid", "ppns"])
@pytest.mark.parametrize("when", ["initial", "learned"])
def test_gradient_and_slopes_are_those_of_the_flax_model(run, activation, when):
    seed = run.records.attrs["history_seed"]
    first, slopes = of_flax(activation)(records.params_of_trial(run.records, activation, seed, when=when))
    noted = run.records.sel(activation=activation).isel(iteration=0 if when == "initial" else -1)
    gradient = float(first["kernel"][0, 0])
    assert float(noted["history_gradient_w11"]) == pytest.approx(gradient, rel=1e-3, abs=1e-9)
    of_layer = np.concatenate([np.ravel(first["kernel"]), first["bias"]])
    np.testing.assert_allclose(noted["history_gradient_first"], of_layer, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(noted["history_slope"].sel(layer=1), np.einsum("sii->si", slopes), rtol=1e-4, atol=1e-6)


def test_figures(run):
    figures = dict(Xor10Figures.figures(run))
    assert list(figures) == [f"figure_{i}" for i in range(7, 11)]
    assert len(figures["figure_8"].axes) == 20
    assert len([axes for axes in figures["figure_9"].axes if axes.get_title()]) == 22
    loss = figures["figure_7"].axes[0].lines[1].get_ydata()
    shown = run.records["history_loss"].sel(activation="ppns", iteration=slice(0, 1500))
    np.testing.assert_array_equal(loss, shown)


def test_every_statement_has_a_verdict_and_a_number(run):
    found = said(run.records)
    figures = [*["7(a)"] * 3, *["7(b)"] * 2, *["8"] * 4, "9(a)", "9(b)", *["10"] * 3]
    assert [one.source for one in found] == [f"P, Fig. {figure}" for figure in figures]
    assert all(any(c.isdigit() for c in one.measured) for one in found)
    verdicts = {one.text: one.verdict for one in found}
    assert verdicts["Sigmoid's entries of dz/dy are never above 0.25"] == "true"
    assert verdicts["PPNS's entries of dz/dy reach about 1.5"] == "true"


def said(records):
    return list(Xor10Figures.statements(Run(None, records, {})))


def altered(run, **changes):
    """The records with other values: name -> function of the array that changes it in place."""
    copy = run.records.copy(deep=True)
    for name, change in changes.items():
        change(copy[name])
    return copy


def of(name, value):
    """A change: all values of one activation become `value`."""

    def change(array):
        array.loc[{"activation": name}] = value

    return change


@pytest.mark.parametrize(
    ("figure", "words", "changes"),
    [
        ("7(a)", "PPNS's loss reaches 0", {"history_loss": of("ppns", 0.1)}),
        ("7(a)", "Sigmoid's loss has not", {"history_loss": of("sigmoid", 0.0)}),
        ("7(b)", "near 0 from the first", {"history_gradient_w11": of("sigmoid", 1.0)}),
        ("7(b)", "look like w_11", {"history_gradient_first": of("sigmoid", 1.0)}),
        ("7(b)", "look like w_11", {"history_gradient_first": of("ppns", 1e3)}),
        ("8", "never above 0.25", {"history_slope": of("sigmoid", 0.2501)}),
        ("8", "reach about 1.5", {"history_slope": of("ppns", 1.3)}),
        ("9(a)", "only the output layer", {"learned_weight": of("sigmoid", 9.0)}),
        ("9(b)", "move farther than under Sigmoid", {"learned_weight": of("sigmoid", 9.0)}),
        ("10", "most a end above", {"learned_a": of("ppns", 5.9)}),
        ("10", "b spreads over", {"learned_b": of("ppns", 2.0)}),
        ("10", "the farthest", {"learned_b": of("ppns", 2.0)}),
    ],
)
def test_a_statement_turns_false_when_the_records_do(run, figure, words, changes):
    (statement,) = [one for one in said(altered(run, **changes)) if words in one.text]
    assert statement.source == f"P, Fig. {figure}"
    assert statement.verdict == "false"


def test_the_share_of_trials_has_a_table(run):
    converged = run.records["converged"].sel(activation="ppns")
    above = run.records["learned_a"].sel(activation="ppns", seed=converged) > 6
    holds = (above.mean(["layer", "node"]) > 0.5).values
    ((_, table),) = Xor10Figures.tables(run)
    (row,) = [row for row in table.rows if "most a end above" in row[1]]
    assert row[3:5] == [holds.sum(), int(converged.sum())]
    assert len(table.rows) == sum(holds is not None for _, holds in checked(run.records)) == 7


@pytest.mark.parametrize("name", ["learned_a", "learned_b"])
def test_the_trial_itself_decides(run, name):
    def change(array):
        array.loc[{"activation": "ppns", "seed": run.records.attrs["history_seed"]}] = 50.0

    farthest, _, spread = (one for one in said(altered(run, **{name: change})) if one.source == "P, Fig. 10")
    assert farthest.verdict == "false"
    assert spread.verdict == ("true" if name == "learned_a" else "false")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--steps", "600"], ["--steps", "1600", "--seed", "NOT CONVERGED"]])
def test_short_runs_and_trials_that_do_not_converge_are_reported_too(run, arguments, tmp_path, capsys):
    converged = run.records["converged"].sel(activation="ppns")
    loser = str(int(converged["seed"][~converged.values][0]))
    arguments = [loser if word == "NOT CONVERGED" else word for word in arguments]
    out = tmp_path / "run"
    assert main(["xor10-figures", "--seeds", "48", "--every", "20", *arguments, "--out", str(out)]) == 0
    rows = json.loads((out / "summary.json").read_text())["statements"]
    assert len(rows) == 14
    if "--seed" in arguments:
        assert rows[0]["verdict"] == "false"
        assert f"checked on trial {loser}" in capsys.readouterr().out


def test_no_converged_trial(run, tmp_path):
    nobody = altered(run, converged=of("ppns", False))
    with pytest.raises(SystemExit, match="expected a trial of ppns that converges, got none among 48; raise --seeds"):
        choose_seed(nobody)
    out = tmp_path / "run"
    with pytest.raises(SystemExit, match="got none among 2"):
        main(["xor10-figures", "--seeds", "2", "--steps", "4", "--out", str(out)])
    assert not out.exists()
