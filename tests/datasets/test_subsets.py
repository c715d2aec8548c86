import numpy as np
import pytest

from paramact_jax.datasets import balanced_subset

LABELS = np.random.default_rng(0).integers(0, 10, 2_000)


@pytest.mark.parametrize("amount", [{"per_class": 50}, {"total": 500}])
def test_as_many_of_each(amount):
    chosen = balanced_subset(LABELS, **amount)
    np.testing.assert_array_equal(np.bincount(LABELS[chosen]), [50] * 10)
    assert (np.diff(chosen) > 0).all()


def test_the_seed_decides():
    first, again, other = (balanced_subset(LABELS, total=500, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert len(set(first) & set(other)) < 250


def test_every_example_can_be_drawn():
    drawn = np.concatenate([balanced_subset(LABELS, per_class=100, seed=seed) for seed in range(20)])
    assert len(set(drawn)) == len(LABELS)


def test_a_smaller_draw_lies_in_a_larger_one():
    assert set(balanced_subset(LABELS, per_class=20)) < set(balanced_subset(LABELS, per_class=21))


def test_all_of_the_scarcest_class():
    chosen = balanced_subset(np.array([7, 7, -1, 7, -1], np.int8), per_class=2)
    assert {2, 4} < set(chosen)
    assert len(chosen) == 4


@pytest.mark.parametrize(
    ("labels", "amount", "message"),
    [
        (LABELS, {}, "got neither"),
        (LABELS, {"per_class": 1, "total": 10}, "got both"),
        (LABELS, {"total": 5_001}, "multiple of the 10 classes, got 5001; take 5000"),
        (LABELS, {"total": 0}, "at least one example of each class, got 0"),
        (LABELS, {"per_class": -1}, "at least one example of each class, got -1"),
        (LABELS, {"per_class": 1, "seed": -1}, "expected seed >= 0, got -1"),
        ([0, 1, 1], {"per_class": 2}, "expected 2 examples of each class, got 1 of class 0"),
        (LABELS.astype(float), {"per_class": 1}, "expected labels as integers"),
        (LABELS[None], {"per_class": 1}, r"of shape \(1, 2000\)"),
        (LABELS[:0], {"per_class": 1}, r"of shape \(0,\)"),
    ],
)
def test_refused(labels, amount, message):
    with pytest.raises(ValueError, match=message):
        balanced_subset(labels, **amount)
