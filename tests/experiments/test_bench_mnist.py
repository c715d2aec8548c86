"""`bench mnist`: what it measures, what it refuses, and how it is shown."""

import dataclasses
import importlib.util
import json

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.bench import mnist, mnist_lineup
from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.mnist.protocol import PROTOCOLS
from experiments.problems.mnist.train import train
from paramact_jax.datasets import synthetic_mnist

SEEDS = 2
FEW = ["--steps", str(CHECKED)]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
PROTOCOL = dataclasses.replace(PROTOCOLS["recovered"], seeds=SEEDS)


@pytest.fixture(scope="module")
def digits():
    return synthetic_mnist(64 * CHECKED, 120)


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setattr(mnist_lineup, "without_pytorch", lambda asked_for: "not installed, says the test")


def lineup(digits, activation="ppns", devices=1, least=CHECKED, **changes):
    return mnist_lineup.Lineup(
        activation, dataclasses.replace(PROTOCOL, **changes), digits, jax.devices("cpu")[:devices], least
    )


def test_the_command_measures_everything_and_writes_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("experiments.problems.digits._SYNTHETIC", (64 * CHECKED, 120))
    file = tmp_path / "bench.json"
    assert main(["bench", "mnist", "--data", "synthetic", "--rounds", "1", *FEW, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    with_torch = ["pytorch"] if importlib.util.find_spec("torch") else []

    rates = result["seed_steps_per_second"]
    assert list(rates) == ["one_seed", "one_seed_one_device", "seeds_at_once", *with_torch]
    assert list(result["score_milliseconds"]) == ["project", *with_torch]
    for found in [*rates.values(), *result["score_milliseconds"].values()]:
        assert 0 < found["min"] == found["median"] == found["max"] == found["rounds"][0]
    for ratio in result["ratios"]["rates"]:
        assert ratio["median"] == pytest.approx(rates[ratio["of"]]["median"] / rates[ratio["to"]]["median"])
    assert len(result["ratios"]["rates"]) == (5 if with_torch else 2)
    assert (result["parameters"]["steps_a_run"], result["parameters"]["seeds"]) == (CHECKED, 8)
    assert "not MNIST" in result["parameters"]["data"]
    for name in ("one_seed", "one_seed_one_device", "seeds_at_once", "project"):
        assert result["contestants"][name]["compile_seconds"] > 0
    assert result["targets"][1]["value"] == min(
        ratio["median"] for ratio in result["ratios"]["rates"] if ratio["to"].startswith("one_seed")
    )
    shown = capsys.readouterr().out
    for part in ("seeds at once / one seed, one device", "not MNIST", "A score of all test images", "at least 1.5x"):
        assert part in shown


def test_what_is_timed_is_the_training_of_the_experiment(digits, monkeypatch):
    protocol = dataclasses.replace(PROTOCOL, steps=CHECKED, activations=("relu",))
    of_experiment = train("relu", protocol, digits)["test.loss"].values
    # A run starts with the second epoch, so that nothing is scored: here with the first, as the experiment does.
    monkeypatch.setattr(mnist_lineup.Lineup, "first", 0)
    monkeypatch.setattr(mnist_lineup.Lineup, "steps", CHECKED)
    one, one_device, several = lineup(digits, "relu", devices=2).trainers()[:3]
    assert (one.trials, one_device.trials, several.trials) == (1, 1, SEEDS)
    np.testing.assert_allclose(several.losses(), of_experiment.T, rtol=1e-6)
    np.testing.assert_allclose(one.losses(), of_experiment[:1].T, rtol=1e-6)
    np.testing.assert_allclose(one_device.losses(), of_experiment[:1].T, rtol=1e-6)
    assert (np.abs(of_experiment[:, 1] / of_experiment[:, 0] - 1) > 1e-4).all()


@needs_torch
@pytest.mark.parametrize("activation", ["ppns", "relu"])
def test_pytorch_trains_the_same_network_unless_its_learning_rate_is_another(digits, activation):
    from experiments.bench import pytorch_mnist

    here = lineup(digits, activation)
    contestants = here.trainers()
    assert contestants[-1].name == "pytorch"
    mnist.check_same_network(activation, contestants)
    rates = dict.fromkeys(("learning_rate", "learning_rate_a", "learning_rate_b"), 0.0105)
    faster = dataclasses.replace(PROTOCOL, **rates)
    other = pytorch_mnist.trainer(activation, here.initial_params(), faster, digits, here.batches(CHECKED))
    with pytest.raises(RuntimeError, match=f"{activation}: expected pytorch and one_seed to train the same network"):
        mnist.check_same_network(activation, [contestants[0], other])


@needs_torch
def test_pytorch_scores_the_same_images(digits):
    ours, theirs = lineup(digits).scorers()
    mnist.check_same_network("ppns", [ours, theirs])
    fewer = dataclasses.replace(digits, test_images=digits.test_images[1:], test_labels=digits.test_labels[1:])
    with pytest.raises(RuntimeError, match="cannot be compared"):
        mnist.check_same_network("ppns", [ours, lineup(fewer).scorers()[1]])


@needs_torch
def test_pytorch_refuses_what_it_would_train_otherwise(digits):
    from experiments.bench import pytorch_mnist

    here = lineup(digits)
    for change in ({"optimiser": "adam"}, {"learning_rate_a": 0.1}):
        with pytest.raises(ValueError, match="expected sgd with one learning rate"):
            pytorch_mnist.trainer(
                "ppns", here.initial_params(), dataclasses.replace(PROTOCOL, **change), digits, here.batches(1)
            )


@pytest.mark.parametrize("losses", [[2.0, 1.0002], [2.0, 0.9998], [2.0, np.nan], [1.0, 1.0]])
def test_losses_that_differ_by_more_than_rounding_are_refused(losses):
    def contestant(*losses):
        return Contestant("some", lambda: 1.0, lambda: np.array(losses)[:, None], 1, 1)

    mnist.check_same_network("relu", [contestant(2.0, 1.0), contestant(2.00001, 1.00005)])
    with pytest.raises(RuntimeError, match="cannot be compared"):
        mnist.check_same_network("relu", [contestant(2.0, 1.0), contestant(*losses)])


def test_a_change_smaller_than_the_tolerance_is_compared_too():
    def contestant(*losses):
        return Contestant("some", lambda: 1.0, lambda: np.array(losses)[:, None], 1, 1)

    mnist.check_same_network("relu", [contestant(2.0, 1.9999), contestant(2.00001, 1.99991)])
    with pytest.raises(RuntimeError, match="cannot be compared"):
        mnist.check_same_network("relu", [contestant(2.0, 1.9999), contestant(2.0, 1.99988)])


def test_without_torch_pytorch_is_skipped_and_its_target_not_measured(digits, without_torch):
    result = mnist.measure(digits, rounds=1, seeds=SEEDS, steps=CHECKED)
    assert result["contestants"]["pytorch"] == {"skipped": "not installed, says the test"}
    assert "pytorch" not in {*result["seed_steps_per_second"], *result["score_milliseconds"]}
    assert result["targets"][0]["value"] is None and result["targets"][0]["met"] is None
    assert result["targets"][1]["value"] > 0
    text = mnist.render(result)
    assert "PyTorch: skipped, not installed, says the test" in text and "PyTorch: not measured" in text


@needs_torch
def test_an_activation_without_pytorch_is_skipped_by_name(digits):
    assert "hexpo is not written in PyTorch" in lineup(digits, "hexpo").pytorch


def test_runs_are_whole_epochs_of_at_least_so_many_steps(digits):
    here = lineup(digits, least=500)
    assert here.steps % here.first == 0 and 500 <= here.steps < 500 + here.first


def test_a_run_sees_every_image_of_an_epoch_once(digits):
    assert np.array_equal(np.sort(lineup(digits).batches(CHECKED).ravel()), np.arange(64 * CHECKED))


def test_measure_refuses_bad_numbers(digits):
    with pytest.raises(ValueError, match="got rounds=0, seeds=8"):
        mnist.measure(digits, rounds=0)
