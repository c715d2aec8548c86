"""Synthetic images in place of MNIST, without files: for smoke tests and examples, not for results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paramact_jax.datasets.digits import Digits, from_pixels
from paramact_jax.datasets.mnist_files import Pixels

_CLASSES = 10
_SIDE = 28
_INK = 157  # pixels of a prototype that are not 0: a fifth, as in MNIST
_FARTHEST_SHIFT = 2
_AT_ONCE = 4_096


def synthetic_mnist(train: int = 1_000, test: int = 200, *, seed: int = 0, flatten: bool = True) -> Digits:
    """Makes synthetic images in MNIST's format: ten smooth random blots, shifted, faded and with noise.

    A fifth of the pixels is not 0, as in MNIST. The classes can be learned: they overlap after the shifts but have
    different shapes. Results on these images say nothing about MNIST.

    Args:
      train: The number of training images; the labels are as even as possible, in random order.
      test: The number of test images.
      seed: A number >= 0. The same seed and numbers of images give the same images.
      flatten: Return images as (n, 784); (n, 28, 28) if False.

    Returns:
      As `load_mnist`, with `synthetic` True and a `source` that says so.

    Raises:
      ValueError: A number of images is below 1 or the seed is below 0.

    Examples:
      >>> synthetic_mnist(100, 50)
      Digits((100, 784) to train, (50, 784) to test, synthetic blots, seed 0 (not MNIST))
    """
    for name, number, least in (("train", train, 1), ("test", test, 1), ("seed", seed, 0)):
        if number < least:
            raise ValueError(f"expected {name} >= {least}, got {number}; choose a larger number")
    prototypes = _prototypes(np.random.default_rng((seed, 0)))
    train_images, train_labels = _draw(train, prototypes, np.random.default_rng((seed, 1)))
    test_images, test_labels = _draw(test, prototypes, np.random.default_rng((seed, 2)))
    return from_pixels(
        Pixels(train_images, train_labels, test_images, test_labels),
        flatten=flatten,
        source=f"synthetic blots, seed {seed} (not MNIST)",
        synthetic=True,
    )


def _prototypes(rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns one blot for each class, (10, 28, 28), with values from 0 to 1."""
    coarse = rng.random((_CLASSES, 9, 9))
    at = np.linspace(0, 8, _SIDE)
    left = np.minimum(at.astype(int), 7)
    weight = at - left
    rows = coarse[:, left] * (1 - weight)[:, None] + coarse[:, left + 1] * weight[:, None]
    smooth = rows[:, :, left] * (1 - weight) + rows[:, :, left + 1] * weight
    margin = _FARTHEST_SHIFT
    smooth[:, :margin] = smooth[:, -margin:] = smooth[:, :, :margin] = smooth[:, :, -margin:] = 0
    threshold = np.sort(smooth.reshape(_CLASSES, -1), axis=1)[:, -_INK - 1]
    ink = np.clip(smooth - threshold[:, None, None], 0, None)
    return np.minimum(1, 4 * ink / ink.max(axis=(1, 2), keepdims=True))


def _draw(
    count: int, prototypes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    labels = rng.permutation((np.arange(count) % _CLASSES).astype(np.uint8))
    images = np.empty((count, _SIDE, _SIDE), np.uint8)
    reach = np.arange(_SIDE)
    for start in range(0, count, _AT_ONCE):
        own = labels[start : start + _AT_ONCE]
        down, right = rng.integers(-_FARTHEST_SHIFT, _FARTHEST_SHIFT + 1, (2, len(own), 1))
        rows, columns = (reach + down) % _SIDE, (reach + right) % _SIDE
        shifted = prototypes[own[:, None, None], rows[:, :, None], columns[:, None, :]]
        strength = 0.6 + 0.4 * rng.random((len(own), 1, 1))
        noise = 0.5 + rng.random(shifted.shape)  # a factor, so that the background stays 0
        images[start : start + _AT_ONCE] = np.minimum(255, 255 * shifted * strength * noise)
    return images, labels
