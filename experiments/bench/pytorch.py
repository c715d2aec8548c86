"""PyTorch on the three networks: ordinary modules, autograd and SGD in a loop. Needs torch.

XOR(10) is trained one trial after the other. On digits one network is trained.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.cnn.protocol import Protocol as CnnProtocol
from experiments.problems.timing import seconds_of
from experiments.problems.xor10.protocol import LOSS_SCALE, Protocol
from paramact_jax.activations import Activation
from paramact_jax.datasets import xor
from paramact_jax.networks import Params

TRIALS = 4
"""Trials of XOR(10) that are timed; the time of all trials is extrapolated."""

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
"""f by the activation's name; activations with parameters compute a f(y - b)."""


class Node(nn.Module):
    """z = f(y), or a f(y - b) with trainable a and b of shape (features,)."""

    def __init__(self, activation: str, learned: Params) -> None:
        super().__init__()
        self.f = FUNCTIONS[activation]
        self.learned = nn.ParameterDict({name: torch.tensor(value) for name, value in learned.items()})

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Returns z, in the shape of y."""
        return self.learned["a"] * self.f(y - self.learned["b"]) if self.learned else self.f(y)


class RowsFirst(nn.Module):
    """(images, channels, height, width) -> (images, height * width * channels), as the dense layer expects them."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns the flattened maps."""
        return maps.permute(0, 2, 3, 1).flatten(1)


def perceptron(activation: str, params: Params) -> nn.Sequential:
    """Makes the multilayer perceptron with a copy of `params`: NumPy arrays of one network, as Flax has them."""
    hidden = [module for i in range(len(params["hidden"])) for module in _dense(activation, params["hidden"][i])]
    return nn.Sequential(*hidden, _linear(**params["out"]))


def convolutional(combination: str, params: Params, protocol: CnnProtocol) -> nn.Sequential:
    """Makes the agile convolutional network with a copy of `params`, see `perceptron`."""
    conv, dense = combination.split("/")
    pool = nn.MaxPool2d if protocol.pooling == "max" else nn.AvgPool2d
    layers: list[nn.Module] = []
    for i in range(len(params["convolutional"])):
        layer = params["convolutional"][i]
        kernel, learned = layer["conv"]["kernel"], layer.get("activation", {})
        module = nn.Conv2d(*kernel.shape[2:], kernel.shape[0], padding=protocol.padding)
        filled = _filled(module, kernel.transpose(3, 2, 0, 1), layer["conv"]["bias"])
        node = Node(conv, {name: _maps_first(value) for name, value in learned.items()})
        layers += [filled, node, pool(protocol.pool_size)]
    return nn.Sequential(*layers, RowsFirst(), *_dense(dense, params["dense"]), _linear(**params["out"]))


def on_xor(record: Activation, params: Params, protocol: Protocol) -> Contestant:
    """Makes the contestant that trains the first few trials of `params`, which have a leading axis of trials."""
    trials = min(TRIALS, len(params["out"]["bias"]))
    points, targets = map(torch.tensor, xor())
    rates = protocol.learning_rate, protocol.activation_learning_rate

    def error(model: nn.Module) -> torch.Tensor:
        return ((model(points) - targets) ** 2).mean()

    def trained() -> tuple[float, list[nn.Sequential]]:
        models = [perceptron(record.name, jax.tree.map(lambda x, i=i: np.array(x[i]), params)) for i in range(trials)]
        scale, begin = LOSS_SCALE[protocol.loss], time.perf_counter()
        for model in models:
            _descend(model, lambda _: scale * error(model), range(CHECKED), *rates)  # noqa: B023  # at once
        return time.perf_counter() - begin, models

    def losses() -> np.ndarray:
        return np.array([error(model).item() for model in trained()[1]])

    what = f"loop over trials; extrapolated to {protocol.seeds:,} trials from {trials} trials x {CHECKED} iterations"
    return Contestant("pytorch", what, lambda: trained()[0], losses, trials, CHECKED)


def on_batches(
    model: nn.Sequential,
    settings: Mapping[str, Any],
    chosen: np.ndarray,
    *,
    device: str = "cpu",
    mode: str | None = None,
) -> Contestant:
    """Makes the contestant that trains one network; its losses are those of all test images, before and after: (2, 1).

    Args:
      model: the network with its initial params.
      settings: those of a `Classifier` by plain descent: `data`, `learning_rate`, and `learning_rate_a` for a and b.
      chosen: (steps, batch), the images of each step.
      device: "cpu" or "cuda".
      mode: the mode of `torch.compile`, which the first training calls; None: eager.
    """
    images, labels = _tensors(settings, "train", device)
    batches = torch.tensor(chosen, dtype=torch.int64, device=device)
    model = model.to(device)
    initial = copy.deepcopy(model.state_dict())
    called = model if mode is None else torch.compile(model, mode=mode)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(called(images[batch]), labels[batch])

    def trained(steps: int) -> float:
        model.load_state_dict(initial)
        wait()
        begin = time.perf_counter()
        _descend(model, loss, batches[:steps], settings["learning_rate"], settings["learning_rate_a"])
        wait()
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        test, found = _tensors(settings, "test", device), []
        for steps in (0, CHECKED):
            trained(steps)
            found.append([_score(model, *test)[0]])
        return np.array(found)

    what = f"nn.Module, SGD, eager; {torch.get_num_threads()} threads; one seed, minibatches drawn beforehand"
    return Contestant("pytorch", what, lambda: trained(len(batches)), losses, 1, len(batches))


def scorer(model: nn.Module, settings: Mapping[str, Any]) -> Contestant:
    """Makes the contestant that scores all test images, which counts as an iteration; its losses are (1, 1)."""
    score = functools.partial(_score, model, *_tensors(settings, "test"))
    return Contestant("pytorch", "", lambda: seconds_of(score), lambda: np.array([[score()[0]]]), 1, 1)


def _descend(
    model: nn.Sequential, loss: Callable[[Any], torch.Tensor], batches: Iterable[Any], rate: float, own_rate: float
) -> None:
    """Makes a step of plain descent for each batch; a and b have the rate `own_rate`."""
    own, weights = ([p for x in model if isinstance(x, Node) == is_node for p in x.parameters()] for is_node in (1, 0))
    groups = [{"params": weights, "lr": rate}, {"params": own, "lr": own_rate}]
    optimiser = torch.optim.SGD([group for group in groups if group["params"]])
    for batch in batches:
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()


def _score(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Returns the mean cross-entropy and the accuracy."""
    with torch.no_grad():
        outputs = model(images)
        loss = nn.functional.cross_entropy(outputs, labels)
        return float(loss), float((outputs.argmax(1) == labels).float().mean())


def _tensors(settings: Mapping[str, Any], part: str, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images and labels; images that are not flattened get their one channel first."""
    images, labels = (settings["data"][f"{part}_{which}"] for which in ("images", "labels"))
    images = images[:, None] if images.ndim == 3 else images
    return torch.tensor(images, device=device), torch.tensor(labels, dtype=torch.int64, device=device)


def _dense(activation: str, layer: Params) -> list[nn.Module]:
    return [_linear(**layer["linear"]), Node(activation, layer.get("activation", {}))]


def _linear(kernel: np.ndarray, bias: np.ndarray) -> nn.Linear:
    return _filled(nn.Linear(*kernel.shape), kernel.T, bias)


def _filled(layer: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def _maps_first(parameter: np.ndarray) -> np.ndarray:
    """Moves filters first: (height, width, filters), (filters,) or () -> what can be added to (filters, h, w)."""
    return parameter.transpose(2, 0, 1) if parameter.ndim == 3 else parameter.reshape(-1, 1, 1)
