"""One small network of the tests' zoo, with everything that is needed to call it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A network as its users write it, and what was counted in it by hand.

    A site is one place in the traced program that applies an activation. A block that is called three times makes
    three, the body of a scan makes one. `activations` are the names of what is to be made trainable, in order.

    Attributes:
      model: an nnx module, a linen module, or a function f(variables, *args, **kwargs).
      args: an example.
      activations: functions to be found.
      loss: of the result.
      variables: of a linen module or function.
      kwargs: an example.
      gates: how many gates of recurrent cells there are.
      batched: whether axis 0 of every array among `args` is the batch.
    """

    model: Any
    args: tuple[Any, ...]
    activations: list[str]
    loss: Callable[[Any], jax.Array]
    variables: Any = None
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    gates: int = 0
    batched: bool = True

    @property
    def example(self):
        """What follows the model among the arguments of `parametrise`."""
        return self.args if isinstance(self.model, nnx.Module) else (self.variables, *self.args)

    def run(self, *args):
        """The model's result, for the example or other arguments."""
        args, kwargs = args or self.args, dict(self.kwargs)
        if isinstance(self.model, nnx.Module):
            return getattr(nnx.clone(self.model), kwargs.pop("method", "__call__"))(*args, **kwargs)
        if isinstance(self.model, linen.Module):
            return self.model.apply(self.variables, *args, **kwargs)
        return self.model(self.variables, *args, **kwargs)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def weight(seed, fan_in, fan_out):
    return normal(seed, fan_in, fan_out) / fan_in**0.5


def mean_square(result):
    return sum(jnp.mean(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(result))


def to_ones(result):
    return mean_square(result - 1)


def classes(logits):
    labels = jnp.arange(logits.shape[0]) % logits.shape[-1]
    return -jax.nn.log_softmax(logits.astype(jnp.float32))[jnp.arange(logits.shape[0]), labels].mean()
