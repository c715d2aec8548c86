"""Trains one trial with pure functions."""

from paramact_jax.training.classifier import Classifier, Score, cross_entropy, marks
from paramact_jax.training.gradient_descent import NOT_REACHED, Settings, State, final, gradient_descent, start
from paramact_jax.training.minibatches import Minibatches
from paramact_jax.training.optimisers import optimiser

__all__ = [
    "NOT_REACHED",
    "Classifier",
    "Minibatches",
    "Score",
    "Settings",
    "State",
    "cross_entropy",
    "final",
    "gradient_descent",
    "marks",
    "optimiser",
    "start",
]
