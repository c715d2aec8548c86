"""Draws the images for each step of stochastic gradient descent."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

Kind = Literal["shuffled", "independent"]


class Order(NamedTuple):
    """The state of the drawing of one trial.

    Attributes:
      key: random key of the trial's batches.
      order: this epoch's permutation of the images; empty for independent draws.
    """

    key: jax.Array
    order: jax.Array


@dataclasses.dataclass(frozen=True)
class Minibatches:
    """Minibatches of `batch` out of `size` images, drawn inside the compiled step.

    "shuffled": an epoch has size // batch steps and its own permutation of the images; the last size % batch images
    of the permutation are not used in this epoch. "independent": every image of every batch is drawn from all images,
    with replacement.

    The draw of a step depends only on the trial's key and on the step. "shuffled" batches must be drawn in order from
    the first step of an epoch, since the permutation is made there and passed on.

    Attributes:
      size: number of images.
      batch: number of images in a step.
      kind: "shuffled" or "independent", see above.

    Raises:
      ValueError: if the kind is not one of the two, or the batch is not within 1..size.

    Examples:
      >>> minibatches = Minibatches(size=10, batch=4)
      >>> minibatches.steps_per_epoch
      2
      >>> order = minibatches.start(jax.random.key(0))
      >>> order, first = minibatches.draw(order, 0)
      >>> _, second = minibatches.draw(order, 1)
      >>> len(set(first.tolist()) | set(second.tolist()))
      8
    """

    size: int
    batch: int
    kind: Kind = "shuffled"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected kind to be {' or '.join(get_args(Kind))}, got {self.kind!r}")
        if not (isinstance(self.batch, int) and isinstance(self.size, int)):
            raise ValueError(f"expected whole numbers of images, got size={self.size!r}, batch={self.batch!r}")
        if not 1 <= self.batch <= self.size:
            raise ValueError(f"expected a batch within 1..{self.size}, the number of images, got {self.batch}")

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps until the images are shuffled again."""
        return self.size // self.batch

    def start(self, key: jax.Array) -> Order:
        """Returns the state before the first step."""
        return Order(key, jnp.zeros(self.size if self.kind == "shuffled" else 0, jnp.int32))

    def draw(self, order: Order, step: jax.typing.ArrayLike) -> tuple[Order, jax.Array]:
        """Returns the next state and the int32 indices (batch,) of a step's images.

        Args:
          order: the state from the step before.
          step: number of the step, from 0 and in order. Under `vmap` keep it the same for all trials: then only the
            first step of an epoch shuffles.
        """
        if self.kind == "independent":
            key = jax.random.fold_in(order.key, step)
            return order, jax.random.randint(key, (self.batch,), 0, self.size, jnp.int32)
        epoch, position = jnp.divmod(jnp.asarray(step, jnp.int32), self.steps_per_epoch)

        def shuffle() -> jax.Array:
            return jax.random.permutation(jax.random.fold_in(order.key, epoch), jnp.arange(self.size, dtype=jnp.int32))

        shuffled = lax.cond(position == 0, shuffle, lambda: order.order)
        indices = lax.dynamic_slice_in_dim(shuffled, position * self.batch, self.batch)
        return Order(order.key, shuffled), indices
