"""`bench sweeps --parts trainings`: eight trainings as users write them, by every way to run their trials."""

import json
import time

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.bench import forms
from experiments.bench.trainings import TRAININGS
from paramact_jax.sweeps import trial_key


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Users add a bias to a matrix without naming its axes."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.usefixtures("unoptimised")
def test_every_training_runs(training):
    few = training.of(iterations=2, trials=3)
    keys = jax.vmap(trial_key)(np.arange(few.trials))
    results = jax.jit(jax.vmap(lambda key: few.fn(key, **few.settings)))(keys)
    assert results[few.result].shape == (3,)
    for name, values in results.items():
        assert len(values) == 3
        assert np.isfinite(values).all(), name
    assert len(np.unique(np.asarray(results["w" if "w" in results else few.result]), axis=0)) == 3


@pytest.mark.parametrize(
    "names",
    [
        {"logistic": "logistic regression"},
        pytest.param({"logistic": "logistic regression", "shuffled": "shuffled minibatches"}, marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_contestants_train_the_same(names, tmp_path, capsys):
    file = tmp_path / "bench.json"
    arguments = ["--parts", "trainings", "--trainings", *names, "--small", "--rounds", "1"]
    assert main(["bench", "sweeps", *arguments, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert [row["training"] for row in result["trainings"]] == list(names.values())
    for row in result["trainings"]:
        assert row["trials"] == 8
        assert {forms.VMAP, forms.LAX_MAP, forms.DEFAULT} <= set(row["contestants"])
        assert set(row["contestants"]) | set(row["skipped"]) == {
            *(forms.VMAP, forms.LAX_MAP, forms.DEFAULT),
            *forms.FORMS,
        }
        assert row["best"] in row["contestants"]
        assert row["best"] != forms.DEFAULT
        for found in row["contestants"].values():
            assert found["same_trials"] == 1
            assert found["compile_seconds"] > 0
            assert len(found["seconds"]["rounds"]) == len(found["cpu_seconds"]["rounds"]) == 1
        seconds = {name: found["seconds"]["median"] for name, found in row["contestants"].items()}
        assert row["default_to_best"]["median"] == pytest.approx(seconds[forms.DEFAULT] / seconds[row["best"]])
    to_best, deep = result["targets"]
    assert to_best["value"] == max(row["default_to_best"]["median"] for row in result["trainings"])
    assert deep == {"target": deep["target"], "value": None, "met": None}
    shown = capsys.readouterr().out
    assert "logistic regression" in shown
    assert "not measured" in shown


def training():
    return TRAININGS["logistic regression"].small()


def test_one_that_cannot_run_is_named_below_the_table():
    def fails():
        raise RuntimeError("no such kernel\nand more")

    def good():
        begin = time.process_time()
        while time.process_time() == begin:  # on some systems this clock moves by 10 ms
            pass
        return {"loss": np.ones(8)}

    row = forms.race(training(), {forms.VMAP: good, "fused": fails, forms.DEFAULT: good}, 2, {})
    assert row["skipped"] == {"fused": "no such kernel"}
    shown = forms.table({"trainings": [row], "rounds": 2}).plain()
    assert "-: logistic regression, fused: no such kernel\n" in shown


def test_others_results_are_no_contest():
    wrong = {forms.VMAP: lambda: {"loss": np.ones(8)}, forms.DEFAULT: lambda: {"loss": np.full(8, 2)}}
    with pytest.raises(RuntimeError, match=r"expected pa\.sweep and jit\(vmap\) to train the same"):
        forms.race(training(), wrong, 1, {})


def test_targets_are_met_or_not():
    row = {
        "training": forms.DEEP,
        "default_to_best": {"median": 1.05},
        "default_to_vmap_cpu": {"median": 0.3},
    }
    assert [target["met"] for target in forms.targets([row])] == [True, False]
    slower = {"training": "another", "default_to_best": {"median": 1.5}, "default_to_vmap_cpu": None}
    for rows in ([row, slower], [slower, row]):
        assert [(target["value"], target["met"]) for target in forms.targets(rows)] == [(1.5, False), (0.3, False)]
