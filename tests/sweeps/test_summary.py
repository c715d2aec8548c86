"""Statistics over trials, and tidy frames, against values made by hand and other ways to compute them."""

import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from jax.experimental import checkify
from scipy import stats

from paramact_jax.statistics import bootstrap_interval, paired_comparison, wilson_interval
from paramact_jax.sweeps import Training, long_sweep, summary, sweep, to_dataframe

NAN, INF = np.nan, np.inf


def dataset(**variables):
    """Variables of these values with the dims rate, seed and their own."""
    data = {}
    for name, values in {name: np.asarray(given) for name, given in variables.items()}.items():
        data[name] = (("rate", "seed", *(f"{name}_dim_{i}" for i in range(values.ndim - 2))), values)
    shape = next(iter(data.values()))[1].shape
    return xr.Dataset(data, {"rate": 0.1 * (1 + np.arange(shape[0])), "seed": range(shape[1])}, {"form": "batched"})


def of(found, name="loss"):
    """The statistics of a variable by their names."""
    return {str(key): found[name].sel(statistic=key).values for key in found["statistic"].values}


# summary


def test_statistics_of_numbers_by_hand():
    found = of(summary(dataset(loss=[[1.0, 2.0, 6.0]])))
    assert list(found) == ["mean", "std", "median", "low", "high"]
    assert found["mean"].tolist() == [3.0]
    assert found["std"] ** 2 == pytest.approx(7.0)  # (4 + 1 + 9) / 2
    assert found["median"].tolist() == [2.0]
    half = 4.302652729911275 * np.sqrt(7 / 3)  # t of 2 degrees of freedom at 0.975, from a table
    assert found["low"] == pytest.approx(3 - half)
    assert found["high"] == pytest.approx(3 + half)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_of_numbers_is_that_of_the_paired_test_against_0(confidence):
    values = np.random.default_rng(0).normal(size=(3, 12))
    found = of(summary(dataset(loss=values), confidence=confidence))
    for i, row in enumerate(values):
        theirs = paired_comparison(row, np.zeros(12), range(12), range(12), confidence=confidence).interval
        assert (found["low"][i], found["high"][i]) == pytest.approx(theirs, rel=1e-12)


def test_the_interval_of_many_trials_is_nearly_the_bootstrap():
    values = np.random.default_rng(1).normal(3, 1, size=(1, 400))
    found = of(summary(dataset(loss=values)))
    low, high = bootstrap_interval(values[0])
    assert (found["low"][0], found["high"][0]) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_the_interval_of_few_trials_covers_the_mean_as_often_as_it_says():
    values = np.random.default_rng(2).normal(size=(4_000, 4))
    found = of(summary(dataset(loss=values), confidence=0.9))
    covered = int(((found["low"] <= 0) & (found["high"] >= 0)).sum())
    assert stats.binomtest(covered, 4_000, 0.9).pvalue > 1e-4


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_booleans_have_wilsons_interval(confidence):
    converged = np.arange(10) < np.arange(11)[:, None]  # 0 to 10 of 10
    results = summary(dataset(converged=converged), confidence=confidence)
    found = of(results, "converged")
    np.testing.assert_array_equal(found["mean"], np.arange(11) / 10)
    for k in range(11):
        assert (found["low"][k], found["high"][k]) == wilson_interval(k, 10, confidence)
    assert results["converged_trials"].values.tolist() == [10] * 11
    assert results["converged_failed"].values.tolist() == [0] * 11
    assert results.attrs == {"form": "batched", "confidence": confidence}


def test_trials_that_failed_are_left_out_and_counted():
    whole = summary(dataset(loss=[[5.0, 1.0, 3.0, 4.0]] * 2))
    values = [[5.0, NAN, 1.0, INF, 3.0, -INF, 4.0], [NAN, NAN, NAN, 5.0, 1.0, 3.0, 4.0]]
    found = summary(dataset(loss=values))
    np.testing.assert_allclose(found["loss"], whole["loss"], rtol=1e-15)
    assert found["loss_trials"].values.tolist() == [4, 4]
    assert found["loss_failed"].values.tolist() == [3, 3]
    assert found["loss_failed"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("values", "mean", "trials"),
    [([NAN, INF, NAN], NAN, 0), ([NAN, 2.0, NAN], 2.0, 1)],
    ids=["all failed", "one did not"],
)
def test_what_is_not_known_is_nan(values, mean, trials):
    results = summary(dataset(loss=[values]))
    found = of(results)
    assert results["loss_trials"].item() == trials
    np.testing.assert_array_equal([found["mean"][0], found["median"][0]], [mean, mean])
    assert np.isnan([found["std"], found["low"], found["high"]]).all()


@pytest.mark.parametrize("value", [0.1, -3.3e200, 7.7e-300])
def test_equal_values_give_that_value_and_no_width(value):
    found = of(summary(dataset(loss=[[value] * 13 + [NAN]])))  # sum / 13 is rounded
    assert [found[name].item() for name in ("mean", "median", "low", "high", "std")] == [value] * 4 + [0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint32])
def test_small_dtypes_neither_overflow_nor_round(dtype):
    values = np.full((1, 3_000), 100, dtype)
    values[0, ::2] = 101
    found = of(summary(dataset(loss=values)))
    assert (found["mean"].item(), found["median"].item()) == (100.5, 100.5)
    assert found["std"] == pytest.approx(0.5 * np.sqrt(3_000 / 2_999))


def test_statistics_agree_with_numpy_where_trials_fail_at_random():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(5, 40, 3))
    values[rng.random(values.shape) < 0.3] = NAN
    results = summary(dataset(w=values))
    assert results["w"].dims == ("rate", "w_dim_0", "statistic")
    found = of(results, "w")
    np.testing.assert_allclose(found["mean"], np.nanmean(values, axis=1))
    np.testing.assert_allclose(found["std"], np.nanstd(values, axis=1, ddof=1))
    np.testing.assert_allclose(found["median"], np.nanmedian(values, axis=1))
    np.testing.assert_array_equal(results["w_trials"], np.isfinite(values).sum(axis=1))


def test_over_several_dims_each_variable_loses_those_it_has():
    results = dataset(loss=[[1.0, 2.0], [3.0, 6.0]])
    results = results.assign(note=("rate", [7, 8]), early=(("iteration", "seed"), [[1.0, 2.0]]), bound=("bins", [9]))
    found = summary(results, over=["rate", "seed"])
    assert found["loss"].dims == found["note"].dims == ("statistic",)
    assert of(found)["mean"] == 3.0
    assert found["loss_trials"] == 4
    assert found["early"].dims == ("iteration", "statistic")
    assert found["bound"].identical(results["bound"])
    assert set(found.coords) == {"statistic"}


def test_points_stay_labelled_by_their_settings():
    results = xr.Dataset(
        {"loss": (("point", "seed"), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])},
        {"rate": ("point", [0.1, 0.2, 0.3]), "momentum": ("point", [0.9, 0.0, 0.5]), "seed": [4, 5]},
    )
    frame = to_dataframe(summary(results))
    assert frame.columns.tolist()[:4] == ["point", "rate", "momentum", "loss[mean]"]
    assert frame["loss[mean]"].tolist() == [1.5, 3.5, 5.5]
    assert frame["momentum"].tolist() == [0.9, 0.0, 0.5]
    over_points = summary(results, over="point")
    assert over_points["loss"].dims == ("seed", "statistic")
    assert set(over_points.coords) == {"seed", "statistic"}


def test_a_large_sweep_takes_a_second():
    results = dataset(**{name: np.random.default_rng(0).normal(size=(100, 1_000)) for name in "abcd"})
    summary(results)
    began = time.process_time()
    summary(results)
    assert time.process_time() - began < 1  # 0.05 s, where a bootstrap of 9,999 resamples takes minutes


LOSS = dataset(loss=[[1.0, 2.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summary(LOSS, over="seeds"), "expected over to be dims with trials (rate, seed), got 'seeds'"),
        (lambda: summary(LOSS, over=("seed", "point")), "got ('seed', 'point')"),
        (lambda: summary(LOSS, over=[]), "got []"),
        (lambda: summary(LOSS.isel(seed=[])), "expected over to be dims with trials (rate), got 'seed'"),
        (lambda: summary(LOSS, confidence=95), "expected a confidence within (0, 1), got 95"),
        (lambda: summary(LOSS["loss"]), 'expected a dataset, got DataArray; for one variable pass results[["loss"]]'),
        (lambda: summary(summary(LOSS), over="rate"), "expected results without 'statistic'"),
        (lambda: summary(dataset(loss=[[1j, 2]])), "loss: expected real numbers or booleans, got complex128; drop it"),
        (lambda: summary(dataset(loss=[["a", "b"]])), "loss: expected real numbers or booleans, got <U1"),
        (lambda: summary(LOSS.assign(loss_failed=LOSS["loss"])), "summary: loss_failed: expected a name"),
        (lambda: to_dataframe({"loss": [1]}), "to_dataframe: expected a dataset, got dict"),
        (lambda: to_dataframe(LOSS, units={"los": "m"}), "units: expected names among rate, seed, loss, got 'los'"),
        (lambda: to_dataframe(LOSS, labels={"x": "y"}), "labels: expected names among rate, seed, loss, got 'x'"),
        (lambda: to_dataframe(LOSS, labels={"loss": "seed"}), "expected different titles, got 'seed' twice"),
    ],
)
def test_refusals_are_one_line(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# to_dataframe


def test_a_row_for_each_trial():
    results = dataset(loss=np.float32([[1, 2], [3, 4]]), converged=[[True, False], [False, True]])
    results = results.assign(steps=("seed", np.int32([5, 6])))
    expected = pd.DataFrame(
        {
            "rate": [0.1, 0.1, 0.2, 0.2],
            "seed": [0, 1, 0, 1],
            "loss": np.float32([1, 2, 3, 4]),
            "converged": [True, False, False, True],
            "steps": np.int32([5, 6, 5, 6]),
        }
    )
    pd.testing.assert_frame_equal(to_dataframe(results), expected)


def test_a_row_for_each_trial_and_iteration():
    def init(key, x):
        return x * 1.0

    training = Training(
        init, lambda state, x: state + x, lambda state: {"end": state}, observe=lambda state: {"loss": state}
    )
    results = long_sweep(training, [3, 4], iterations=4, axes={"x": [1.0, 10.0]}, observe_every=2)
    frame = to_dataframe(results)
    assert set(frame.columns) == {"x", "seed", "iteration", "end", "loss"}
    assert sorted(set(frame["iteration"])) == [0, 2, 4]
    assert len(frame) == 2 * 2 * 3
    np.testing.assert_array_equal(frame["loss"], frame["x"] * (1 + frame["iteration"]))
    np.testing.assert_array_equal(frame["end"], frame["x"] * 5)
    assert len(to_dataframe(results[["end"]])) == 4
    np.testing.assert_array_equal(
        frame.groupby(["x", "seed", "iteration"])["loss"].first(), results["loss"].values.ravel()
    )


def test_own_axes_become_columns_until_they_are_named():
    results = dataset(w=np.arange(6.0).reshape(1, 2, 3), m=np.arange(8).reshape(1, 2, 2, 2))
    frame = to_dataframe(results)
    assert len(frame) == 2
    titles = ["w[0]", "w[1]", "w[2]", "m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]"]
    assert frame.columns.tolist() == ["rate", "seed", *titles]
    np.testing.assert_array_equal(frame[titles], [[0, 1, 2, 0, 1, 2, 3], [3, 4, 5, 4, 5, 6, 7]])
    named = results[["w"]].rename(w_dim_0="layer").assign_coords(layer=[1, 2, 3])
    frame = to_dataframe(named)
    assert frame.columns.tolist() == ["rate", "seed", "layer", "w"]
    assert frame["w"].tolist() == [0, 1, 2, 3, 4, 5]
    assert frame["layer"].tolist() == [1, 2, 3] * 2
    assert to_dataframe(summary(results[["w"]]))["w[2, mean]"].tolist() == [3.5]


def test_coordinates_that_are_no_dims_become_columns():
    results = xr.Dataset(
        {"loss": (("point", "seed"), [[1, 2], [3, 4]])},
        {"rate": ("point", [0.1, 0.2]), "name": ("point", ["relu", "ppns"]), "seed": [8, 9], "width": 32},
    )
    frame = to_dataframe(results)
    assert frame.columns.tolist() == ["point", "seed", "rate", "name", "width", "loss"]
    assert frame.values.tolist() == [
        [0, 8, 0.1, "relu", 32, 1],
        [0, 9, 0.1, "relu", 32, 2],
        [1, 8, 0.2, "ppns", 32, 3],
        [1, 9, 0.2, "ppns", 32, 4],
    ]


@pytest.mark.parametrize("dims", [("rate", "seed"), ("seed", "rate")])
def test_rows_agree_with_the_dataset_in_any_order_of_dims(dims):
    results = dataset(loss=[[1, 2, 3], [4, 5, 6]]).transpose(*dims)
    results["other"] = 10 * results["loss"].transpose()
    for row in to_dataframe(results).itertuples():
        assert row.loss == results["loss"].sel(rate=row.rate, seed=row.seed)
        assert row.other == 10 * row.loss


def test_one_trial_is_one_row():
    assert to_dataframe(dataset(loss=[[1.0, 2.0]]).isel(rate=0, seed=1)).to_dict("records") == [
        {"rate": 0.1, "seed": 1, "loss": 2.0}
    ]


def test_titles_with_units_and_labels():
    results = dataset(loss=[[1.0, 2.0]], w=[[[1.0], [2.0]]])
    results["loss"].attrs = {"units": "nats", "long_name": "test loss"}
    results["rate"].attrs["units"] = "1/step"
    titles = {
        "names": to_dataframe(results),
        "attributes": to_dataframe(results, units=True, labels=True),
        "passed": to_dataframe(results, units={"loss": "bits", "w": "m"}, labels={"rate": "learning rate"}),
    }
    assert {key: frame.columns.tolist() for key, frame in titles.items()} == {
        "names": ["rate", "seed", "loss", "w[0]"],
        "attributes": ["rate [1/step]", "seed", "test loss [nats]", "w[0]"],
        "passed": ["learning rate [1/step]", "seed", "test loss [bits]", "w[0] [m]"],
    }
    of_summary = to_dataframe(summary(results[["loss"]]), units=True).columns.tolist()
    assert of_summary[:2] == ["rate [1/step]", "loss[mean] [nats]"]
    assert of_summary[-2:] == ["loss_trials", "loss_failed"]


def test_a_sweep_becomes_a_frame_that_groups_by_its_settings():
    results = sweep(lambda key, x, f: {"y": x * len(f)}, range(3), axes={"x": [1.0, 2.0], "f": ["relu", "ppns", "elu"]})
    means = to_dataframe(results).groupby(["f", "x"])["y"].agg(["mean", "size"])
    assert means.loc[("elu", 2.0)].tolist() == [6.0, 3]
    assert len(means) == 6


def test_what_failed_by_a_check_or_is_lacking_does_not_count():
    def one(key, x, kind):
        checkify.check(x < 3, "too large")
        return {"y": x, "on": x > 1, **({"only": x} if kind == "a" else {})}

    results = sweep(one, range(2), axes={"x": [1.0, 2.0, 3.0]}, static_axes={"kind": ["a", "b"]})
    found = summary(results, over=("x", "seed"))
    assert found["y"].sel(kind="a", statistic="mean") == 1.5
    assert found["on"].sel(kind="a", statistic="mean") == 0.5
    assert found["y_failed"].values.tolist() == found["on_failed"].values.tolist() == [2, 2]
    assert found["only_failed"].values.tolist() == [2, 0]
    assert found["only_trials"].values.tolist() == [4, 0]
