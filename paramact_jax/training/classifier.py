"""Trains a classifier on minibatches with three pure functions of one trial, and scores it during the training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from paramact_jax.training.minibatches import Minibatches, Order
from paramact_jax.training.optimisers import check_optimiser, optimiser

Network = Callable[[Any, jax.Array], jax.Array]
"""Maps params and inputs (images, ...) to outputs (images, classes)."""

Data = Mapping[str, jax.Array]
"""Sets of labelled images: "train_images", "train_labels", "test_images", "test_labels", or with other names."""

_AT_ONCE = 1_000
"""Number of images scored together: enough for efficient matrix products, few enough for the caches."""


class Score(NamedTuple):
    """The score of a network on a set of images.

    Attributes:
      loss: mean cross-entropy over all images.
      accuracy: share of images for which the largest output is that of the label.
    """

    loss: jax.Array
    accuracy: jax.Array


class Gradient(Protocol):
    """Computes the gradient of a minibatch's loss, and notes for every step."""

    def __call__(self, params: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        """Returns the gradient, a tree like params, and the notes, a tree of arrays."""
        ...


class State(NamedTuple):
    """The state of the training of one trial.

    Attributes:
      done: number of steps made.
      params: params of the network.
      optimiser: state of the optimiser.
      order: order of the images.
      scores: scores so far, by set, in arrays as long as `Classifier.marks`; NaN where they are not yet known.
      notes: notes of every step, in arrays with a leading axis of steps.
    """

    done: jax.Array
    params: Any
    optimiser: Any
    order: Order
    scores: dict[str, Score]
    notes: Any


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Minibatch gradient descent on the mean cross-entropy, with an optimiser of optax.

    `init`, `step` and `summarise` are pure functions of one trial, so `sweeps.long_sweep` accepts a classifier. All
    images are one setting, `data` (see `Data`), so the device holds them once. Labels number the classes from 0; other
    labels are not detected.

    Attributes:
      network: (params, images) -> outputs (images, classes).
      initial: (key, **settings) -> params. Its settings are traced, so a sweep can have axes of them.
      batches: the choice of images for each step.
      steps: number of training steps, at least 1.
      scores: name of a set to score -> number of steps between two scores. The first score is before step 0, the last
        after the last step. None: only after the last step. The score with the number of a step is that of the params
        before this step.
      optimiser_name: see `training.optimiser`.
      gradient: (params, images, labels) -> the gradient of a minibatch's loss, a tree like params, and notes of the
        step, a tree of arrays; by default the gradient of the mean cross-entropy, without notes.
      report: learned params -> results for `summarise`, a dict of arrays by name; by default none.
      look: (params, **settings) -> notes about the params during the training, a tree of arrays. It is the `observe` of
        a training, see `observe_every` of `long_sweep`.

    Raises:
      ValueError: for an unknown optimiser, or steps below 1. From `init`: if the numbers of images and labels differ,
        the number of images is not that of `batches`, or a set is missing in `data`.

    Examples:
      Eight seeds of a linear classifier with two scales of initial weights, all at once:

      >>> from paramact_jax.sweeps import long_sweep
      >>> classifier = Classifier(
      ...     network=lambda params, images: images @ params["kernel"],
      ...     initial=lambda key, scale: {"kernel": scale * jax.random.normal(key, (4, 3))},
      ...     batches=Minibatches(size=60, batch=10),
      ...     steps=30,
      ...     scores={"test": 10},
      ... )
      >>> images = jax.random.normal(jax.random.key(0), (80, 4))
      >>> labels = images[:, :3].argmax(1)
      >>> data = {"train_images": images[:60], "train_labels": labels[:60]}
      >>> data |= {"test_images": images[60:], "test_labels": labels[60:]}
      >>> axes = {"scale": [0.1, 1.0]}
      >>> results = long_sweep(classifier, range(8), iterations=30, axes=axes, data=data, learning_rate=1.0)
      >>> classifier.marks("test"), results["test.loss"].shape
      ([0, 10, 20, 30], (2, 8, 4))
      >>> bool((results["test.accuracy"][..., -1] > results["test.accuracy"][..., 0]).all())
      True
    """

    network: Network
    initial: Callable[..., Any]
    batches: Minibatches
    steps: int
    scores: Mapping[str, int | None] = dataclasses.field(default_factory=lambda: {"test": None})
    optimiser_name: str = "sgd"
    gradient: Gradient | None = None
    report: Callable[[Any], dict[str, jax.Array]] = lambda params: {}
    look: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        check_optimiser(self.optimiser_name)
        numbers = {"steps": self.steps} | {f"scores[{name!r}]": n for name, n in self.scores.items() if n is not None}
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"expected {name}, an integer of 1 or more, got {value!r}")

    def marks(self, name: str) -> list[int]:
        """Returns the numbers of steps after which a set is scored.

        Args:
          name: name of a set in `scores` with a number of steps.
        """
        return marks(self.steps, self.scores[name] or self.steps)

    @property
    def init(self) -> Callable[..., State]:
        """The function (key, data, **settings of `initial`) -> state before the first step."""

        def init(key: jax.Array, data: Data, **settings: Any) -> State:
            return self._init(key, data, settings)

        return _signed(init, ("key", "data", *_settings(self.initial)))

    def _init(self, key: jax.Array, data: Data, settings: dict[str, Any]) -> State:
        images, labels = (data[f"train_{what}"] for what in ("images", "labels"))
        if not len(images) == len(labels) == self.batches.size:
            raise ValueError(
                f"expected {self.batches.size} training images, the size of `batches`, and a label for "
                f"each, got {len(images)} images and {len(labels)} labels"
            )
        for name in self.scores:
            if missing := {f"{name}_images", f"{name}_labels"} - set(data):
                raise ValueError(f"expected {', '.join(sorted(missing))} in data for the scores, got {', '.join(data)}")
        params, order = self.start(key, **settings)
        one_batch = images[: self.batches.batch], labels[: self.batches.batch]
        _, example = jax.eval_shape(self._gradient, params, *one_batch)
        score = jax.eval_shape(self.score, params, *one_batch)
        notes = jax.tree.map(lambda x: jnp.zeros((self.steps, *x.shape), x.dtype), example)
        kept = optimiser(self.optimiser_name, params, 0.0).init(params)
        unknown = {
            name: Score(*(jnp.full(len(self.marks(name)), jnp.nan, x.dtype) for x in score))
            for name, every in self.scores.items()
            if every is not None
        }
        return State(jnp.int32(0), params, kept, order, unknown, notes)

    def start(self, key: jax.Array, **settings: Any) -> tuple[Any, Order]:
        """Returns the initial params and the order before the first step; each uses one half of the key."""
        params_key, order_key = jax.random.split(key)
        return self.initial(params_key, **settings), self.batches.start(order_key)

    def step(
        self,
        state: State,
        iteration: jax.Array,
        data: Data,
        learning_rate: ArrayLike,
        learning_rate_a: ArrayLike | None = None,
        learning_rate_b: ArrayLike | None = None,
    ) -> State:
        """Computes the scores that are due, then updates on one minibatch; rates as in `training.optimiser`."""

        def scored(name: str, scores: Score) -> Score:
            every = self.scores[name] or self.steps
            unknown = Score(*(jnp.full_like(values[0], jnp.nan) for values in scores))
            due = iteration % every == 0
            score = lax.cond(due, lambda: self._score(state.params, data, name), lambda: unknown)
            slot = iteration // every
            return jax.tree.map(
                lambda values, new: values.at[slot].set(jnp.where(due, new, values[slot])), scores, score
            )

        scores = {name: scored(name, found) for name, found in state.scores.items()}
        order, chosen = self.batches.draw(state.order, iteration)
        gradient, noted = self._gradient(state.params, data["train_images"][chosen], data["train_labels"][chosen])
        update = optimiser(self.optimiser_name, state.params, learning_rate, learning_rate_a, learning_rate_b)
        changes, kept = update.update(gradient, state.optimiser, state.params)
        return State(
            state.done + 1,
            optax.apply_updates(state.params, changes),
            kept,
            order,
            scores,
            jax.tree.map(lambda values, new: values.at[iteration].set(new), state.notes, noted),
        )

    def summarise(self, state: State, data: Data) -> dict[str, Any]:
        """Returns all scores by set, the notes of every step as "notes", and the report as "learned".

        The last scores are those of the learned params. They are NaN if the number of steps made is not `steps`.
        """
        complete = state.done == self.steps
        found: dict[str, Any] = {}
        for name in self.scores:
            last = jax.tree.map(lambda x: jnp.where(complete, x, jnp.nan), self._score(state.params, data, name))
            if name in state.scores:
                last = jax.tree.map(lambda values, new: values.at[-1].set(new), state.scores[name], last)
            found[name] = last._asdict()
        return {**found, "notes": state.notes, "learned": self.report(state.params)}

    @property
    def observe(self) -> Callable[..., Any] | None:
        """The function (state, **settings of `look`) -> notes of `look`; None without `look`."""
        look = self.look
        if look is None:
            return None
        return _signed(lambda state, **settings: look(state.params, **settings), ("state", *_settings(look)))

    def _score(self, params: Any, data: Data, name: str) -> Score:
        return self.score(params, data[f"{name}_images"], data[f"{name}_labels"])

    def score(self, params: Any, images: jax.Array, labels: jax.Array, *, at_once: int = _AT_ONCE) -> Score:
        """Returns the mean cross-entropy and the accuracy over all images; `at_once` changes only speed and memory.

        Sums have at least 32 bits. If the loss is NaN, so is the accuracy.

        Args:
          params: params of the network.
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


def marks(steps: int, every: int) -> list[int]:
    """Returns the numbers of steps made before every `every`-th step, from 0, and after the last step.

    Examples:
      >>> marks(100, 40)
      [0, 40, 80, 100]
    """
    return [*range(0, steps, every), steps]


def cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy, -log softmax(outputs)[label], over a minibatch.

    Args:
      outputs: (images, classes).
      labels: (images,), from 0.

    Examples:
      >>> print(f"{cross_entropy(jnp.zeros((3, 10)), jnp.arange(3)):.4f}")
      2.3026
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()


def _settings(function: Callable[..., Any]) -> list[str]:
    """Returns the names of the parameters after the first."""
    return list(inspect.signature(function).parameters)[1:]


def _signed(function: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    """Gives a function a signature with these names, from which a sweep reads its settings; returns it."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return function
