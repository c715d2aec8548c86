"""`bench mnist`: what it measures, what it refuses, and how it is shown."""

import dataclasses
import importlib.util
import json

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.bench import contest
from experiments.bench import digits as bench
from experiments.bench.contest import CHECKED, machine_and_versions, shown
from experiments.problems.mnist.protocol import PROTOCOLS
from experiments.problems.mnist.train import train
from paramact_jax.datasets import synthetic_mnist

pytestmark = pytest.mark.usefixtures("unoptimised")

SEEDS = 2
FEW = ["--steps", str(CHECKED)]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
SHALLOW = dataclasses.replace(PROTOCOLS["recovered"], depth=2)
"""The conditions of a network of fewer layers: its programs are smaller."""
PROTOCOL = dataclasses.replace(SHALLOW, seeds=SEEDS)


@pytest.fixture(scope="module")
def digits():
    return synthetic_mnist(64 * CHECKED, 120)


def lineup(digits, activation="ppns", least=CHECKED):
    return bench.on_mnist(activation, PROTOCOL, digits, least)


@pytest.mark.slow
def test_the_command_measures_everything_and_writes_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("experiments.problems.digits._SYNTHETIC", (64 * CHECKED, 120))
    file = tmp_path / "bench.json"
    assert main(["bench", "mnist", "--data", "synthetic", "--rounds", "1", *FEW, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    with_torch = ["pytorch"] if importlib.util.find_spec("torch") else []

    training, scores = result["rows"]
    rates, ratios = training["seed_steps_per_second"], training["ratios"]
    assert list(rates) == ["one_seed", "one_seed_one_device", "seeds_at_once", *with_torch]
    assert list(scores["score_milliseconds"]) == ["project", *with_torch]
    for found in [*rates.values(), *scores["score_milliseconds"].values()]:
        assert 0 < found["min"] == found["median"] == found["max"] == found["rounds"][0]
    for pair, ratio in ratios.items():
        of, to = pair.split(" / ")
        assert ratio["median"] == pytest.approx(rates[of]["median"] / rates[to]["median"])
    assert len(ratios) == (5 if with_torch else 2)
    assert (result["parameters"]["steps_a_run"], result["parameters"]["seeds"]) == (CHECKED, 8)
    assert "not MNIST" in result["parameters"]["data"]
    for name in ("one_seed", "one_seed_one_device", "seeds_at_once"):
        assert training["compile_seconds"][name] > 0
    assert result["targets"][1]["value"] == min(
        ratio["median"] for pair, ratio in ratios.items() if pair.startswith("seeds_at_once / one_seed")
    )
    shown = capsys.readouterr().out
    for part in ("seeds at once / one seed, one device", "not MNIST", "A score of all test images", "at least 1.5x"):
        assert part in shown


def test_what_is_timed_is_the_training_of_the_experiment(digits):
    protocol = dataclasses.replace(PROTOCOL, steps=CHECKED, activations=("relu",))
    of_experiment = train("relu", protocol, digits)["test.loss"].values
    # A run starts with the second epoch, so that nothing is scored: here with the first, as the experiment does.
    own = dataclasses.replace(lineup(digits, "relu"), first=0, steps=CHECKED)
    one, one_device, several = own.contestants(SEEDS, jax.devices("cpu")[:2])
    assert (one.trials, one_device.trials, several.trials) == (1, 1, SEEDS)
    np.testing.assert_allclose(several.losses(), of_experiment.T, rtol=1e-6)
    np.testing.assert_allclose(one.losses(), of_experiment[:1].T, rtol=1e-6)
    np.testing.assert_allclose(one_device.losses(), of_experiment[:1].T, rtol=1e-6)
    assert (np.abs(of_experiment[:, 1] / of_experiment[:, 0] - 1) > 1e-4).all()


@needs_torch
@pytest.mark.parametrize("activation", ["ppns", "relu"])
def test_pytorch_trains_the_same_network_unless_its_learning_rate_is_another(digits, activation):
    own = lineup(digits, activation)
    ours = own.contestant("one_seed", "", 1, jax.devices("cpu")[:1])

    def theirs(**rates):
        return dataclasses.replace(own, settings={**own.settings, **rates}).in_pytorch()

    contest.check_same(activation, [ours, theirs()], bench.differ)
    with pytest.raises(RuntimeError, match=f"{activation}: expected pytorch and one_seed to train the same networks"):
        contest.check_same(activation, [ours, theirs(learning_rate=0.0105, learning_rate_a=0.0105)], bench.differ)


@needs_torch
def test_pytorch_scores_the_same_images(digits):
    own = lineup(digits)
    ours, model, data = own.scorer(), own.network(own.initial()), own.settings["data"]
    contest.check_same("ppns", [ours, contest.pytorch().scorer(model, own.settings)], bench.differ)
    fewer = {"data": {name: x[1:] for name, x in data.items()}}
    with pytest.raises(RuntimeError, match="cannot be compared"):
        contest.check_same("ppns", [ours, contest.pytorch().scorer(model, fewer)], bench.differ)


@pytest.mark.parametrize("losses", [[2.0, 1.0002], [2.0, 0.9998], [2.0, np.nan], [1.0, 1.0]])
def test_losses_that_differ_by_more_than_rounding_are_those_of_others(losses):
    ours = np.array([[2.0], [1.0]])
    assert not bench.differ(np.array([[2.00001], [1.00005]]), ours)
    assert bench.differ(np.array(losses)[:, None], ours)


def test_losses_after_the_steps_may_differ_by_more_where_pixels_tie():
    ours = np.array([[2.0], [1.0]])
    assert not bench.differ(np.array([[2.0001], [1.005]]), ours, after=1e-2)
    for other in ([2.01, 1.0], [2.0, 1.02], [2.0, np.nan]):
        assert bench.differ(np.array(other)[:, None], ours, after=1e-2)


def test_a_change_smaller_than_the_tolerance_is_compared_too():
    ours = np.array([[2.0], [1.9999]])
    assert not bench.differ(np.array([[2.00001], [1.99991]]), ours)
    assert bench.differ(np.array([[2.0], [1.99988]]), ours)


def test_without_torch_pytorch_is_skipped_and_its_target_not_measured(digits, monkeypatch):
    why = "not installed, says the test"
    monkeypatch.setattr(contest, "without_pytorch", lambda activations: why)
    monkeypatch.setitem(PROTOCOLS, "recovered", SHALLOW)
    result, tables = bench.BenchMnist(rounds=1, seeds=SEEDS, steps=CHECKED).measure(digits)
    assert result["contestants"]["pytorch"] == {"skipped": why}
    assert not any("pytorch" in {**row, **row.get("seed_steps_per_second", {})} for row in result["rows"])
    assert result["targets"][0]["value"] is None and result["targets"][0]["met"] is None
    assert result["targets"][1]["value"] > 0
    text = shown(machine_and_versions(2) | result, tables)
    assert f"PyTorch: skipped, {why}" in text and "PyTorch: not measured" in text


@needs_torch
def test_an_activation_without_pytorch_is_skipped_by_name():
    assert contest.without_pytorch(["relu", "hexpo"]) == "not written in PyTorch here: hexpo"


def test_runs_are_whole_epochs_of_at_least_so_many_steps(digits):
    here = lineup(digits, least=500)
    assert here.steps % here.first == 0 and 500 <= here.steps < 500 + here.first


def test_a_run_sees_every_image_of_an_epoch_once(digits):
    assert np.array_equal(np.sort(lineup(digits).batches().ravel()), np.arange(64 * CHECKED))
