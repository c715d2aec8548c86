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
        np.testing.assert_array_equal(some["w"], everyone["w"][seeds])


def test_settings_are_traced():
    traces = []

    def train_one(key, scale):
        traces.append(1)
        return scale * jax.random.normal(key)

    results = [sweep(train_one, range(10), scale=scale) for scale in (1.0, 2.0, np.float32(4.0))]
    np.testing.assert_allclose(results[1], 2 * results[0])
    np.testing.assert_allclose(results[2], 4 * results[0])
    assert len(traces) == 1


def test_seeds_may_be_any_integers():
    def draw(key):
        return jax.random.normal(key)

    for seeds in (np.arange(3), jnp.arange(3), [np.uint8(0), 1, np.int64(2)], range(3)):
        np.testing.assert_array_equal(sweep(draw, seeds), sweep(draw, [0, 1, 2]))


@pytest.mark.parametrize("seeds", [[], [-1], [2**32], [1.5], ["1"], [True], 5])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match=r"expected .*seed"):
        sweep(ridge, seeds, learning_rate=0.1, penalty=0.0)
