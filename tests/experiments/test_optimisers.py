"""The comparison of optimisers trains what it says, and its verdicts follow from the records."""

import csv
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from experiments.__main__ import main
from experiments.problems.digits import hold_out, images_of
from experiments.problems.mnist.protocol import PROTOCOLS as MNIST
from experiments.problems.mnist.train import train as train_mnist
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10
from experiments.problems.xor10.train import initial_params, model, train
from experiments.studies import optimisers
from experiments.studies.optimisers import OPTIMISERS, OptimisersMnist, answers, best_cell, best_cells, conclusion
from experiments.study import report, run_directory
from paramact_jax.datasets import synthetic_mnist, xor
from paramact_jax.networks import forward, params_of
from paramact_jax.sweeps import long_sweep, trial_key
from paramact_jax.training.optimisers import MAKERS

pytestmark = pytest.mark.usefixtures("unoptimised")

STEPS, DEPTH = 30, 3
TINY = ["--optimisers", "sgd", "adam", "--rates", "0.2", "0.05", "--activations", "ppns"]


@pytest.fixture(scope="module", autouse=True)
def shallow():
    """Trains networks of fewer layers: their programs are smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimisers, "initial_params", functools.partial(initial_params, depth=DEPTH))
        patch.setitem(MNIST, "recovered", dataclasses.replace(MNIST["recovered"], depth=DEPTH, width=32))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, shallow):
    out = tmp_path_factory.mktemp("runs") / "xor10"
    command = ["optimisers", "xor10", *TINY, "--seeds", "70", "--choosing", "20", "--steps", str(STEPS)]
    assert main([*command, "--out", str(out)]) == 0
    return run_directory.read(out)


def test_the_optimisers_are_those_of_the_package():
    assert set(OPTIMISERS) == set(MAKERS)


def test_plain_descent_is_the_training_of_xor10(run):
    protocol = dataclasses.replace(XOR10["recovered"], seeds=70, steps=STEPS, depth=DEPTH, activations=("ppns",))
    for name, expected in train(protocol).items():
        own = run.records["final_loss"].sel(activation=name, optimiser="sgd", learning_rate=0.05)
        np.testing.assert_allclose(own, expected.loss, rtol=1e-4)


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.05), ("adam", 0.2)])
def test_a_network_among_many_is_optax_alone(run, name, rate):
    """Seed 65 lies in the second block of networks."""
    network = model("ppns", 65, weight_std=XOR10["recovered"].weight_std, bias_std=0, depth=DEPTH)
    record, params = network.hidden[0].activation.activation, params_of(network)
    inputs, targets = map(jnp.asarray, xor())
    rule = MAKERS[name](rate)

    def error(params):
        return ((forward(params, inputs, record) - targets) ** 2).mean()

    @jax.jit
    def trained(params):
        def update(_, state):
            params, kept = state
            changes, kept = rule.update(jax.grad(lambda params: error(params) / 2)(params), kept, params)
            return optax.apply_updates(params, changes), kept

        return jax.lax.fori_loop(0, STEPS, update, (params, rule.init(params)))[0]

    own = run.records["final_loss"].sel(activation="ppns", optimiser=name, learning_rate=rate, seed=65)
    np.testing.assert_allclose(own, error(trained(params)), rtol=1e-3)


def test_the_way_of_a_trial_is_that_of_a_plain_loop(run):
    functions, std = optimisers.xor10_training("ppns", "sgd"), {"weight": XOR10["recovered"].weight_std, "bias": 0.0}
    state, before = functions.init(trial_key(3), std), None
    step = jax.jit(functions.step)
    reversals, rises, sizes = [], [], []
    for _ in range(STEPS):
        new = step(state, 0.2)
        rises.append(functions.summarise(new)["loss"] > functions.summarise(state)["loss"])
        update = np.concatenate([np.ravel(x - y) for x, y in zip(*map(jax.tree.leaves, (new, state)), strict=True)])
        reversals.append(before is not None and update @ before < 0)
        sizes.append(np.linalg.norm(update))
        state, before = new, update
    own = run.records.sel(watched="sgd", learning_rate=0.2, watched_seed=3)
    assert float(own["way_reversed"]) == pytest.approx(np.mean(reversals[1:]))
    assert float(own["way_raised"]) == pytest.approx(np.mean(rises[1:]))
    assert float(own["way_faded"]) == pytest.approx(np.log10(sizes[-1] / max(sizes)), abs=0.01)


def ways(**changes):
    """Records of the ways of two rates, in which all that [R] says is true; what=(optimiser, value) is changed."""
    levels = {"reversed": [0.3, 0.1, 0.1], "raised": [0.1, 0.3, 0.2], "faded": [-1, -1, -1], "loss": [0.2, 0.1, 0.1]}
    own = {"reversed": [0.1, 0.9], "raised": [0.1, 0.3], "faded": [-4, -1], "loss": [0.1, 0.1]}
    jitter = 0.01 * np.array([[-1, 0, 1, 2], [0, 0, -1, 1]])
    data = {}
    for name in optimisers.WAYS:
        values = np.array([*levels[name], *own[name]], float)
        for optimiser, value in changes.get(name, {}).items():
            values[optimisers.WATCHED.index(optimiser)] = value
        data[f"way_{name}"] = ("watched", "learning_rate", "watched_seed"), values[:, None, None] * (1 + jitter)[None]
    coords = {"watched": list(optimisers.WATCHED), "learning_rate": [0.1, 1.0], "watched_seed": range(4)}
    return xr.Dataset(data, coords=coords, attrs={"threshold": 1e-3})


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, ["true"] * 5),
        ({"reversed": {"momentum": 0.5}}, ["false", *["true"] * 4]),
        ({"reversed": {"sgd": 0.05}}, ["undecided", "undecided", *["true"] * 3]),
        ({"loss": {"momentum": 0.3}}, ["true", "false", *["true"] * 3]),
        ({"raised": {"nesterov": 0.4}}, ["true", "true", "false", "true", "true"]),
        ({"raised": {"momentum": 0.05}}, ["true", "true", "undecided", "true", "true"]),
        ({"faded": {"adagrad-printed": -2}}, [*["true"] * 4, "false"]),
        ({"faded": {"rmsprop-printed": -6}}, [*["true"] * 3, "false", "true"]),
        ({"loss": {"adagrad-printed": 0.0, "rmsprop-printed": 0.0}}, [*["true"] * 3, "undecided", "undecided"]),
    ],
)
def test_what_the_report_says_of_ways_is_judged(changes, verdicts):
    found = list(optimisers.OptimisersXor10.statements(run_directory.Run(None, ways(**changes), {})))
    assert [one.verdict for one in found] == verdicts
    assert {one.source for one in found} == {"R, section 1"}
    alone = ways().sel(watched=["sgd"])
    assert list(optimisers.OptimisersXor10.statements(run_directory.Run(None, alone, {}))) == []


def test_the_training_on_mnist_is_that_of_the_experiment():
    name = "nadam"
    digits = synthetic_mnist(200, 50)
    protocol = dataclasses.replace(MNIST["recovered"], seeds=1, steps=4, optimiser=name)
    rate = dataclasses.replace(protocol, learning_rate=0.02, learning_rate_a=0.02, learning_rate_b=0.02)
    expected = train_mnist("ppns", rate, digits)["test.loss"].values[:, -1]
    results = long_sweep(
        functools.partial(optimisers.mnist_training, digits=digits, steps=4),
        [0],
        iterations=4,
        block=1,
        static_axes={"activation": ["ppns"], "optimiser": [name]},
        learning_rate=0.02,
        data=images_of(digits)
        | {"held_out_images": digits.test_images[::-1], "held_out_labels": digits.test_labels[::-1]},
    ).squeeze(["activation", "optimiser"])
    np.testing.assert_allclose(results["test.loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(results["held_out.loss"], expected, rtol=1e-4)


def test_what_is_held_out_is_not_trained_with():
    digits = synthetic_mnist(20, 5)
    rest, held_out = hold_out(digits)
    assert len(held_out["held_out_labels"]) == 3
    for kind in ("images", "labels"):
        parts = getattr(rest, f"train_{kind}"), held_out[f"held_out_{kind}"]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(digits, f"train_{kind}"))
    np.testing.assert_array_equal(rest.test_images, digits.test_images)
    with pytest.raises(ValueError, match="expected 6 training images or more, to keep some back, got 5"):
        hold_out(synthetic_mnist(5, 5))


def run_of(records):
    """A run of these records."""
    return run_directory.Run(None, records, {})


def counts(converged):
    """Records of 20 trials, 10 of which choose: {(activation, optimiser): [(in choosing, in reported) by rate]}."""
    activations, optimisers = (list(dict.fromkeys(names)) for names in zip(*converged, strict=True))
    values = np.array(
        [
            [
                [np.concatenate([np.arange(10) < count for count in pair]) for pair in converged[activation, optimiser]]
                for optimiser in optimisers
            ]
            for activation in activations
        ]
    )
    dims = ("activation", "optimiser", "learning_rate", "seed")
    return xr.Dataset(
        {"converged": (dims, values)},
        coords={
            "activation": activations,
            "optimiser": optimisers,
            "learning_rate": [0.01, 0.1, 1.0][: values.shape[2]],
            "seed": range(20),
        },
        attrs={"problem": "xor10", "choosing": 10},
    )


HAND_MADE = {
    ("sigmoid", "sgd"): [(0, 9), (0, 0), (0, 9)],
    ("sigmoid", "adam"): [(1, 9), (3, 1), (0, 0)],
    ("ppns", "sgd"): [(2, 2), (9, 10), (3, 10)],
    ("ppns", "adam"): [(2, 2), (8, 10), (10, 9)],
}


def test_the_rate_is_chosen_on_some_seeds_and_reported_on_the_others():
    of = counts(HAND_MADE)
    found = {cell.name: (cell.rate, cell.at_end, int(cell.values.sum())) for cell in best_cells(run_of(of))}
    assert found == {
        "sigmoid, sgd": (0.01, True, 9),
        "sigmoid, adam": (0.1, False, 1),
        "ppns, sgd": (0.1, False, 10),
        "ppns, adam": (1.0, True, 9),
    }
    assert best_cell(run_of(of), "sigmoid").optimiser == "adam"
    assert best_cell(run_of(of), "ppns").optimiser == "adam"


def test_verdicts_of_counts():
    of = counts(HAND_MADE)
    first, *others = answers(run_of(of))
    assert (first.first.name, first.second.name) == ("ppns, sgd", "sigmoid, adam")
    assert first.comparison.pairs == 10
    assert first.comparison.discordant == (9, 0)
    assert first.verdict == "first"
    assert "the activation does more" in conclusion(run_of(of))
    assert {answer.question: answer.verdict for answer in others} == {
        "a better optimiser for sigmoid": "second",
        "a better optimiser for ppns": "not told apart",
    }
    assert all(answer.p_value_holm >= answer.comparison.p_value for answer in answers(run_of(of)))


@pytest.mark.parametrize(
    ("ppns", "sigmoid", "says"),
    [(0, 10, "the optimiser does more than the activation"), (5, 5, "are not told apart")],
)
def test_the_conclusion_can_be_another(ppns, sigmoid, says):
    of = counts({("sigmoid", "sgd"): [(9, sigmoid)], ("ppns", "sgd"): [(9, ppns)]})
    assert says in conclusion(run_of(of))


def test_nothing_is_concluded_about_what_was_not_trained():
    only = {key: value for key, value in HAND_MADE.items() if key[0] == "sigmoid"}
    assert conclusion(run_of(counts(only))) == ""
    without = {key: value for key, value in HAND_MADE.items() if key[1] == "adam"}
    assert answers(run_of(counts(without))) == []


def losses(values, choosing=1):
    """Records with test losses (optimisers, rates, seeds) of sigmoid and, 2 lower, ppns."""
    found = np.array([values, np.array(values) - 2])
    dims = ("activation", "optimiser", "learning_rate", "seed")
    return xr.Dataset(
        {
            "test_loss": (dims, found),
            "test_accuracy": (dims, np.full(found.shape, 0.5)),
            "held_out_loss": (dims, found.copy()),
        },
        coords={
            "activation": ["sigmoid", "ppns"],
            "optimiser": ["sgd", "adam"][: found.shape[1]],
            "learning_rate": [0.1, 1.0],
            "seed": range(found.shape[3]),
        },
        attrs={"problem": "mnist", "choosing": choosing, "synthetic": 0, "source": "by hand"},
    )


def test_the_lower_loss_is_better_and_no_number_the_worst():
    records = losses([[[2.3, 2.31, 2.32], [np.nan, 2.1, 2.2]], [[2.0, 2.01, 2.03], [np.inf, 1.0, 1.0]]])
    assert [cell.rate for cell in best_cells(run_of(records))] == [0.1] * 4
    assert best_cell(run_of(records), "sigmoid").optimiser == "adam"
    found = {answer.question: answer for answer in answers(run_of(records))}
    assert found["a better optimiser for sigmoid"].comparison.difference == pytest.approx(-0.295)
    assert found["activation or optimiser? ppns or sigmoid"].verdict == "first"


def test_test_images_choose_nothing():
    records = losses([[[1.0, 2.0, 2.0], [3.0, 3.0, 3.1]], [[0.5, 0.5, 0.6], [0.4, 0.4, 0.4]]])
    held_out = records["held_out_loss"]
    for rate, optimiser in ((1.0, "sgd"), (0.1, "adam")):
        held_out.loc[{"learning_rate": rate, "optimiser": optimiser}] = -9.0
    held_out.loc[{"optimiser": "sgd"}] -= 1
    assert [cell.rate for cell in best_cells(run_of(records))] == [1.0, 0.1] * 2
    assert best_cell(run_of(records), "sigmoid").optimiser == "sgd"
    np.testing.assert_array_equal(best_cell(run_of(records), "sigmoid").values, [3.0, 3.1])


def test_reported_seeds_that_are_not_finite_are_left_out_and_counted(tmp_path):
    records = losses([[[2.3, 2.31, 2.32, np.nan], [2.4, 2.1, 2.2, 2.1]]])
    run = run_directory.Run(
        tmp_path, records, {"experiment": "optimisers-mnist", "config": {"steps": 5}, "environment": {}, "seconds": {}}
    )
    best, _, comparisons = report.Report(OptimisersMnist, run).tables.values()
    assert best.rows[0][3].text == "2.315 (1 not finite)"
    assert comparisons.rows[0][2] == 2
    few = losses([[[2.3, 2.31, np.nan], [2.4, 2.1, 2.2]]])
    assert [answer.comparison for answer in answers(run_of(few))] == [None] * 3


def test_records_and_report_of_a_run(run):
    sizes = {"activation": 1, "optimiser": 2, "learning_rate": 2, "seed": 70, "watched": 1, "watched_seed": 64}
    assert dict(run.records.sizes) == sizes
    assert run.records["learning_rate"].values.tolist() == [0.05, 0.2]
    assert np.isfinite(run.records["final_loss"]).all()
    assert {"report.md", "best.csv", "rates.tex", "comparisons.csv", "rates.png"} <= {
        path.name for path in run.directory.iterdir()
    }
    summary = json.loads((run.directory / "summary.json").read_text())
    assert {cell["seeds"] for cell in summary["cells"]} == {50}
    with (run.directory / "best.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, cell in zip(rows, summary["cells"], strict=True):
        own = run.records["converged"].sel(optimiser=row["optimiser"], learning_rate=float(row["rate"]))
        assert float(row["per_1_000"]) == 1000 * own.isel(seed=slice(20, None)).mean()
        assert cell["level"] == f"{float(row['per_1_000']):.0f}"
        assert float(row["per_1_000_low"]) <= float(row["per_1_000"]) <= float(row["per_1_000_high"])
