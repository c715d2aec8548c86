"""PyTorch on digits: the same network as an ordinary module, trained in a loop, eager or compiled. Needs torch."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from torch import nn

from experiments.bench.contest import CHECKED, Contestant
from experiments.bench.pytorch import network
from experiments.problems.mnist.protocol import Protocol
from paramact_jax.datasets import Digits
from paramact_jax.networks import Params

NAME = "pytorch"


def trainer(
    activation: str,
    params: Params,
    protocol: Protocol,
    digits: Digits,
    chosen: np.ndarray,
    *,
    device: str = "cpu",
    mode: str | None = None,
) -> Contestant:
    """PyTorch, ready to train one network; its losses are those of all test images, before and after: (2, 1).

    Args:
      activation: one of `bench.pytorch.FUNCTIONS`.
      params: initial ones of one network, NumPy arrays.
      protocol: plain gradient descent, with one learning rate for all params.
      digits: flattened images.
      chosen: (steps, batch), the images of each step.
      device: "cpu" or "cuda".
      mode: of `torch.compile`, which the first training calls; None: eager.

    Raises:
      ValueError: for other conditions than these.
    """
    rates = {protocol.learning_rate, protocol.learning_rate_a, protocol.learning_rate_b}
    if protocol.optimiser != "sgd" or len(rates) > 1:
        raise ValueError(f"expected sgd with one learning rate, got {protocol.optimiser} with {sorted(rates)}")
    images = torch.tensor(digits.train_images, device=device)
    labels = torch.tensor(digits.train_labels, dtype=torch.int64, device=device)
    batches = torch.tensor(chosen, dtype=torch.int64, device=device)
    model = network(activation, params).to(device)
    initial = copy.deepcopy(model.state_dict())
    called = model if mode is None else torch.compile(model, mode=mode)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def trained(steps: int) -> tuple[nn.Module, float]:
        model.load_state_dict(initial)
        optimiser = torch.optim.SGD(model.parameters(), lr=protocol.learning_rate)
        wait()
        begin = time.perf_counter()
        for batch in batches[:steps]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(called(images[batch]), labels[batch]).backward()
            optimiser.step()
        wait()
        return model, time.perf_counter() - begin

    def losses() -> np.ndarray:
        test = [x.to(device) for x in _test(digits)]
        return np.array([[_score(trained(steps)[0], *test)[0]] for steps in (0, CHECKED)])

    return Contestant(NAME, lambda: trained(len(batches))[1], losses, 1, len(batches))


def scorer(activation: str, params: Params, digits: Digits) -> Contestant:
    """PyTorch, ready to score all test images once, which counts as an iteration; its losses are (1, 1)."""
    model, test = network(activation, params), _test(digits)

    def score() -> float:
        begin = time.perf_counter()
        _score(model, *test)
        return time.perf_counter() - begin

    return Contestant(NAME, score, lambda: np.array([[_score(model, *test)[0]]]), 1, 1)


def _test(digits: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(digits.test_images), torch.tensor(digits.test_labels, dtype=torch.int64)


def _score(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    with torch.no_grad():
        outputs = model(images)
        loss = nn.functional.cross_entropy(outputs, labels)
        return float(loss), float((outputs.argmax(1) == labels).float().mean())
