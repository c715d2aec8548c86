import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.sweeps import sweep, trial_key


def ridge(key, learning_rate, penalty):
    """A user's own training: linear regression on data of its own, by gradient descent."""
    data_key, noise_key = jax.random.split(key)
    x = jax.random.normal(data_key, (20, 3))
    y = x @ jnp.array([1.0, -2.0, 0.5]) + 0.01 * jax.random.normal(noise_key, (20,))
    loss = lambda w: jnp.mean((x @ w - y) ** 2) + penalty * jnp.sum(w**2)  # noqa: E731
    w = jax.lax.fori_loop(0, 200, lambda _, w: w - learning_rate * jax.grad(loss)(w), jnp.zeros(3))
    return {"w": w, "loss": loss(w)}


def test_a_users_function_over_seeds():
    seeds = [5, 3, 1000, 4_000_000_000]
    results = sweep(ridge, seeds, learning_rate=0.1, penalty=0.0)
    assert results["w"].shape == (4, 3)
    for i, seed in enumerate(seeds):
        alone = ridge(trial_key(seed), 0.1, 0.0)
        np.testing.assert_allclose(results["w"][i], alone["w"], rtol=1e-4)
    np.testing.assert_allclose(results["w"], np.tile([1.0, -2.0, 0.5], (4, 1)), atol=0.05)


def test_same_seed_same_trial_in_any_company():
    everyone = sweep(ridge, range(200), learning_rate=0.1, penalty=0.0)
    for seeds in ([17], [199, 17, 3]):
        some = sweep(ridge, seeds, learning_rate=0.1, penalty=0.0)
        assert some.identical(everyone.sel(seed=seeds))


def test_settings_are_traced(compiled):
    def train_one(key, scale):
        return scale * jax.random.normal(key)

    results = [sweep(train_one, range(1000), scale=1.0)["result"]]
    assert compiled() > 0
    results += [sweep(train_one, range(1000), scale=scale)["result"] for scale in (2.0, np.float32(4.0))]
    assert compiled() == 0
    np.testing.assert_allclose(results[1], 2 * results[0])
    np.testing.assert_allclose(results[2], 4 * results[0])


def test_values_of_axes_are_traced(compiled):
    def train_one(key, scale, offset):
        return scale * jax.random.normal(key) + offset

    first = sweep(train_one, range(10), axes={"scale": [1.0, 2.0], "offset": [0, 1, 2]})["result"]
    assert compiled() > 0
    second = sweep(train_one, range(10), axes={"scale": np.array([4.0, 2.0]), "offset": (5, 6, 7)})["result"]
    assert compiled() == 0
    np.testing.assert_allclose(second.sel(scale=4.0, offset=5) - 5, 4 * first.sel(scale=1.0, offset=0), rtol=1e-4)


def test_seeds_may_be_any_integers():
    def draw(key):
        return jax.random.normal(key)

    for seeds in (np.arange(3), jnp.arange(3), [np.uint8(0), 1, np.int64(2)], range(3)):
        assert sweep(draw, seeds).identical(sweep(draw, [0, 1, 2]))


AXES = {"learning_rate": [0.01, 0.1, 0.03], "penalty": [0.0, 0.5]}


def test_axes_are_dims_and_their_points_share_the_seeds():
    results = sweep(ridge, [3, 1, 7], axes=AXES)
    assert dict(results["w"].sizes) == {"learning_rate": 3, "penalty": 2, "seed": 3, "w_dim_0": 3}
    assert dict(results["loss"].sizes) == {"learning_rate": 3, "penalty": 2, "seed": 3}
    for name, values in AXES.items():
        np.testing.assert_array_equal(results[name], values)
    for rate in AXES["learning_rate"]:
        for penalty in AXES["penalty"]:
            point = sweep(ridge, [3, 1, 7], learning_rate=rate, penalty=penalty)
            chosen = results.sel(learning_rate=rate, penalty=penalty)
            np.testing.assert_allclose(chosen["w"], point["w"], rtol=1e-4)
    draws = sweep(lambda key, x: jax.random.normal(key), range(5), axes={"x": [1, 2]})["result"]
    np.testing.assert_array_equal(draws.isel(x=0), draws.isel(x=1))


@pytest.mark.parametrize("chunk", [1, 64, 100, 256, 599, 10_000])
def test_chunks_do_not_change_the_results(chunk):
    whole = sweep(ridge, range(100), axes=AXES)
    seen = []
    assert sweep(ridge, range(100), axes=AXES, chunk=chunk if chunk > 1 else 300, on_progress=seen.append).identical(
        whole
    )
    assert seen[-1].done == seen[-1].total == 600
    assert seen[-1].seconds_left == 0


def test_a_random_walk_and_its_whole_path():
    """A user's function that trains nothing, with a tree of results of several dtypes."""

    def walk(key, drift, up):
        steps = jax.random.normal(key, (50,)) + jnp.where(up, drift, -drift)
        path = jnp.cumsum(steps)
        return {
            "path": path,
            "summary": {"end": path[-1], "highest": path.argmax()},
            "half": path[0].astype(jnp.bfloat16),
        }

    results = sweep(walk, range(500), axes={"up": [True, False]}, drift=1.0, chunk=300)
    assert set(results) == {"path", "summary.end", "summary.highest", "half"}
    assert results["summary.highest"].dtype == np.int32
    assert results["half"].dtype == np.float32
    np.testing.assert_array_equal(results["summary.end"], results["path"].isel(path_dim_0=-1))
    np.testing.assert_allclose(results["summary.end"].mean("seed"), [50, -50], rtol=0.05)
    whole = sweep(walk, range(500), axes={"up": [True, False]}, drift=1.0)
    assert results.identical(whole)


def test_64_bit_numbers_stay_64_bit(x64):
    def identity(key, x, n):
        return {"same": x, "n": n}

    results = sweep(identity, range(3), axes={"x": [0.1, 0.1 + 1e-12]}, n=2**40)
    np.testing.assert_array_equal(results["same"].isel(seed=0), [0.1, 0.1 + 1e-12])
    assert int(results["n"][0, 0]) == 2**40


@pytest.mark.parametrize(
    ("axes", "settings", "says"),
    [
        (
            {"learning_rat": [1.0]},
            {"penalty": 0.0},
            "among the parameters learning_rate, penalty, got 'learning_rat'; did",
        ),
        ({"learning_rate": [1.0]}, {"penalty": 0.0, "momentum": 1}, "got 'momentum'"),
        ({"learning_rate": [1.0]}, {}, "train_one: expected a value for its parameter 'penalty', got none"),
        ({"learning_rate": [1.0]}, {"learning_rate": 1.0, "penalty": 0.0}, "an axis or a setting, got both"),
        ({"learning_rate": []}, {"penalty": 0.0}, "learning_rate: expected at least one value, got none"),
        ({"learning_rate": ["high", 0.1]}, {"penalty": 0.0}, "learning_rate: expected a list of real numbers, or one"),
        ({"learning_rate": ["low", "low"]}, {"penalty": 0.0}, "learning_rate: expected each value once, got low"),
        ({"learning_rate": [[0.1, 0.2]]}, {"penalty": 0.0}, "learning_rate: expected a list of real numbers"),
        ({"learning_rate": [[0.1], [0.1, 0.2]]}, {"penalty": 0.0}, "learning_rate: expected a list of"),
        ({"learning_rate": 0.1}, {"penalty": 0.0}, "learning_rate: expected a list of values, got 0.1"),
        ({"learning_rate": [1j]}, {"penalty": 0.0}, "learning_rate: expected a list of real numbers"),
        ({"learning_rate": [np.nan]}, {"penalty": 0.0}, "learning_rate: expected numbers, got nan"),
        ({"learning_rate": [0.1, 0.2, 0.1]}, {"penalty": 0.0}, "learning_rate: expected each value once, got 0.1"),
        ({"learning_rate": [0.1, 0.1 + 1e-12]}, {"penalty": 0.0}, r"got 0.1\d* \(as float32\) again"),
        ({"learning_rate": [2**40]}, {"penalty": 0.0}, "learning_rate: expected integers that fit into int32"),
        ({"seed": [1]}, {"learning_rate": 0.1, "penalty": 0.0}, "got 'seed', the dim of the seeds"),
        ([0.1], {"penalty": 0.0}, "axes: expected a dict"),
        ({}, {"learning_rate": "high", "penalty": 0.0}, "learning_rate: expected numbers or arrays, got 'high'"),
    ],
)
def test_bad_axes_and_settings_are_refused_in_one_line(axes, settings, says):
    with pytest.raises(ValueError, match=says) as caught:
        sweep(ridge, range(3), axes=axes, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunk", [0, -1, 1.5, "10", True])
def test_bad_chunks_are_refused(chunk):
    with pytest.raises(ValueError, match="chunk: expected an integer >= 1, got"):
        sweep(ridge, range(3), axes=AXES, chunk=chunk)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ({}, "expected at least one array, got none"),
        ({"x": 1.0}, "expected names that are not dims .*, got 'x'"),
        ({"seed": 1.0}, "expected names that are not dims .*, got 'seed'"),
        ({"w": np.zeros(2), "w_dim_0": 1.0}, "expected names that are not dims .*, got 'w_dim_0'"),
        ({"a": {"b": 1.0}, "a.b": 2.0}, "expected different names, got 'a.b' for two"),
        ({"label": "good"}, "label: expected an array, got 'good'"),
        ({"n": np.int64(2**40)}, "results: n: expected integers that fit into int32, got 1099511627776"),
        ({"n": 2**40}, "results: n: expected integers that fit into int32, got 1099511627776"),
        ({"n": np.zeros(2, jax.dtypes.float0)}, "results: n: expected an array, got a derivative by an integer"),
    ],
)
def test_results_that_cannot_be_labelled_are_refused(returned, says):
    with pytest.raises(ValueError, match=says) as caught:
        sweep(lambda key, x: returned, range(3), axes={"x": [1, 2]})
    assert "\n" not in str(caught.value)


def test_a_function_of_any_names_takes_them():
    results = sweep(lambda key, **settings: settings["a"] + settings["b"], [0], axes={"a": [1, 2]}, b=3)
    np.testing.assert_array_equal(results["result"], [[4], [5]])


@pytest.mark.parametrize(
    "seeds",
    [
        *([], range(0), [-1], [2**32], range(2**32 - 1, 2**32 + 1), [1.5], ["1"], [True], 5, [3, 4, 3]),
        *(np.array(seeds) for seeds in ([], [3, -1], [3, 2**32], [3, 4, 3], [[3, 4]], [1.5], [True])),
    ],
)
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match=r"expected .*seed"):
        sweep(ridge, seeds, learning_rate=0.1, penalty=0.0)
