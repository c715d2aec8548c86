"""PyTorch on the agile convolutional network: an ordinary module, trained in an eager loop. Needs torch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.bench.contest import CHECKED, Contestant
from experiments.bench.pytorch import FUNCTIONS, Node, linear
from experiments.problems.cnn.protocol import FILTERS, Protocol
from paramact_jax.datasets import Digits
from paramact_jax.networks import Params


class RowsFirst(nn.Module):
    """(images, channels, height, width) -> (images, height * width * channels), as the dense layer expects them."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return maps.permute(0, 2, 3, 1).flatten(1)


def network(combination: str, params: Params, protocol: Protocol) -> nn.Sequential:
    """The network of one trial, holding a copy of `params`.

    Args:
      combination: of `bench.pytorch.FUNCTIONS`.
      params: of one network, NumPy arrays.
      protocol: the conditions.
    """
    conv, dense = combination.split("/")
    pool = nn.MaxPool2d if protocol.pooling == "max" else nn.AvgPool2d
    layers: list[nn.Module] = []
    for i in range(len(FILTERS)):
        layer = params["convolutional"][i]
        learned = {name: _maps_first(value) for name, value in layer.get("activation", {}).items()}
        layers += [
            _convolution(layer["conv"], protocol.padding),
            Node(FUNCTIONS[conv], learned),
            pool(protocol.pool_size),
        ]
    hidden = params["dense"]
    layers += [RowsFirst(), linear(**hidden["linear"]), Node(FUNCTIONS[dense], hidden.get("activation", {}))]
    return nn.Sequential(*layers, linear(**params["out"]))


def trainer(combination: str, params: Params, protocol: Protocol, images: Digits, chosen: np.ndarray) -> Contestant:
    """PyTorch, ready to train one network; its losses are those of the test images, before and after: (2, 1).

    Args:
      combination: of `bench.pytorch.FUNCTIONS`.
      params: initial ones of one network, NumPy arrays.
      protocol: the conditions.
      images: to train and to check with.
      chosen: (steps, batch), the images of each step.
    """
    pictures, labels = _tensors(images.train_images, images.train_labels)
    tested = _tensors(images.test_images, images.test_labels)
    batches = torch.tensor(chosen, dtype=torch.int64)

    rate = protocol.resolved().activation_learning_rate

    def trained(steps: int) -> tuple[nn.Module, float]:
        model = network(combination, params, protocol)
        own = [p for layer in model if isinstance(layer, Node) for p in layer.parameters()]
        weights = [p for layer in model if not isinstance(layer, Node) for p in layer.parameters()]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": own, "lr": rate}]
        optimiser = torch.optim.SGD([group for group in groups if group["params"]], lr=protocol.learning_rate)
        begin = time.perf_counter()
        for batch in batches[:steps]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(pictures[batch]), labels[batch]).backward()
            optimiser.step()
        return model, time.perf_counter() - begin

    def losses() -> np.ndarray:
        models = [trained(steps)[0] for steps in (0, CHECKED)]
        with torch.no_grad():
            return np.array([[float(nn.functional.cross_entropy(model(tested[0]), tested[1]))] for model in models])

    return Contestant("pytorch", lambda: trained(len(batches))[1], losses, 1, len(batches))


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with their one channel first."""
    return torch.tensor(images[:, None]), torch.tensor(labels, dtype=torch.int64)


def _maps_first(parameter: np.ndarray) -> np.ndarray:
    """(height, width, filters), (filters,) or () -> the same with filters first, to stand beside (filters, h, w)."""
    return parameter.transpose(2, 0, 1) if parameter.ndim == 3 else parameter.reshape(-1, 1, 1)


def _convolution(params: Params, padding: str) -> nn.Conv2d:
    kernel = params["kernel"]
    layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding=padding)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor(params["bias"]))
    return layer
