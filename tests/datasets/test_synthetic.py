import hashlib

import numpy as np
import pytest

from paramact_jax.datasets import synthetic_mnist


def test_the_format_of_mnist_for_any_number_of_images():
    digits = synthetic_mnist(37, 11, flatten=False)
    assert (digits.train_images.shape, digits.test_images.shape) == ((37, 28, 28), (11, 28, 28))
    assert (digits.train_labels.shape, digits.test_labels.shape) == ((37,), (11,))
    flat = synthetic_mnist(37, 11)
    np.testing.assert_array_equal(flat.train_images, digits.train_images.reshape(37, 784))


def test_it_says_what_it_is():
    digits = synthetic_mnist(10, 10, seed=3)
    assert digits.synthetic
    assert "synthetic" in digits.source
    assert "not MNIST" in repr(digits)


def test_the_seed_decides():
    first, again, other = (synthetic_mnist(100, 50, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train_images, again.train_images)
    np.testing.assert_array_equal(first.test_labels, again.test_labels)
    assert not np.array_equal(first.train_images, other.train_images)
    assert not np.array_equal(first.train_images[:50], first.test_images)


def test_the_same_images_on_every_machine():
    images = (synthetic_mnist(20, 1).train_images * 255).round().astype(np.uint8)
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == "21ad686d72205ca1"


def test_grey_levels_like_those_of_mnist():
    images = synthetic_mnist(2_000, 1).train_images
    assert 0.1 < images.mean() < 0.15
    assert 0.18 < (images > 0).mean() < 0.21
    assert images.max() == 1
    assert np.isin(images, np.arange(256, dtype=np.float32) / np.float32(255)).all()


def test_classes_are_even_and_can_be_learned():
    digits = synthetic_mnist()
    np.testing.assert_array_equal(np.bincount(digits.train_labels), [100] * 10)
    means = np.stack([digits.train_images[digits.train_labels == digit].mean(axis=0) for digit in range(10)])
    distances = ((digits.test_images[:, None] - means) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == digits.test_labels).mean() > 0.95


def test_images_after_the_first_block_are_drawn_too():
    digits = synthetic_mnist(5_000, 1)
    assert (digits.train_images.max(axis=1) > 0.4).all()


def test_labels_are_in_random_order():
    assert not np.array_equal(synthetic_mnist(100, 1).train_labels, np.arange(100) % 10)


@pytest.mark.parametrize("arguments", [{"train": 0}, {"test": 0}, {"seed": -1}])
def test_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"expected {name} >= [01], got {value}"):
        synthetic_mnist(**arguments)
