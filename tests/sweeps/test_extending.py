"""What is stored grows, is read while it runs, and is shared by tasks: always the bits of one call."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.sweeps import Training, long_sweep, merge, read, sweep


def train_one(key, rate, power=2, count=3):
    w = jax.random.normal(key, (2,))
    slope = jax.grad(lambda w: jnp.sum(w**power))
    return {"w": lax.fori_loop(0, 10, lambda _, w: w - rate * slope(w), w), "count": jnp.int32(count)}


AXES = {"axes": {"rate": [0.1, 0.2, 0.3]}, "static_axes": {"power": [2, 4]}}


def calls(options):
    plans = []
    return plans, {**options, "on_plan": plans.append}


@pytest.fixture(scope="module")
def whole():
    return sweep(train_one, range(6), **AXES)


def test_more_seeds_and_values_run_only_what_is_new(tmp_path, whole):
    first = sweep(train_one, range(4), axes={"rate": [0.1, 0.3]}, static_axes={"power": [4]}, directory=tmp_path)
    plans, options = calls({"directory": tmp_path, "chunk": 5})
    with pytest.raises(ValueError, match=r"differs in .*seeds: 0..3 stored, 0..5 now.*extend=True"):
        sweep(train_one, range(6), **AXES, **options)
    found = sweep(train_one, range(6), **AXES, extend=True, **options)
    assert found.identical(whole)
    assert plans[0].remaining == 36 - 8
    assert sweep(train_one, range(6), **AXES, extend=True, **options).identical(whole)
    assert len(plans) == 1
    assert read(tmp_path).identical(whole)
    assert sweep(
        train_one, range(4), axes={"rate": [0.1, 0.3]}, static_axes={"power": [4]}, directory=tmp_path
    ).identical(first)


def test_what_is_added_goes_on_where_it_was_killed(tmp_path, whole):
    def stop(progress):
        if progress.done >= 24:
            raise KeyboardInterrupt

    sweep(train_one, range(3), **AXES, directory=tmp_path)
    options = {"directory": tmp_path, "chunk": 5, "extend": True}
    with pytest.raises(KeyboardInterrupt):
        sweep(train_one, range(6), **AXES, on_progress=stop, **options)
    partly = read(tmp_path)
    assert partly.attrs["unfinished"] < 18
    there = np.isfinite(partly["w"])
    assert (partly["w"].values[there] == whole["w"].values[there]).all()
    plans, options = calls(options)
    assert sweep(train_one, range(6), **AXES, **options).identical(whole)
    assert plans[0].remaining == partly.attrs["unfinished"]


def test_points_are_added(tmp_path):
    points = [{"rate": 0.1}, {"rate": 0.2, "power": 4}, {"rate": 0.3}]
    static = {"static_argnames": "power"}
    sweep(train_one, range(3), points=points[:2], directory=tmp_path, **static)
    plans, options = calls({"directory": tmp_path, "extend": True})
    found = sweep(train_one, range(3), points=points[::-1], **options, **static)
    assert found.identical(sweep(train_one, range(3), points=points[::-1], **static))
    assert plans[0].remaining == 3


def test_conditional_points_are_added(tmp_path):
    points = [{"rate": 0.1, "shift": 4.0}, {"rate": 0.2, "shift": 5.0}]

    def train_one(key, rate, shift=0.0):
        return jax.random.normal(key, ()) * rate + shift

    sweep(train_one, range(2), points=points, directory=tmp_path)
    more = [{"rate": 0.3}, *points]
    plans, options = calls({"directory": tmp_path, "extend": True})
    assert sweep(train_one, range(2), points=more, **options).identical(sweep(train_one, range(2), points=more))
    assert plans[0].remaining == 2


REFUSED = {
    "program": ({"count": 4}, "expected other seeds, values or more iterations only, got"),
    "form": ({"fused": False}, "form: one kernel"),
    "both": ({"part": (0, 2)}, "extend: expected neither part nor keep with it, got part"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_another_sweep_is_not_extended(options, says, tmp_path):
    sweep(train_one, range(3), **AXES, count=3, directory=tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        sweep(train_one, range(6), **AXES, **({"count": 3} | options), directory=tmp_path, extend=True)
    assert "\n" not in str(caught.value)


def test_another_program_is_not_told_to_extend(tmp_path):
    sweep(jax.random.normal, range(3), directory=tmp_path)
    with pytest.raises(ValueError, match=r"differs in .*train_one") as caught:
        sweep(lambda key: 2 * jax.random.normal(key), range(4), directory=tmp_path)
    assert "extend=True" not in str(caught.value)


def training(observed=False):
    def step(state, rate):
        return {"w": state["w"] - rate * jnp.sin(3 * state["w"])}

    return Training(
        init=lambda key: {"w": jax.random.normal(key, (2,))},
        step=step,
        summarise=lambda state: {"w": state["w"], "big": (state["w"] > 0).any()},
        observe=(lambda state: {"norm": jnp.sum(state["w"] ** 2)}) if observed else None,
    )


@pytest.mark.parametrize("every", [None, 4, 10])
def test_more_iterations_go_on_from_where_the_sweep_ended(every, tmp_path):
    options = {"axes": {"rate": [0.1, 0.2]}, "observe_every": every, "iterations_per_call": 3}
    one = training(observed=every is not None)
    kept = options | {"directory": tmp_path, "extend": True}
    wanted = {(n, seeds): long_sweep(one, range(seeds), iterations=n, **options) for n, seeds in ((30, 5), (50, 7))}
    long_sweep(one, range(5), iterations=10, chunk=4, **kept)
    told = []
    assert long_sweep(one, range(5), iterations=30, on_progress=told.append, **kept).identical(wanted[30, 5])
    assert told[0].found == 10 * 10
    assert long_sweep(one, range(7), iterations=50, **kept).identical(wanted[50, 7])
    assert read(tmp_path).identical(wanted[50, 7])
    with pytest.raises(ValueError, match=r"extend: expected at least the 10 iterations .* got 7"):
        long_sweep(one, range(5), iterations=7, **kept)


def test_without_the_states_they_start_again(tmp_path):
    one, kept = training(), {"directory": tmp_path, "extend": True, "rate": 0.1}
    long_sweep(one, range(3), iterations=10, keep_states=False, **kept)
    assert not list(tmp_path.glob("final-*"))
    assert long_sweep(one, range(3), iterations=20, **kept).identical(
        long_sweep(one, range(3), iterations=20, rate=0.1)
    )


def test_what_runs_can_be_read(tmp_path):
    seen = []

    def look(progress):
        seen.append(read(tmp_path))

    options = {"iterations": 40, "observe_every": 10, "iterations_per_call": 10, "chunk": 4, "rate": 0.1}
    kept = {"directory": tmp_path, "seconds_between_saves": 0, "on_progress": look}
    whole = long_sweep(training(observed=True), range(6), **options, **kept)
    assert [found.attrs.get("unfinished") for found in seen] == [6, 6, 6, 2, 2, 2, 2, None]
    noted = seen[1]["norm"].isel(seed=slice(0, 4))
    np.testing.assert_array_equal(
        noted.sel(iteration=[0, 10, 20]), whole["norm"].sel(seed=range(4), iteration=[0, 10, 20])
    )
    assert np.isnan(noted.sel(iteration=[30, 40])).all()
    assert seen[1]["big"].dtype == float
    assert seen[-1].identical(whole)


@pytest.mark.parametrize("tasks", [1, 3, 50])
def test_tasks_together_are_one_call(tasks, tmp_path, whole):
    for task in reversed(range(tasks)):
        found = sweep(train_one, range(6), **AXES, part=(task, tasks), chunk=4, directory=tmp_path)
        assert found.attrs.get("unfinished", 0) == 36 - (36 * (task + 1) // tasks - 36 * task // tasks)
    assert merge(tmp_path).identical(whole)
    assert read(tmp_path).identical(whole)
    if tasks == 3:
        shutil.rmtree(tmp_path / "task-1-of-3")
        with pytest.raises(ValueError, match=r"finished trials in .*, got 12 that are not, of task-1-of-3"):
            merge(tmp_path)


def test_sweeps_of_other_seeds_and_values_are_merged(tmp_path, whole):
    for i, seeds in enumerate((range(3), range(3, 6))):
        sweep(train_one, seeds, **AXES, directory=tmp_path / str(i))
    assert merge(tmp_path / "0", tmp_path / "1").identical(whole)
    sweep(train_one, range(6, 9), axes={"rate": [0.1]}, static_axes={"power": [2, 4]}, directory=tmp_path / "2")
    with pytest.raises(ValueError, match="got 42 of the 54 with 2 of power, 3 of rate, 9 of seed"):
        merge(*(tmp_path / str(i) for i in range(3)))


def test_sweeps_of_other_static_values_are_merged(tmp_path, whole):
    for power in (2, 4):
        sweep(train_one, range(6), axes=AXES["axes"], static_axes={"power": [power]}, directory=tmp_path / str(power))
    assert merge(tmp_path / "2", tmp_path / "4").identical(whole)
    sweep(train_one, range(6), axes=AXES["axes"], static_axes={"power": [5]}, count=4, directory=tmp_path / "5")
    with pytest.raises(ValueError, match=r"differ in settings.count"):
        merge(tmp_path / "2", tmp_path / "5")

    def other(key, rate, power):
        return {name: x + 1 for name, x in train_one(key, rate, power).items()}

    sweep(other, range(6), axes=AXES["axes"], static_axes={"power": [2]}, directory=tmp_path / "other")
    sweep(other, [6], axes=AXES["axes"], static_axes={"power": [2]}, directory=tmp_path / "one more")
    with pytest.raises(ValueError, match=r"differ in program of train_one\[power=2\]"):
        merge(tmp_path / "2", tmp_path / "one more")


def test_a_damaged_part_is_run_again_and_not_merged(tmp_path, whole):
    for task in range(2):
        sweep(train_one, range(6), **AXES, part=(task, 2), directory=tmp_path / "tasks")
    sweep(train_one, range(4), **AXES, directory=tmp_path / "one")
    for path in (*tmp_path.glob("tasks/task-1-of-2/trials-*"), *tmp_path.glob("one/trials-*")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="left out"), pytest.raises(ValueError, match=r"got 18 .* of task-1-of-2"):
        merge(tmp_path / "tasks")
    with pytest.warns(RuntimeWarning, match="left out"):
        assert sweep(train_one, range(6), **AXES, directory=tmp_path / "one", extend=True).identical(whole)


def test_equal_points_are_told_apart(tmp_path):
    points = {"rate": [0.1, 0.2, 0.1]}
    wanted = sweep(train_one, range(2), points=points, directory=tmp_path / "one")
    for task in range(2):
        sweep(train_one, range(2), points=points, directory=tmp_path / "tasks", part=(task, 2))
    assert read(tmp_path / "one").identical(wanted)
    assert merge(tmp_path / "tasks").identical(wanted)


def test_results_lie_in_the_order_of_the_axes(tmp_path):
    def cell(key, a, b):
        return 10 * a + b

    axes = {"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0]}
    turned = dict(reversed(axes.items()))
    sweep(cell, range(2), axes=axes, directory=tmp_path)
    with pytest.raises(ValueError, match="differs in order of axes: a, b stored, b, a now"):
        sweep(cell, range(2), axes=turned, directory=tmp_path)
    found = sweep(cell, range(2), axes=turned, directory=tmp_path, extend=True, on_plan=pytest.fail)
    assert found.identical(sweep(cell, range(2), axes=turned))


def test_a_label_means_one_program(tmp_path):
    def two(b):
        return {"static_axes": {"g": {"a": jnp.sin, "b": b}}, "directory": tmp_path, "extend": True}

    def one(key, g, x=1.0):
        return g(x)

    sweep(one, [0], static_axes={"g": {"a": jnp.sin}}, directory=tmp_path)
    sweep(one, [0], **two(jnp.cos))
    with pytest.raises(ValueError, match=r"programs of .*extension-1, got another one for train_one\[g=b\]"):
        sweep(one, [0, 1], **two(jnp.tan))
    with pytest.raises(ValueError, match=r"expected the axes and settings g, got g, x"):
        sweep(one, [0], **two(jnp.cos), axes={"x": [1.0]})
    assert read(tmp_path)["result"].sizes == {"g": 2, "seed": 1}


def test_programs_of_another_form_are_added(tmp_path):
    def one(key, width):
        w = jax.random.normal(key, (width, width)) / width
        return lax.fori_loop(0, 3, lambda _, w: w - 0.1 * jnp.tanh(w @ w), w).sum()

    sweep(one, range(3), static_axes={"width": [4]}, directory=tmp_path)
    plans, options = calls({"directory": tmp_path, "extend": True})
    found = sweep(one, range(3), static_axes={"width": [4, 70]}, **options)
    assert found.identical(sweep(one, range(3), static_axes={"width": [4, 70]}))
    assert found.attrs["form"] == "one kernel, trials last, blocks of 64; a trial at a time"
    assert plans[0].remaining == 3


def test_what_is_no_sweep_is_not_read(tmp_path):
    with pytest.raises(ValueError, match="directory: expected one of a sweep"):
        read(tmp_path / "nothing")
    sweep(train_one, range(2), rate=0.1, part=(0, 2), directory=tmp_path)
    with pytest.raises(ValueError, match=r"holds task-0-of-2, a part of a sweep; read all parts with sweeps.merge"):
        sweep(train_one, range(2), rate=0.1, directory=tmp_path)
    with pytest.raises(ValueError, match=r"part: expected tasks of one sweep, got .* which differs in settings.rate"):
        sweep(train_one, range(2), rate=0.2, part=(1, 2), directory=tmp_path)
    with pytest.raises(ValueError, match="which differs in the number of tasks"):
        sweep(train_one, range(2), rate=0.1, part=(1, 3), directory=tmp_path)
    sweep(train_one, range(2), rate=0.2, part=(1, 2), directory=tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "task-1-of-2", tmp_path / "task-1-of-2")
    with pytest.raises(ValueError, match=r"expected tasks of one sweep, got .* which differ in settings.rate"):
        merge(tmp_path)
    for part in ((2, 2), (0, 0), 3, "ab", (0.5, 2)):
        with pytest.raises(ValueError, match=r"part: expected \(task, tasks\)"):
            sweep(train_one, range(2), rate=0.1, part=part)
