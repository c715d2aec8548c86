"""PyTorch: an ordinary module, autograd and SGD, one trial after the other. Needs torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.xor10.protocol import LOSS_SCALE, Protocol
from paramact_jax.activations import Activation
from paramact_jax.datasets import xor
from paramact_jax.networks import Params

TRIALS = 4
"""Trials that are timed; the others are extrapolated."""

ITERATIONS = 10
"""Iterations that are timed."""

Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: dict[str, Function] = {
    "sigmoid": torch.sigmoid,
    "parametric_sigmoid": torch.sigmoid,
    "ppns": lambda u: torch.sigmoid(u) - 0.5,
    "tanh": torch.tanh,
    "parametric_tanh": torch.tanh,
    "relu": torch.relu,
    "parametric_relu": lambda u: torch.where(u >= 0, u, 0.0),
}
"""f by the activation's name; those with parameters compute a f(y - b)."""


class Node(nn.Module):
    """z = f(y), or a f(y - b) with trainable a and b of shape (features,)."""

    def __init__(self, f: Function, learned: Params) -> None:
        super().__init__()
        self.f = f
        self.learned = nn.ParameterDict({name: torch.tensor(value) for name, value in learned.items()})

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Shape of y."""
        return self.learned["a"] * self.f(y - self.learned["b"]) if self.learned else self.f(y)


def network(activation: str, params: Params) -> nn.Sequential:
    """The multilayer perceptron of one trial, holding a copy of `params`.

    Args:
      activation: one of `FUNCTIONS`.
      params: of one network, NumPy arrays.
    """
    layers: list[nn.Module] = []
    for i in range(len(params["hidden"])):
        hidden = params["hidden"][i]
        layers += [linear(**hidden["linear"]), Node(FUNCTIONS[activation], hidden.get("activation", {}))]
    return nn.Sequential(*layers, linear(**params["out"]))


def linear(kernel: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """The affine map with a copy of these arrays, as Flax has them."""
    layer = nn.Linear(*kernel.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel.T))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def contestant(record: Activation, params: Params, protocol: Protocol) -> Contestant:
    """PyTorch, ready to train the first few trials of `params`, which have a leading axis of trials."""
    few = jax.tree.map(lambda x: np.array(x[:TRIALS]), params)
    trials = len(few["out"]["bias"])
    points, targets = map(torch.tensor, xor())
    scale = LOSS_SCALE[protocol.loss]

    def networks() -> list[nn.Sequential]:
        return [network(record.name, jax.tree.map(lambda x, i=i: x[i], few)) for i in range(trials)]

    def mean_squared_error(model: nn.Module) -> torch.Tensor:
        return ((model(points) - targets) ** 2).mean()

    def train_one(model: nn.Sequential, iterations: int) -> None:
        weights = [p for layer in model if isinstance(layer, nn.Linear) for p in layer.parameters()]
        learned = [p for layer in model if isinstance(layer, Node) for p in layer.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": weights},
            {"params": learned, "lr": protocol.activation_learning_rate},
        ]
        optimiser = torch.optim.SGD(groups, lr=protocol.learning_rate)
        for _ in range(iterations):
            optimiser.zero_grad()
            (scale * mean_squared_error(model)).backward()
            optimiser.step()

    def train() -> float:
        models = networks()
        begin = time.perf_counter()
        for model in models:
            train_one(model, ITERATIONS)
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        models = networks()
        for model in models:
            train_one(model, CHECKED)
        with torch.no_grad():
            return np.array([float(mean_squared_error(model)) for model in models])

    return Contestant("pytorch", train, losses, trials, ITERATIONS)
