"""What a long sweep tells as it observes it, and files of that."""

import dataclasses
import json
import subprocess
from shutil import which

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from paramact_jax.sweeps import Observed, Training, long_sweep, to_csv, to_jsonl

READ = {
    "csv": (to_csv, pd.read_csv),
    "jsonl": (to_jsonl, lambda path: pd.read_json(path, lines=True, precise_float=True)),
}
TRAINING = Training(
    init=lambda key: {"x": jax.random.uniform(key, (2,))},
    step=lambda state, rate, kind: {"x": rate * state["x"] * (1 - state["x"])},
    summarise=lambda state: {"end": state["x"]},
    observe=lambda state: {"x": state["x"], "sum": state["x"].sum(), "half": jnp.bfloat16(0.5)},
)
AXES = {"rate": [3.7, 4.5], "kind": ["a", 'b,"']}


def run(**options):
    return long_sweep(TRAINING, range(5, 8), iterations=30, axes=AXES, observe_every=8, **options)


def check(seen, results):
    """Each mark of every trial once, with the values of the dataset."""
    marks = [(one.iteration, *trial) for one in seen for trial in zip(*one.trials.values(), strict=True)]
    assert len(marks) == len(set(marks)) == 12 * len(results["iteration"])
    for one in seen:
        places = {name: xr.DataArray(x, dims="trial") for name, x in one.trials.items()}
        wanted = results.sel(places).sel(iteration=one.iteration)
        for name, x in one.values.items():
            np.testing.assert_array_equal(x, wanted[name].values)


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"iterations_per_call": 3}], ids=str)
def test_every_observation_is_told_once(options):
    seen = []
    results = run(on_observed=seen.append, **options)
    assert {one.iteration for one in seen} == {0, 8, 16, 24, 30}
    check(seen, results)
    assert seen[0].trials["seed"].dtype == np.int64
    assert seen[0].values["half"].dtype == np.float32


def test_what_stopped_is_told_to_the_end():
    training = dataclasses.replace(TRAINING, stop=lambda state: True)
    seen = []
    options = {"axes": AXES, "observe_every": 8, "stop_every": 4, "iterations": 30}
    results = long_sweep(training, range(5, 8), on_observed=seen.append, **options)
    assert [one.iteration for one in seen] == [0, 8, 16, 24, 30]
    check(seen, results)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("calls", [1, 3, 6])
def test_a_file_of_a_sweep_that_goes_on_has_every_row_once(kind, calls, tmp_path):
    """It ends within an observation after the last saved state, and again in half a line."""
    make, read = READ[kind]
    file, left = tmp_path / "seen", [calls]

    def stop(progress):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    options = {"directory": tmp_path / "kept", "chunk": 6, "iterations_per_call": 5}
    with pytest.raises(KeyboardInterrupt):
        run(on_observed=make(file), on_progress=stop, seconds_between_saves=0 if calls == 3 else 1e9, **options)
    with file.open("a") as half:
        half.write('3.7,a,5,"' if kind == "csv" else '{"rate": 3.7, "k')
    results = run(on_observed=make(file), **options)
    table = read(file)
    assert not table.duplicated(["rate", "kind", "seed", "iteration"]).any()
    assert len(table) == 12 * 5
    row = table.set_index(["rate", "kind", "seed", "iteration"]).loc[(3.7, 'b,"', 7, 8)]
    x = results["x"].sel(rate=3.7, kind='b,"', seed=7, iteration=8).values
    found = [row["x.0"], row["x.1"]] if kind == "csv" else row["x"]
    np.testing.assert_array_equal(np.array(found, np.float32), x)
    assert np.isinf(table["sum"]).any()
    run(on_observed=make(file), directory=options["directory"], chunk=6)  # all is stored: nothing is told
    pd.testing.assert_frame_equal(read(file), table)


@pytest.mark.parametrize("kind", READ)
def test_another_run_of_the_same_trials_takes_the_place_of_the_first(kind, tmp_path):
    make, read = READ[kind]
    file = tmp_path / "seen"
    write = make(file)
    trials = {"seed": np.arange(2)}
    for iteration in (0, 5, 10):
        write(Observed(iteration, trials, {"loss": np.array([0.1, np.nan])}))
    write(Observed(5, {"seed": np.array([1])}, {"loss": np.array([7.0])}))
    write(Observed(6, {"seed": np.array([1])}, {"loss": np.array([-np.inf])}))
    assert read(file)["loss"].tolist()[-2:] == [7.0, -np.inf]
    found = read(file)
    assert found[found["seed"] == 1]["iteration"].tolist() == [0, 5, 6]
    assert found[found["seed"] == 0]["iteration"].tolist() == [0, 5, 10]
    with pytest.raises(ValueError, match=r"expected a file with seed, iteration, other, got another one") as caught:
        make(file)(Observed(0, trials, {"other": np.zeros(2)}))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(which("jq") is None, reason="needs jq")
def test_lines_are_json_for_others_too(tmp_path):
    to_jsonl(tmp_path / "seen")(
        Observed(0, {"seed": np.arange(3)}, {"loss": np.array([np.nan, np.inf, 1e-30]), "good": np.array([True] * 3)})
    )
    said = subprocess.run(
        ["jq", "-c", ".loss"], input=(tmp_path / "seen").read_bytes(), capture_output=True, check=True
    )
    assert [json.loads(line) for line in said.stdout.split()] == [None, "Infinity", 1e-30]


def test_columns_of_one_name_are_refused(tmp_path):
    seen = Observed(0, {"seed": np.arange(2)}, {"w": np.zeros((2, 1)), "w.0": np.zeros(2)})
    with pytest.raises(ValueError, match=r"got 'w\.0' twice"):
        to_csv(tmp_path / "seen")(seen)


def test_an_error_ends_the_sweep_and_what_was_saved_stays(tmp_path):
    def fail(seen):
        if seen.iteration == 16:
            raise RuntimeError("no more")

    options = {"directory": tmp_path, "seconds_between_saves": 0}
    with pytest.raises(RuntimeError, match="no more"):
        run(on_observed=fail, **options)
    told, seen = [], []
    assert run(on_progress=told.append, on_observed=seen.append, **options).equals(run())
    assert told[0].found > 0
    assert [one.iteration for one in seen] == [16, 24, 30]


@pytest.mark.parametrize(
    ("training", "options", "says"),
    [
        (
            dataclasses.replace(TRAINING, observe=None),
            {"on_observed": print},
            "a training without `observe`",
        ),
        (TRAINING, {"on_observed": 3, "observe_every": 2}, "on_observed: expected a function, .* got 3; leave it out"),
    ],
    ids=["nothing observed", "no function"],
)
def test_what_cannot_be_told_is_refused(training, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        long_sweep(training, range(3), iterations=4, axes=AXES, **options)
    assert "\n" not in str(caught.value)
