"""Training a classifier on minibatches as three pure functions of one trial, scored on all images on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from paramact_jax.training.minibatches import Minibatches, Order
from paramact_jax.training.optimisers import optimiser

Network = Callable[[Any, jax.Array], jax.Array]
"""Outputs (images, classes) of params and inputs (images, ...)."""

_AT_ONCE = 1_000
"""Images scored together: enough for efficient matrix products, few enough for the caches."""


class Score(NamedTuple):
    """What a network makes of a set of images.

    Attributes:
      loss: mean cross-entropy over all images.
      accuracy: share of the images whose largest output is that of their label.
    """

    loss: jax.Array
    accuracy: jax.Array


class Gradient(Protocol):
    """The gradient of a minibatch's loss, and what is to be noted of every step."""

    def __call__(self, params: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        """A tree like params, and a tree of arrays."""
        ...


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When what is scored.

    Attributes:
      steps: of the training, at least 1.
      test_every: steps between two scores of the test set; there is one before the first step and one after the last.
      train_every: likewise of the train set.

    Raises:
      ValueError: for a number below 1.

    Examples:
      >>> Schedule(steps=100, test_every=40, train_every=50).test_steps
      [0, 40, 80, 100]
    """

    steps: int
    test_every: int
    train_every: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"expected {field.name} of 1 or more, got {value}")

    @property
    def test_steps(self) -> list[int]:
        """Steps done when the test set is scored."""
        return _marks(self.steps, self.test_every)

    @property
    def train_steps(self) -> list[int]:
        """Steps done when the train set is scored."""
        return _marks(self.steps, self.train_every)


class State(NamedTuple):
    """Where the training of one trial stands.

    Attributes:
      params: of the network.
      optimiser: what the optimiser keeps.
      order: of the images.
      test: scores so far, arrays as long as `Schedule.test_steps`; NaN where they are not known yet.
      train: likewise.
      notes: of every step, arrays with a leading axis of steps.
    """

    params: Any
    optimiser: Any
    order: Order
    test: Score
    train: Score
    notes: Any


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Minibatch gradient descent on the mean cross-entropy, by an optimiser of optax.

    `init`, `step` and `summarise` are pure functions of one trial for `sweeps.Training`; the images are settings, so
    that they lie on the device once.

    Attributes:
      network: the network.
      initial: (key) -> params.
      batches: which images a step sees.
      schedule: when the sets are scored. A score stands for the params before the step of its number.
      optimiser_name: see `training.optimiser`.
      gradient: by default that of the mean cross-entropy, with no notes.
      report: what `summarise` is to tell of the learned params, a dict of arrays by name; by default nothing.
    """

    network: Network
    initial: Callable[[jax.Array], Any]
    batches: Minibatches
    schedule: Schedule
    optimiser_name: str = "sgd"
    gradient: Gradient | None = None
    report: Callable[[Any], dict[str, jax.Array]] = lambda params: {}

    def init(self, key: jax.Array, train_images: jax.Array, train_labels: jax.Array) -> State:
        """The state before the first step."""
        params, order = self.start(key)
        batch = self.batches.batch
        _, example = jax.eval_shape(self._gradient, params, train_images[:batch], train_labels[:batch])
        notes = jax.tree.map(lambda x: jnp.zeros((self.schedule.steps, *x.shape), x.dtype), example)
        kept = optimiser(self.optimiser_name, params, 0.0).init(params)
        return State(
            params,
            kept,
            order,
            _unknown(len(self.schedule.test_steps)),
            _unknown(len(self.schedule.train_steps)),
            notes,
        )

    def start(self, key: jax.Array) -> tuple[Any, Order]:
        """The initial params, and the order before the first step; from one half of the key each."""
        params_key, order_key = jax.random.split(key)
        return self.initial(params_key), self.batches.start(order_key)

    def step(
        self,
        state: State,
        iteration: jax.Array,
        train_images: jax.Array,
        train_labels: jax.Array,
        test_images: jax.Array,
        test_labels: jax.Array,
        learning_rate: ArrayLike,
        learning_rate_a: ArrayLike,
        learning_rate_b: ArrayLike,
    ) -> State:
        """Scores that are due, then one update on one minibatch."""

        def scored(scores: Score, every: int, images: jax.Array, labels: jax.Array) -> Score:
            unknown = Score(*(jnp.full_like(values[0], jnp.nan) for values in scores))
            due = iteration % every == 0
            score = lax.cond(due, lambda: self.score(state.params, images, labels), lambda: unknown)
            slot = iteration // every
            return jax.tree.map(
                lambda values, new: values.at[slot].set(jnp.where(due, new, values[slot])), scores, score
            )

        test = scored(state.test, self.schedule.test_every, test_images, test_labels)
        train = scored(state.train, self.schedule.train_every, train_images, train_labels)
        order, chosen = self.batches.draw(state.order, iteration)
        gradient, noted = self._gradient(state.params, train_images[chosen], train_labels[chosen])
        update = optimiser(self.optimiser_name, state.params, learning_rate, learning_rate_a, learning_rate_b)
        changes, kept = update.update(gradient, state.optimiser, state.params)
        return State(
            optax.apply_updates(state.params, changes),
            kept,
            order,
            test,
            train,
            jax.tree.map(lambda values, new: values.at[iteration].set(new), state.notes, noted),
        )

    def summarise(
        self,
        state: State,
        train_images: jax.Array,
        train_labels: jax.Array,
        test_images: jax.Array,
        test_labels: jax.Array,
    ) -> dict[str, Any]:
        """All scores, those of the learned params at the end, all notes, and the report."""

        def with_last(scores: Score, images: jax.Array, labels: jax.Array) -> Score:
            return jax.tree.map(
                lambda values, new: values.at[-1].set(new), scores, self.score(state.params, images, labels)
            )

        return {
            "test": with_last(state.test, test_images, test_labels)._asdict(),
            "train": with_last(state.train, train_images, train_labels)._asdict(),
            "notes": state.notes,
            "learned": self.report(state.params),
        }

    def score(self, params: Any, images: jax.Array, labels: jax.Array, *, at_once: int = _AT_ONCE) -> Score:
        """Mean cross-entropy and accuracy over all images, whatever the number computed at once.

        Args:
          params: of the network.
          images: (images, ...).
          labels: (images,).
          at_once: images in one pass of the network.
        """

        def sums(images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
            outputs = self.network(params, images)
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
            return losses.sum(), jnp.sum(outputs.argmax(-1) == labels, dtype=jnp.int32)

        whole = len(labels) // at_once * at_once
        parts = jax.tree.map(lambda x: x[:whole].reshape(-1, at_once, *x.shape[1:]), (images, labels))
        losses, correct = lax.map(lambda part: sums(*part), parts)
        rest = sums(images[whole:], labels[whole:])
        loss = (losses.sum() + rest[0]) / len(labels)
        return Score(loss, (correct.sum() + rest[1]).astype(loss.dtype) / len(labels))

    def _gradient(self, params: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        if self.gradient is not None:
            return self.gradient(params, images, labels)
        return jax.grad(lambda params: cross_entropy(self.network(params, images), labels))(params), {}


def cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy, -log softmax(outputs)[label], over a minibatch.

    Args:
      outputs: (images, classes).
      labels: (images,), from 0.

    Examples:
      >>> print(f"{cross_entropy(jnp.zeros((3, 10)), jnp.arange(3)):.4f}")
      2.3026
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()


def _marks(steps: int, every: int) -> list[int]:
    return [*range(0, steps, every), steps]


def _unknown(length: int) -> Score:
    return Score(jnp.full(length, jnp.nan), jnp.full(length, jnp.nan))
