"""The ablation trains what its conditions say, and its report says what the records say."""

import dataclasses
import functools

import numpy as np
import pytest
import xarray as xr

from experiments.__main__ import main
from experiments.problems.digits import images_of
from experiments.problems.mnist.protocol import PROTOCOLS as MNIST_PROTOCOLS
from experiments.problems.xor10 import train as xor10
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10_PROTOCOLS
from experiments.studies.ablation import (
    BASES,
    CONDITIONS,
    EFFECTS,
    POINTS,
    AblationMnist,
    AblationXor10,
    answers,
    mnist_training,
    xor10_training,
)
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.datasets import Digits
from paramact_jax.statistics import mcnemar_p_value
from paramact_jax.sweeps import long_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")

DEPTH = 3
BY_NAME = dict(zip(CONDITIONS, POINTS, strict=True))


@pytest.fixture(scope="module", autouse=True)
def shallow():
    """Trains networks of fewer layers: their programs are smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xor10, "training", functools.partial(xor10.training, depth=DEPTH))
        patch.setitem(MNIST_PROTOCOLS, "recovered", dataclasses.replace(MNIST_PROTOCOLS["recovered"], depth=DEPTH))
        yield


def test_the_plain_functions_are_what_the_parametric_ones_are_made_of():
    y = np.linspace(-3, 3, 11)[np.linspace(-3, 3, 11) != 0].astype(np.float32)
    for base, plain in BASES.items():
        np.testing.assert_allclose(catalogue.get(base)(y, a=1.0, b=0.0), catalogue.get(plain)(y), rtol=1e-6)


def test_effects_are_between_conditions_that_differ_in_what_is_asked():
    changed = {
        effect.question: [k for k, x in BY_NAME[effect.first].items() if x != BY_NAME[effect.second][k]]
        for effect in EFFECTS
    }
    assert changed["learning, given the gain"] == ["learned"]
    assert changed["gain, given the learning"] == ["unit"]
    assert changed["initial gain alone"] == ["plain"]


def assert_learned(found, starts, names):
    """What a and b are at the end at each point, of functions that start with these a."""
    for base, start in starts.items():
        for i, point in enumerate(POINTS):
            a, b = (found[name].sel(base=base).isel(point=i).values for name in names)
            assert np.isnan(a).all() == point["plain"]
            if not point["plain"]:
                begun = np.float32(1 if point["unit"] else start)
                assert ((a != begun) | (b != 0)).any() == point["learned"]
                np.testing.assert_allclose(a, begun, rtol=0.1)


def test_what_is_learned_on_xor10():
    protocol = XOR10_PROTOCOLS["recovered"]
    found = long_sweep(
        xor10_training,
        range(3),
        iterations=10,
        static_axes={"base": list(BASES)},
        points=POINTS,
        static_argnames="plain",
        settings=xor10.settings_of(protocol),
        std={"weight": float(protocol.weight_std), "bias": 0.0},
    )
    names = [f"learned.hidden.{DEPTH - 1}.activation.{name}" for name in "ab"]
    assert_learned(found, {"ppns": 6.0, "parametric_tanh": 1.5, "parametric_relu": 1.5}, names)


def test_what_is_learned_on_mnist():
    """Of images of another size and fewer classes too."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(size=(120, 9)).astype(np.float32), np.arange(120, dtype=np.int32) % 3
    digits = Digits(images[:100], labels[:100], images[100:], labels[100:], "by hand", True)
    protocol = dataclasses.replace(MNIST_PROTOCOLS["recovered"], steps=3)
    found = long_sweep(
        functools.partial(mnist_training, protocol=protocol, digits=digits),
        [0],
        iterations=3,
        static_axes={"base": ["parametric_tanh"]},
        points=POINTS,
        static_argnames=("plain", "unit"),
        block=1,
        learning_rate=0.01,
        data=images_of(digits),
    )
    assert_learned(found, {"parametric_tanh": 1.5}, ["learned.a", "learned.b"])


def hand_made(converged):
    """Records in which the given share of 10 seeds converges: by base a list of the four conditions' counts."""
    outcome = np.array([[np.arange(10) < count for count in counts] for counts in converged])
    dims = ("base", "condition", "seed")
    return xr.Dataset(
        {"converged": (dims, outcome), "reached_at": (dims, np.where(outcome, 5, -1))},
        coords={"base": list(BASES), "condition": list(CONDITIONS), "seed": range(10)},
        attrs={"problem": "xor10", "threshold": 1e-3},
    )


def tables(study, records, **config):
    config = {"protocol": "recovered", "steps": 10_000} | config
    return report.Report(study, Run(None, records, {"config": config})).tables


def by_question(values):
    return {(answer.base, answer.effect.question): answer for answer in answers(values)}


def test_verdicts_of_counts():
    records = hand_made([[10, 10, 0, 0], [0, 0, 0, 10], [5, 5, 5, 5]])
    (outcome,) = AblationXor10.outcomes(records).values()
    found = by_question(outcome)
    gain = found["ppns", "initial gain alone"]
    assert gain.comparison.discordant == (10, 0)
    assert gain.comparison.p_value == pytest.approx(mcnemar_p_value(10, 0))
    assert gain.verdict == "helps"
    assert found["ppns", "learning alone"].verdict == "not told apart"
    assert found["parametric_tanh", "all of it"].verdict == "harms"
    assert found["parametric_relu", "all of it"].comparison.difference == 0
    assert all(answer.p_value_holm >= answer.comparison.p_value for answer in found.values())
    conditions, effects = tables(AblationXor10, records).values()
    assert conditions.rows[0] == ["PPNS", "gain, learned", 1.0, pytest.approx((0.7225, 1), abs=1e-4), 0.744, 0]
    assert "PPNS gain, learned 1000 722.5 to 1000.0 744 0" in " ".join(conditions.plain().split())
    assert [row[4] for row in conditions.rows[:8]] == [0.744, None, None, None, 0.7, None, None, 0.628]
    assert len(effects.rows) == 15
    assert "not finite" not in effects.note


def losses(values):
    """MNIST records with test losses by base and condition: constant over the steps, the seeds about 0.001 apart."""
    steps = [0, 200, 400, 600, 1000]
    random = np.random.default_rng(0)
    found = np.array(
        [[value + 1e-3 * random.normal(size=(4, 1)) + np.zeros(len(steps)) for value in row] for row in values]
    )
    return xr.Dataset(
        {"test_loss": (("base", "condition", "seed", "test_step"), found)},
        coords={"base": list(BASES), "condition": list(CONDITIONS), "seed": range(4), "test_step": steps},
        attrs={"problem": "mnist", "synthetic": 0, "source": "by hand"},
    )


def test_verdicts_of_losses_where_lower_is_better():
    records = losses([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.1]])
    outcomes = AblationMnist.outcomes(records)
    assert list(outcomes) == ["test loss after the last step", "mean test loss over steps 0 to 650"]
    for values in outcomes.values():
        found = by_question(values)
        assert found["ppns", "all of it"].comparison.difference == pytest.approx(-0.3, abs=0.005)
        assert found["ppns", "all of it"].verdict == "helps"
        assert found["parametric_relu", "all of it"].verdict == "not told apart"
    assert len(tables(AblationMnist, records)) == 4


def test_the_early_loss_is_the_area_below_the_curve():
    records = losses([[0.0] * 4] * 3)
    records["test_loss"][:] = xr.DataArray([4.0, 1.0, 1.0, 1.0, 9.0], dims="test_step")
    _, early = AblationMnist.outcomes(records).values()
    at_650 = 1 + 8 * 50 / 400
    np.testing.assert_allclose(early, (200 * 2.5 + 400 * 1 + 50 * (1 + at_650) / 2) / 650)


def test_an_early_loss_that_was_hardly_scored_is_left_out():
    records = losses([[0.1, 0.2, 0.3, 0.4]] * 3)
    assert len(AblationMnist.outcomes(records)) == 2
    assert len(AblationMnist.outcomes(records.isel(test_step=[0, 2, 3, 4]))) == 2
    assert len(AblationMnist.outcomes(records.isel(test_step=[0, 3, 4]))) == 1
    assert len(AblationMnist.outcomes(records.isel(test_step=[0, 4]))) == 1


def test_seeds_that_are_not_finite_are_left_out_and_counted():
    records = losses([[0.1, 0.2, 0.3, 0.4]] * 3)
    records["test_loss"][0, 0, 1, -1] = np.nan
    (at_end, _) = AblationMnist.outcomes(records).values()
    found = by_question(at_end)
    assert found["ppns", "all of it"].comparison.pairs == 3
    assert found["ppns", "learning alone"].comparison.pairs == 4
    conditions, effects = list(tables(AblationMnist, records).values())[:2]
    assert [row[-1] for row in conditions.rows[:2]] == [1, 0]
    assert conditions.rows[0][2] == pytest.approx(0.1, abs=0.005)
    assert [row[3] for row in effects.rows[:3]] == [3, 4, 4]
    assert "Of 4 seeds, those not finite" in effects.note


def test_nothing_published_beside_other_conditions():
    own = hand_made([[1, 1, 1, 1]] * 3)
    for other in ({"protocol": "literal"}, {"steps": 50}):
        assert {row[4] for row in tables(AblationXor10, own, **other)["conditions_1"].rows} == {None}


@pytest.fixture(scope="module")
def small(tmp_path_factory, shallow):
    out = tmp_path_factory.mktemp("runs") / "xor10"
    assert main(["ablation", "xor10", "--trials", "20", "--iterations", "30", "--out", str(out)]) == 0
    return run_directory.read(out)


def test_a_run_on_xor10_and_its_summary(small):
    assert dict(small.records.sizes) == {"base": 3, "condition": 4, "seed": 20}
    found = report.Report(AblationXor10, small).summary()
    name = "trials that converge"
    assert len(found["outcomes"][name]) == 15
    assert found["outcomes"][name][1]["effect"]["question"] == "initial gain alone"
    share = float(small.records["converged"].sel(base="ppns", condition="gain, learned").mean())
    assert found["means"][name]["ppns"]["gain, learned"] == share


def test_smooth_functions_started_at_unit_gain_and_frozen_are_the_plain_ones(small):
    """The first update changes nothing else: gain 1 frozen is no condition, since it is the plain function."""
    protocol = dataclasses.replace(XOR10_PROTOCOLS["recovered"], seeds=20, steps=30, depth=DEPTH)
    frozen = dataclasses.replace(
        protocol, activations=("parametric_tanh",), initial_a=1.0, activation_learning_rate=0.0
    )
    (result,) = xor10.train(frozen).values()
    plain = small.records["final_loss"].sel(base="parametric_tanh", condition="plain")
    np.testing.assert_allclose(result.loss, plain, rtol=1e-3)


def test_a_run_on_mnist(tmp_path):
    out = tmp_path / "run"
    short = ["--data", "synthetic", "--seeds", "2", "--test-every", "3", "--steps", "6"]
    assert main(["ablation", "mnist", *short, "--functions", "parametric_tanh", "--out", str(out)]) == 0
    records = run_directory.read(out).records
    assert dict(records.sizes) == {"base": 1, "condition": 4, "seed": 2, "test_step": 3}
    assert np.isfinite(records["test_loss"]).all()
    assert "NOT MNIST" in (out / "report.md").read_text()
