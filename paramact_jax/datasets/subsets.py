"""Draws subsets of a data set in which all classes have the same number of examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def balanced_subset(
    labels: ArrayLike, *, per_class: int | None = None, total: int | None = None, seed: int = 0
) -> NDArray[np.intp]:
    """Draws indices of examples at random, without replacement, the same number from each class.

    [A, section 4] trains on 5,000 images of MNIST sampled evenly over the ten digits: `total=5_000`.

    Args:
      labels: Integers, (n,). The classes are the values that occur.
      per_class: The number of examples of each class. Give this or `total`.
      total: The number of all examples, a multiple of the number of classes.
      seed: A number >= 0. The same seed gives the same draw, and a larger draw contains the smaller ones.

    Returns:
      The indices in ascending order, so the examples stay in the order of the data set.

    Raises:
      ValueError: The labels are not integers of shape (n,); both or neither of `per_class` and `total` are given; their
        number is not positive, or the total is not a multiple of the number of classes; a class has too few examples.

    Examples:
      >>> labels = np.array([0, 1, 1, 0, 1, 0])
      >>> chosen = balanced_subset(labels, per_class=2)
      >>> labels[chosen].tolist().count(0), labels[chosen].tolist().count(1)
      (2, 2)
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not labels.size:
        raise ValueError(
            f"expected labels as integers of shape (n,), got {labels.dtype} of shape {labels.shape}; "
            "give one class number for each example"
        )
    if (per_class is None) == (total is None):
        raise ValueError(f"expected per_class or total, got {'neither' if total is None else 'both'}; give one of them")
    if seed < 0:
        raise ValueError(f"expected seed >= 0, got {seed}; choose another")
    classes, sizes = np.unique(labels, return_counts=True)
    if per_class is None:
        assert total is not None
        if total % len(classes):
            raise ValueError(
                f"expected total as a multiple of the {len(classes)} classes, got {total}; "
                f"take {total - total % len(classes)}"
            )
        per_class = total // len(classes)
    if per_class < 1:
        raise ValueError(f"expected at least one example of each class, got {per_class}; ask for more")
    if sizes.min() < per_class:
        scarcest = classes[sizes.argmin()]
        raise ValueError(
            f"expected {per_class} examples of each class, got {sizes.min()} of class {scarcest}; "
            f"ask for {sizes.min()} of each or fewer"
        )
    drawn = [
        np.random.default_rng((seed, position)).permutation(np.flatnonzero(labels == value))[:per_class]
        for position, value in enumerate(classes)
    ]
    return np.sort(np.concatenate(drawn))
