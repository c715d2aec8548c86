"""Training a classifier on minibatches as three pure functions of one trial, scored on all images on the way."""

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
"""Outputs (images, classes) of params and inputs (images, ...)."""

Data = Mapping[str, jax.Array]
"""Sets of labelled images: "train_images", "train_labels", "test_images", "test_labels", and so on for any name."""

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


class State(NamedTuple):
    """Where the training of one trial stands.

    Attributes:
      done: number of steps made.
      params: of the network.
      optimiser: what the optimiser keeps.
      order: of the images.
      scores: so far, by set, arrays as long as `Classifier.marks`; NaN where they are not known yet.
      notes: of every step, arrays with a leading axis of steps.
    """

    done: jax.Array
    params: Any
    optimiser: Any
    order: Order
    scores: dict[str, Score]
    notes: Any


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Minibatch gradient descent on the mean cross-entropy, by an optimiser of optax.

    `init`, `step` and `summarise` are pure functions of one trial: `sweeps.long_sweep` takes a classifier as it is. The
    images are one setting, `data`, see `Data`, so that they lie on the device once. Labels count the classes from 0;
    nothing looks for others among them.

    Attributes:
      network: (params, images) -> outputs (images, classes).
      initial: (key, **settings) -> params. Its settings are traced, so that a sweep can have axes of them.
      batches: which images a step sees.
      steps: of the training, at least 1.
      scores: which sets are scored: the steps between two scores, of which the first is before step 0 and the last
        after the last step; None: after the last step alone. A score stands for the params before the step of its
        number.
      optimiser_name: see `training.optimiser`.
      gradient: (params, images, labels) -> the gradient of a minibatch's loss, a tree like params, and what is noted
        of the step, a tree of arrays; by default that of the mean cross-entropy, with no notes.
      report: what `summarise` is to tell of the learned params, a dict of arrays by name; by default nothing.
      look: (params, **settings) -> what to note of the params on the way, a tree of arrays: `observe` of a training,
        see `long_sweep`'s `observe_every`.

    Raises:
      ValueError: for an unknown optimiser, and for steps below 1; from `init`, for labels of another number than the
        images, for images of another number than `batches` are drawn from, and for a set that `data` lacks.

    Examples:
      Eight seeds of a linear classifier from two scales of initial weights, all at once:

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
        """Steps made when a set is scored.

        Args:
          name: of a set in `scores` with a number of steps.
        """
        return marks(self.steps, self.scores[name] or self.steps)

    @property
    def init(self) -> Callable[..., State]:
        """(key, data, **settings of `initial`) -> the state before the first step."""

        def init(key: jax.Array, data: Data, **settings: Any) -> State:
            return self._init(key, data, settings)

        return _signed(init, ("key", "data", *_settings(self.initial)))

    def _init(self, key: jax.Array, data: Data, settings: dict[str, Any]) -> State:
        images, labels = (data[f"train_{what}"] for what in ("images", "labels"))
        if not len(images) == len(labels) == self.batches.size:
            raise ValueError(
                f"expected {self.batches.size} training images, as many as `batches` are drawn from, and a label for "
                f"each, got {len(images)} images and {len(labels)} labels"
            )
        for name in self.scores:
            if missing := {f"{name}_images", f"{name}_labels"} - set(data):
                raise ValueError(f"expected {', '.join(sorted(missing))} in data, to score, got {', '.join(data)}")
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
        """The initial params, and the order before the first step; from one half of the key each."""
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
        """Scores that are due, then one update on one minibatch; rates as in `training.optimiser`."""

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
        """All scores by set, "notes" of every step, and the report as "learned".

        The scores of the learned params are the last ones; NaN if another number of steps was made than `steps`.
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
        """(state, **settings of `look`) -> what `look` notes; None without `look`."""
        look = self.look
        if look is None:
            return None
        return _signed(lambda state, **settings: look(state.params, **settings), ("state", *_settings(look)))

    def _score(self, params: Any, data: Data, name: str) -> Score:
        return self.score(params, data[f"{name}_images"], data[f"{name}_labels"])

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


def marks(steps: int, every: int) -> list[int]:
    """Steps made when something is due before every `every`-th of so many steps, and after the last.

    Examples:
      >>> marks(100, 40)
      [0, 40, 80, 100]
    """
    return [*range(0, steps, every), steps]


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


def _settings(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters after the first."""
    return list(inspect.signature(function).parameters)[1:]


def _signed(function: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    """The function with named parameters in its signature, by which a sweep knows its settings."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return function
