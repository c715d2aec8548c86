"""A training of a classifier whose units are looked at on the way, as pure functions of one trial."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from paramact_jax.activations import Activation
from paramact_jax.networks import forward_with_values
from paramact_jax.training import Classifier
from paramact_jax.training.classifier import State


class Seen(NamedTuple):
    """What a look at the units of all hidden layers finds.

    Attributes:
      steepest: largest |dz/dy| over the probe images, (layers, nodes): 0 for a dead unit, however it died. NaN where
        y or a slope is not finite.
      high: whether z is above 0 for some probe image, (layers, nodes): a dead unit of ReLU6 that is stuck at 6.
    """

    steepest: jax.Array
    high: jax.Array


class Watched(NamedTuple):
    """Where a watched training stands.

    Attributes:
      training: the state of the classifier's.
      seen: what was found so far, arrays with a leading axis of looks.
    """

    training: State
    seen: Seen


@dataclasses.dataclass(frozen=True)
class Watch:
    """`init`, `step` and `summarise` of a classifier for `sweeps.Training`, with looks at its units between steps.

    A look stands for the params before the step of its number, as a score does.

    Attributes:
      classifier: the training; its network is that of the params of an MLP.
      activation: the record in every hidden layer.
      looks: number of looks: one before every `every`-th step, and one after the last.
      every: steps between two looks.
    """

    classifier: Classifier
    activation: Activation
    looks: int
    every: int

    def init(
        self, key: jax.Array, train_images: jax.Array, train_labels: jax.Array, probe_images: jax.Array
    ) -> Watched:
        """The state before the first step."""
        training = self.classifier.init(key, train_images, train_labels)
        one = jax.eval_shape(self.look, training.params, probe_images)
        return Watched(training, jax.tree.map(lambda x: jnp.zeros((self.looks, *x.shape), x.dtype), one))

    def step(
        self,
        state: Watched,
        iteration: jax.Array,
        train_images: jax.Array,
        train_labels: jax.Array,
        test_images: jax.Array,
        test_labels: jax.Array,
        probe_images: jax.Array,
        learning_rate: ArrayLike,
    ) -> Watched:
        """A look if one is due, then a step of the classifier's."""

        def looked() -> Seen:
            now = self.look(state.training.params, probe_images)
            return jax.tree.map(lambda all_of_it, x: all_of_it.at[iteration // self.every].set(x), state.seen, now)

        seen = lax.cond(iteration % self.every == 0, looked, lambda: state.seen)
        images = train_images, train_labels, test_images, test_labels
        return Watched(self.classifier.step(state.training, iteration, *images, learning_rate), seen)

    def summarise(
        self,
        state: Watched,
        train_images: jax.Array,
        train_labels: jax.Array,
        test_images: jax.Array,
        test_labels: jax.Array,
        probe_images: jax.Array,
        held_out_images: jax.Array,
        held_out_labels: jax.Array,
    ) -> dict[str, Any]:
        """What the classifier's training tells, the score of images held out, and all looks.

        The last train score is of as many images as probes.
        """
        few = len(probe_images)  # nobody asks for the score of all training images, which would take longest
        images = train_images[:few], train_labels[:few], test_images, test_labels
        last = self.look(state.training.params, probe_images)
        seen = jax.tree.map(lambda all_of_it, x: all_of_it.at[-1].set(x), state.seen, last)
        held_out = self.classifier.score(state.training.params, held_out_images, held_out_labels)
        found = self.classifier.summarise(state.training, *images)
        return found | {"held_out": held_out._asdict(), "seen": seen._asdict()}

    def look(self, params: Any, images: jax.Array) -> Seen:
        """The state of all units.

        Args:
          params: of the network.
          images: probe images, (images, in_features).
        """
        _, values = forward_with_values(params, images, self.activation)
        found = [self._layer(params["hidden"][i].get("activation", {}), y) for i, y in enumerate(values)]
        return Seen(*map(jnp.stack, zip(*found, strict=True)))

    def _layer(self, own: dict[str, jax.Array], y: jax.Array) -> Seen:
        parameters: dict[str, Any] = dict(self.activation.params) | {name: x[None] for name, x in own.items()}
        slopes = jnp.abs(self.activation.derivative(y, **parameters))
        # a maximum of numbers alone: on a CPU one over NaN may pass over it
        numbers = jnp.all(jnp.isfinite(y) & jnp.isfinite(slopes), axis=0)
        steepest = jnp.where(numbers, slopes.max(axis=0), jnp.nan)
        return Seen(steepest, jnp.any(self.activation.fn(y, **parameters) > 0, axis=0))
