"""Eight trainings as users write them, to time ways to run their trials.

Each is a pure function `train_one(key, **settings)` of one trial. None of them knows of trials, blocks or this
project's sweeps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.bench.trainings import loops, networks
from experiments.bench.trainings.networks import TrainOne


@dataclasses.dataclass(frozen=True)
class Training:
    """A training and the trials to time it on.

    Attributes:
      name: how it is labelled.
      what: the model, the data and the optimiser in a few words.
      make: makes the function of a number of iterations, or of epochs or episodes.
      iterations: how many `fn` makes.
      trials: how many are timed together.
      settings: what `fn` takes beside the key.
      result: a number in the results of `fn` that says how well it went.
      fn: the function of one trial.
    """

    name: str
    what: str
    make: Callable[[int], TrainOne]
    iterations: int
    trials: int
    settings: Mapping[str, Any]
    result: str = "loss"
    fn: TrainOne = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fn", self.make(self.iterations))

    def small(self) -> Training:
        """The same training so short that it takes no time, for tests."""
        return self.of(iterations=3, trials=8)

    def of(self, *, iterations: int, trials: int) -> Training:
        """The same training with another number of iterations and trials."""
        return dataclasses.replace(self, iterations=iterations, trials=trials)


TRAININGS = {
    training.name: training
    for training in (
        Training(
            "deep narrow network",
            "nnx, PPNS, 10 hidden layers of 2 nodes, 4 points, gradient descent",
            networks.deep_narrow,
            1_500,
            1_024,
            {"learning_rate": 0.05},
        ),
        Training(
            "logistic regression",
            "3 weights, 16 points, gradient descent",
            networks.logistic_regression,
            6_000,
            1_024,
            {"learning_rate": 0.1},
        ),
        Training(
            "MLP of 32 nodes with Adam",
            "linen, 2 hidden layers of 32 nodes, 64 points, Adam",
            networks.adam_mlp,
            200,
            256,
            {"learning_rate": 0.01},
        ),
        Training(
            "shuffled minibatches",
            "a hidden layer of 16 nodes, 128 points, batches of 16 in a new order each epoch, momentum",
            networks.minibatches,
            75,
            512,
            {"learning_rate": 0.05},
        ),
        Training(
            "small CNN",
            "nnx, 8 channels of 3 x 3, pooling, 64 images of 8 x 8, batches of 16, Adam",
            networks.small_cnn,
            5,
            128,
            {"learning_rate": 0.003},
        ),
        Training(
            "recurrent network",
            "a gated cell of 8 nodes, 16 sequences of 16 steps, Adam",
            loops.recurrent,
            30,
            256,
            {"learning_rate": 0.02},
        ),
        Training(
            "PINN",
            "2 layers of 16 tanh nodes, second derivatives at 32 points, Adam",
            loops.pinn,
            150,
            256,
            {"learning_rate": 0.01},
        ),
        Training(
            "episode with while and cond",
            "policy of 4 x 8 weights, a cart and pole until it falls, 200 steps at most, policy gradient",
            loops.episodes,
            100,
            1_024,
            {"learning_rate": 0.5},
            "usual",
        ),
    )
}
"""By name."""


def chosen(parts: Sequence[str]) -> list[Training]:
    """The trainings whose names have these parts, each once; all if there are none.

    Raises:
      ValueError: in one line, for a part that is not in exactly one name.
    """
    found = {}
    for part in parts:
        names = [name for name in TRAININGS if part.lower() in name.lower()]
        if len(names) != 1:
            raise ValueError(f"--trainings: expected a part of one of {', '.join(TRAININGS)}; got {part}")
        found[names[0]] = TRAININGS[names[0]]
    return list((found or TRAININGS).values())
