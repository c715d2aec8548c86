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
from paramact_jax.training.optimisers import check_optimiser, optimiser

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
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"expected {field.name}, an integer of 1 or more, got {value!r}")

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
      done: number of steps made.
      params: of the network.
      optimiser: what the optimiser keeps.
      order: of the images.
      test: scores so far, arrays as long as `Schedule.test_steps`; NaN where they are not known yet.
      train: likewise.
      notes: of every step, arrays with a leading axis of steps.
    """

    done: jax.Array
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
    that they lie on the device once. Labels count the classes from 0; nothing looks for others among them.

    Attributes:
      network: the network.
      initial: (key) -> params.
      batches: which images a step sees.
      schedule: when the sets are scored. A score stands for the params before the step of its number.
      optimiser_name: see `training.optimiser`.
      gradient: by default that of the mean cross-entropy, with no notes.
      report: what `summarise` is to tell of the learned params, a dict of arrays by name; by default nothing.

    Raises:
      ValueError: for an unknown optimiser; from `init`, for labels of another number than the images, or images of
        another number than `batches` are drawn from.

    Examples:
      Eight seeds of a linear classifier at once:

      >>> from paramact_jax.sweeps import Training, long_sweep
      >>> classifier = Classifier(
      ...     network=lambda params, images: images @ params["kernel"],
      ...     initial=lambda key: {"kernel": jax.random.normal(key, (4, 3))},
      ...     batches=Minibatches(size=60, batch=10),
      ...     schedule=Schedule(steps=30, test_every=10, train_every=30),
      ... )
      >>> images = jax.random.normal(jax.random.key(0), (80, 4))
      >>> labels = images[:, :3].argmax(1)
      >>> results = long_sweep(
      ...     Training(classifier.init, classifier.step, classifier.summarise),
      ...     range(8),
      ...     iterations=30,
      ...     block=1,
      ...     train_images=images[:60],
      ...     train_labels=labels[:60],
      ...     test_images=images[60:],
      ...     test_labels=labels[60:],
      ...     learning_rate=1.0,
      ... )
      >>> results["test.loss"].shape, bool((results["test.accuracy"][:, -1] > results["test.accuracy"][:, 0]).all())
      ((8, 4), True)
    """

    network: Network
    initial: Callable[[jax.Array], Any]
    batches: Minibatches
    schedule: Schedule
    optimiser_name: str = "sgd"
    gradient: Gradient | None = None
    report: Callable[[Any], dict[str, jax.Array]] = lambda params: {}

    def __post_init__(self) -> None:
        check_optimiser(self.optimiser_name)

    def init(self, key: jax.Array, train_images: jax.Array, train_labels: jax.Array) -> State:
        """The state before the first step."""
        if not len(train_images) == len(train_labels) == self.batches.size:
            raise ValueError(
                f"expected {self.batches.size} training images, as many as `batches` are drawn from, and a label for "
                f"each, got {len(train_images)} images and {len(train_labels)} labels"
            )
        params, order = self.start(key)
        one_batch = train_images[: self.batches.batch], train_labels[: self.batches.batch]
        _, example = jax.eval_shape(self._gradient, params, *one_batch)
        score = jax.eval_shape(self.score, params, *one_batch)
        notes = jax.tree.map(lambda x: jnp.zeros((self.schedule.steps, *x.shape), x.dtype), example)
        kept = optimiser(self.optimiser_name, params, 0.0).init(params)

        def unknown(length: int) -> Score:
            return Score(*(jnp.full(length, jnp.nan, x.dtype) for x in score))

        test, train = (unknown(len(steps)) for steps in (self.schedule.test_steps, self.schedule.train_steps))
        return State(jnp.int32(0), params, kept, order, test, train, notes)

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
        learning_rate_a: ArrayLike | None = None,
        learning_rate_b: ArrayLike | None = None,
    ) -> State:
        """Scores that are due, then one update on one minibatch; rates as in `training.optimiser`."""

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
            state.done + 1,
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
        """All scores, all notes, and the report.

        The scores of the learned params are the last ones; NaN if another number of steps was made than `schedule` has.
        """
        complete = state.done == self.schedule.steps

        def with_last(scores: Score, images: jax.Array, labels: jax.Array) -> Score:
            return jax.tree.map(
                lambda values, new: values.at[-1].set(jnp.where(complete, new, jnp.nan)),
                scores,
                self.score(state.params, images, labels),
            )

        return {
            "test": with_last(state.test, test_images, test_labels)._asdict(),
            "train": with_last(state.train, train_images, train_labels)._asdict(),
            "notes": state.notes,
            "learned": self.report(state.params),
        }

    def score(self, params: Any, images: jax.Array, labels: jax.Array, *, at_once: int = _AT_ONCE) -> Score:
        """Mean cross-entropy and accuracy over all images, whatever the number computed at once.

        Sums are of at least 32 bits. The accuracy of outputs that are not numbers is NaN.

        Args:
          params: of the network.
          images: (images, ...).
          labels: (images,).
          at_once: images in one pass of the network.
        """

        def sums(images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
            outputs = self.network(params, images)
            outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
            return losses.sum(), jnp.sum(outputs.argmax(-1) == labels, dtype=jnp.int32)

        whole = len(labels) // at_once * at_once
        parts = jax.tree.map(lambda x: x[:whole].reshape(-1, at_once, *x.shape[1:]), (images, labels))
        losses, correct = lax.map(lambda part: sums(*part), parts)
        rest = sums(images[whole:], labels[whole:])
        loss = (losses.sum() + rest[0]) / len(labels)
        accuracy = (correct.sum() + rest[1]).astype(loss.dtype) / len(labels)
        return Score(loss, jnp.where(jnp.isnan(loss), jnp.nan, accuracy))

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
