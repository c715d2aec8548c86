"""Which images a step sees: epochs that are whole, draws that depend on key and step alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from paramact_jax.training import Minibatches

SIZES = [(10, 4), (12, 4), (7, 7), (5, 1), (64, 63)]


@functools.partial(jax.jit, static_argnums=(0, 2))
def drawn(minibatches, key, steps):
    """Indices (steps, batch), drawn inside one compiled scan."""
    _, indices = jax.lax.scan(minibatches.draw, minibatches.start(key), jnp.arange(steps))
    return indices


def step_by_step(minibatches, key, steps):
    order, indices = minibatches.start(key), []
    draw = jax.jit(minibatches.draw)
    for step in range(steps):
        order, chosen = draw(order, step)
        indices.append(chosen)
    return np.stack(indices)


@pytest.mark.parametrize(("size", "batch"), SIZES)
def test_an_epoch_sees_no_image_twice(size, batch):
    minibatches = Minibatches(size, batch)
    steps = size // batch
    assert minibatches.steps_per_epoch == steps
    epochs = np.asarray(drawn(minibatches, jax.random.key(3), 20 * steps)).reshape(20, steps * batch)
    assert epochs.dtype == np.int32
    for epoch in epochs:
        assert len(set(epoch.tolist())) == steps * batch
        assert set(epoch.tolist()) <= set(range(size))
    assert set(epochs.ravel().tolist()) == set(range(size)), "who waits in one epoch comes in another"


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (64, 63), (100, 7)])
def test_each_epoch_has_a_permutation_of_its_own(size, batch):
    minibatches = Minibatches(size, batch)
    epochs = np.asarray(drawn(minibatches, jax.random.key(0), 30 * minibatches.steps_per_epoch)).reshape(30, -1)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 30
    assert len({tuple(sorted(epoch)) for epoch in epochs.tolist()}) > 1, "other images wait in other epochs"


def test_every_image_is_as_likely_at_every_place_of_an_epoch():
    """Chi-square over 8 places x 8 images, 4,000 epochs; uniform permutations have 49 degrees of freedom."""
    minibatches = Minibatches(8, 2)
    epochs = np.asarray(drawn(minibatches, jax.random.key(11), 4 * 4_000)).reshape(4_000, 8)
    counts = np.stack([np.bincount(epochs[:, place], minlength=8) for place in range(8)])
    statistic = ((counts - 500) ** 2 / 500).sum()
    assert stats.chi2.ppf(1e-4, 49) < statistic < stats.chi2.ppf(1 - 1e-4, 49)


@pytest.mark.parametrize("kind", ["shuffled", "independent"])
@pytest.mark.parametrize(("size", "batch"), [(10, 4), (7, 7)])
def test_step_by_step_and_in_a_scan_and_under_vmap_the_same_images(kind, size, batch):
    minibatches = Minibatches(size, batch, kind)
    steps = 2 * minibatches.steps_per_epoch + 1
    keys = [jax.random.key(seed) for seed in (0, 5, 17)]
    together = jax.vmap(lambda key: drawn(minibatches, key, steps))(jnp.stack(keys))
    for key, own in zip(keys, np.asarray(together), strict=True):
        assert own.shape == (steps, batch)
        np.testing.assert_array_equal(own, drawn(minibatches, key, steps))
        np.testing.assert_array_equal(own, step_by_step(minibatches, key, steps))
    if size > batch > 1:
        assert not np.array_equal(together[0], together[1]), "another key, another order"


def test_an_epoch_is_a_permutation_of_key_and_epoch_alone():
    """Written out: the images of step s are a slice of permutation(fold_in(key, epoch))."""
    key, minibatches = jax.random.key(8), Minibatches(23, 5)
    indices = drawn(minibatches, key, 13)
    for step in range(13):
        epoch, position = divmod(step, 4)
        whole = jax.random.permutation(jax.random.fold_in(key, epoch), 23)
        np.testing.assert_array_equal(indices[step], whole[5 * position : 5 * position + 5])


def test_independent_draws_need_no_step_before():
    minibatches = Minibatches(50, 6, "independent")
    order = minibatches.start(jax.random.key(2))
    in_turn = drawn(minibatches, jax.random.key(2), 40)
    for step in (39, 0, 17):
        same, chosen = minibatches.draw(order, step)
        np.testing.assert_array_equal(chosen, in_turn[step])
        assert same is order


def test_independent_draws_are_uniform_with_replacement():
    """Chi-square over 50 images, and the share of batches with an image twice against its exact probability."""
    steps, size, batch = 5_000, 50, 6
    indices = np.asarray(drawn(Minibatches(size, batch, "independent"), jax.random.key(1), steps))
    counts = np.bincount(indices.ravel(), minlength=size)
    assert len(counts) == size
    statistic = ((counts - steps * batch / size) ** 2 / (steps * batch / size)).sum()
    assert stats.chi2.ppf(1e-4, size - 1) < statistic < stats.chi2.ppf(1 - 1e-4, size - 1)
    twice = sum(len(set(row)) < batch for row in indices.tolist())
    probability = 1 - np.prod(1 - np.arange(batch) / size)
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], steps, probability)
    assert low < twice < high


def test_shuffled_draws_are_compiled_once_for_all_steps():
    traces = []
    minibatches = Minibatches(10, 4)

    @jax.jit
    def draw(order, step):
        traces.append(1)
        return minibatches.draw(order, step)

    order = minibatches.start(jax.random.key(0))
    for step in range(5):
        order, _ = draw(order, step)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 10, "batch": 0}, r"^expected a batch within 1\.\.10, the number of images, got 0$"),
        ({"size": 10, "batch": 11}, r"^expected a batch within 1\.\.10, the number of images, got 11$"),
        ({"size": 10, "batch": -3}, r"^expected a batch within 1\.\.10, the number of images, got -3$"),
        (
            {"size": 10, "batch": 5, "kind": "random"},
            "^expected kind to be shuffled or independent, got 'random'$",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Minibatches(**arguments)
