"""PyTorch on the three networks: ordinary modules, autograd and SGD in a loop. Needs torch.

Of XOR(10) one trial is trained after the other, in all others one network.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from experiments.bench.contest import CHECKED, Contestant
from experiments.bench.measurement import seconds_of
from experiments.problems.cnn.protocol import FILTERS
from experiments.problems.cnn.protocol import Protocol as CnnProtocol
from experiments.problems.mnist.protocol import Protocol as MnistProtocol
from experiments.problems.xor10.protocol import LOSS_SCALE
from experiments.problems.xor10.protocol import Protocol as XorProtocol
from paramact_jax.activations import Activation
from paramact_jax.datasets import Digits, xor
from paramact_jax.networks import Params

TRIALS = 4
"""Trials of XOR(10) that are timed; the others are extrapolated."""
ITERATIONS = 10
"""Iterations of these that are timed."""

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


class RowsFirst(nn.Module):
    """(images, channels, height, width) -> (images, height * width * channels), as the dense layer expects them."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return maps.permute(0, 2, 3, 1).flatten(1)


def perceptron(activation: str, params: Params) -> nn.Sequential:
    """The multilayer perceptron with a copy of `params`: NumPy arrays of one network, as Flax has them."""
    layers: list[nn.Module] = []
    for i in range(len(params["hidden"])):
        layers += _dense(activation, params["hidden"][i])
    return nn.Sequential(*layers, _linear(**params["out"]))


def convolutional(combination: str, params: Params, protocol: CnnProtocol) -> nn.Sequential:
    """The agile convolutional network, as `perceptron`."""
    conv, dense = combination.split("/")
    pool = nn.MaxPool2d if protocol.pooling == "max" else nn.AvgPool2d
    layers: list[nn.Module] = []
    for i in range(len(FILTERS)):
        layer = params["convolutional"][i]
        learned = {name: _maps_first(value) for name, value in layer.get("activation", {}).items()}
        kernel = layer["conv"]["kernel"]
        module = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding=protocol.padding)
        filled = _filled(module, kernel.transpose(3, 2, 0, 1), layer["conv"]["bias"])
        layers += [filled, Node(FUNCTIONS[conv], learned), pool(protocol.pool_size)]
    return nn.Sequential(*layers, RowsFirst(), *_dense(dense, params["dense"]), _linear(**params["out"]))


def on_xor(record: Activation, params: Params, protocol: XorProtocol) -> Contestant:
    """Ready to train the first few trials of `params`, which have a leading axis of trials."""
    few = jax.tree.map(lambda x: np.array(x[:TRIALS]), params)
    trials = len(few["out"]["bias"])
    points, targets = map(torch.tensor, xor())
    scale = LOSS_SCALE[protocol.loss]

    def networks() -> list[nn.Sequential]:
        return [perceptron(record.name, jax.tree.map(lambda x, i=i: x[i], few)) for i in range(trials)]

    def mean_squared_error(model: nn.Module) -> torch.Tensor:
        return ((model(points) - targets) ** 2).mean()

    def train_all(models: list[nn.Sequential], iterations: int) -> None:
        for model in models:
            optimiser = _two_rates(model, protocol.learning_rate, protocol.activation_learning_rate)
            _descend(optimiser, lambda _: scale * mean_squared_error(model), range(iterations))  # noqa: B023  # at once

    def train() -> float:
        models = networks()
        return seconds_of(lambda: train_all(models, ITERATIONS))

    def losses() -> np.ndarray:
        models = networks()
        train_all(models, CHECKED)
        with torch.no_grad():
            return np.array([float(mean_squared_error(model)) for model in models])

    of_all = f"extrapolated to {protocol.seeds:,} trials from {trials} trials x {ITERATIONS} iterations"
    return Contestant("pytorch", f"loop over trials; {of_all}", train, losses, trials, ITERATIONS)


def on_digits(
    activation: str,
    params: Params,
    protocol: MnistProtocol,
    digits: Digits,
    chosen: np.ndarray,
    *,
    device: str = "cpu",
    mode: str | None = None,
) -> Contestant:
    """Ready to train one perceptron; its losses are those of all test images, before and after: (2, 1).

    Args:
      activation: one of `FUNCTIONS`.
      params: initial ones of one network, NumPy arrays.
      protocol: plain gradient descent, with one learning rate for all params; others are refused.
      digits: flattened images.
      chosen: (steps, batch), the images of each step.
      device: "cpu" or "cuda".
      mode: of `torch.compile`, which the first training calls; None: eager.
    """
    rates = {protocol.learning_rate, protocol.learning_rate_a, protocol.learning_rate_b}
    if protocol.optimiser != "sgd" or len(rates) > 1:
        raise ValueError(f"expected sgd with one learning rate, got {protocol.optimiser} with {sorted(rates)}")

    def optimiser(model: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(model.parameters(), lr=protocol.learning_rate)

    return _on_batches(perceptron(activation, params), optimiser, digits, chosen, device=device, mode=mode)


def on_images(
    combination: str, params: Params, protocol: CnnProtocol, images: Digits, chosen: np.ndarray
) -> Contestant:
    """Ready to train one convolutional network, as `on_digits`."""
    own_rate = protocol.resolved().activation_learning_rate

    def optimiser(model: nn.Module) -> torch.optim.SGD:
        return _two_rates(model, protocol.learning_rate, own_rate)

    return _on_batches(convolutional(combination, params, protocol), optimiser, images, chosen)


def digits_scorer(activation: str, params: Params, digits: Digits) -> Contestant:
    """Ready to score all test images once, which counts as an iteration; its losses are (1, 1)."""
    model, test = perceptron(activation, params), _tensors(digits.test_images, digits.test_labels)

    def score() -> float:
        return _score(model, *test)[0]

    return Contestant("pytorch", "", lambda: seconds_of(score), lambda: np.array([[score()]]), 1, 1)


def _on_batches(
    model: nn.Module,
    optimiser_of: Callable[[nn.Module], torch.optim.SGD],
    data: Digits,
    chosen: np.ndarray,
    *,
    device: str = "cpu",
    mode: str | None = None,
) -> Contestant:
    images, labels = (x.to(device) for x in _tensors(data.train_images, data.train_labels))
    batches = torch.tensor(chosen, dtype=torch.int64, device=device)
    model = model.to(device)
    initial = copy.deepcopy(model.state_dict())
    called = model if mode is None else torch.compile(model, mode=mode)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(called(images[batch]), labels[batch])

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def trained(steps: int) -> float:
        model.load_state_dict(initial)
        optimiser = optimiser_of(model)
        wait()
        begin = time.perf_counter()
        _descend(optimiser, loss, batches[:steps])
        wait()
        return time.perf_counter() - begin

    def losses() -> np.ndarray:
        test = [x.to(device) for x in _tensors(data.test_images, data.test_labels)]
        found = []
        for steps in (0, CHECKED):
            trained(steps)
            found.append([_score(model, *test)[0]])
        return np.array(found)

    what = f"nn.Module, SGD, eager; {torch.get_num_threads()} threads; one seed, minibatches drawn beforehand"
    return Contestant("pytorch", what, lambda: trained(len(batches)), losses, 1, len(batches))


def _descend(optimiser: torch.optim.SGD, loss: Callable[[Any], torch.Tensor], batches: Iterable[Any]) -> None:
    for batch in batches:
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()


def _two_rates(model: nn.Module, rate: float, own_rate: float | None) -> torch.optim.SGD:
    own = [p for layer in model.children() if isinstance(layer, Node) for p in layer.parameters()]
    weights = [p for layer in model.children() if not isinstance(layer, Node) for p in layer.parameters()]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": own, "lr": own_rate}]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=rate)


def _score(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    with torch.no_grad():
        outputs = model(images)
        loss = nn.functional.cross_entropy(outputs, labels)
        return float(loss), float((outputs.argmax(1) == labels).float().mean())


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that are not flattened get their one channel first."""
    return torch.tensor(images[:, None] if images.ndim == 3 else images), torch.tensor(labels, dtype=torch.int64)


def _dense(activation: str, layer: Params) -> list[nn.Module]:
    return [_linear(**layer["linear"]), Node(FUNCTIONS[activation], layer.get("activation", {}))]


def _linear(kernel: np.ndarray, bias: np.ndarray) -> nn.Linear:
    return _filled(nn.Linear(*kernel.shape), kernel.T, bias)


def _filled(layer: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def _maps_first(parameter: np.ndarray) -> np.ndarray:
    """(height, width, filters), (filters,) or () -> the same with filters first, to stand beside (filters, h, w)."""
    return parameter.transpose(2, 0, 1) if parameter.ndim == 3 else parameter.reshape(-1, 1, 1)
