"""`bench mnist`: training steps per second of this project, one seed and several at once, beside a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench.classifiers import Lineup, lineup_of
from experiments.bench.contest import ONE_DEVICE, Contestant, Unit, compiled, hold, pytorch, without_pytorch
from experiments.bench.measurement import Measurement, say, target
from experiments.problems.digits import Data, DataDir, load
from experiments.problems.mnist.protocol import PROTOCOLS, Protocol
from experiments.study.imports import at_once
from experiments.study.options import ACTIVATION, Seeds, Steps
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.problems.digits import images_of
    from experiments.problems.mnist.train import classifier_of, rates_of
    from paramact_jax.datasets import Digits

TOLERANCE = 1e-4
"""Relative difference up to which two losses are the same."""
TOLERANCE_OF_CHANGE = 1e-2
"""Likewise of what the first steps change them by, which with some activations is less than that difference."""
TO_PYTORCH = 1.5
"""One seed is to make at least this many times PyTorch's steps per second."""
TO_SINGLE_RUNS = 1.3
"""Seeds at once are to make at least this many times the steps per second of single runs, one after another."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchMnist(Measurement):
    """Measure training steps per second on digits: one seed, 8 seeds at once, and a loop in PyTorch if installed.

    About 2 minutes on 2 cores. Prints tables, and writes nothing but the file that --json names. Example: python -m
    experiments bench mnist --activation relu --data-dir ~/data/mnist
    """

    activation: Annotated[str, ACTIVATION] = "ppns"
    """Name of the activation."""
    steps: Steps = 500
    """Steps of a run, at least: whole epochs."""
    seeds: Seeds = 8
    """Networks trained at once."""

    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Digits:
        """The images."""
        digits = load(self.data, self.data_dir)
        self._protocol().check(len(digits.train_labels))
        return digits

    def measure(self, data: Digits) -> tuple[dict[str, Any], list[Table]]:
        """The training, then scores of all test images."""
        devices, protocol = jax.devices("cpu"), self._protocol()
        own = lineup(self.activation, protocol, data, self.steps)
        skipped = {
            "one_seed_one_device": None if len(devices) > 1 else ONE_DEVICE,
            "pytorch": without_pytorch([self.activation]),
        }
        single = ("one_seed", "one_seed_one_device")
        title = f"Digits, {self.activation}: training steps of one seed per second"
        note = f"Steps of a run: {own.steps}; seeds at once: {self.seeds}, whose steps are all counted."
        pairs = [*((x, "pytorch") for x in single), *(("seeds_at_once", x) for x in (*single, "pytorch"))]
        steps = Unit("seed_steps_per_second", title, pairs, lambda x: 1e6 / x, note=note)
        title = "A score of all test images: milliseconds"
        scores = Unit("score_milliseconds", title, [("pytorch", "project")], lambda x: x / 1e3, ".1f")

        def races() -> Iterator[tuple[str, Unit, list[Contestant]]]:
            say("compiling")
            trainers, scorers = own.contestants(self.seeds, devices), [scorer(own)]
            if not skipped["pytorch"]:
                params = own.initial()
                trainers.append(pytorch().on_digits(self.activation, params, protocol, data, own.batches()))
                scorers.append(pytorch().digits_scorer(self.activation, params, data))
            yield self.activation, steps, trainers
            yield self.activation, scores, scorers

        def targets(medians: Mapping[str, float]) -> list[dict[str, Any]]:
            beside = f"one seed at least {TO_PYTORCH:g}x PyTorch", medians.get("one_seed / pytorch")
            to_single = min(found for pair, found in medians.items() if pair.startswith("seeds_at_once / one_seed"))
            text = (
                f"{self.seeds} seeds at once at least {TO_SINGLE_RUNS:g}x {self.seeds} single runs of the faster kind"
            )
            return [
                target(*beside, lambda x: x >= TO_PYTORCH),
                target(text, to_single, lambda x: x >= TO_SINGLE_RUNS),
            ]

        parameters = {"steps_a_run": own.steps, "data": data.source, **dataclasses.asdict(protocol)}
        return hold(races(), self.rounds, differ=differ, targets=targets, skipped=skipped, parameters=parameters)

    def _protocol(self) -> Protocol:
        return dataclasses.replace(PROTOCOLS["recovered"], seeds=self.seeds, activations=(self.activation,))


def differ(own: np.ndarray, others: np.ndarray) -> bool:
    """Whether the losses of the first seed, or how they change by training, are others."""
    own, others = own[:, 0], others[:, 0]
    same = np.isclose(own, others, rtol=TOLERANCE, atol=0).all()
    return not (same and np.isclose(np.diff(own), np.diff(others), rtol=TOLERANCE_OF_CHANGE, atol=0).all())


def lineup(activation: str, protocol: Protocol, digits: Digits, least: int) -> Lineup:
    """The training of a protocol, at least so many steps a run: whole epochs, each with its shuffle."""
    epoch = len(digits.train_labels) // protocol.batch
    steps = -(-least // epoch) * epoch
    settings = {"data": images_of(digits), **rates_of(protocol)}
    return lineup_of(classifier_of(activation, protocol, digits), settings, protocol.first_seed, steps)


def scorer(own: Lineup) -> Contestant:
    """Scores all test images with the initial params, which counts as an iteration; its losses are (1, 1)."""
    data = own.settings["data"]
    placed = jax.tree.map(jnp.asarray, (own.initial(), data["test_images"], data["test_labels"]))

    def build() -> Callable[[int], Any]:
        score = jax.jit(own.classifier.score).lower(*placed).compile()
        return lambda _: score(*placed)

    what = "the scores of that program, compiled alone, on one CPU device"
    return compiled("project", what, build, lambda after: np.array([[after(1).loss]]), 1, 1)
