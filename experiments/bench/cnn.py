"""`bench cnn`: training images per second of the agile CNN, one seed and five at once, beside a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench.classifiers import lineup_of
from experiments.bench.contest import CHECKED, ONE_DEVICE, Contestant, Unit, hold, pytorch, without_pytorch
from experiments.bench.measurement import Measurement, say, target
from experiments.problems.cnn.protocol import COMBINATION, Protocol
from experiments.problems.digits import Data, DataDir
from experiments.study.imports import at_once
from experiments.study.options import Seeds, at_least
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np

    from experiments.problems.cnn.networks import for_training, load
    from experiments.problems.cnn.train import classifier, conditions
    from experiments.problems.digits import images_of
    from paramact_jax.datasets import Digits

TOLERANCE = 1e-4
"""Relative difference of the losses before training up to which two networks are the same."""
TOLERANCE_TRAINED = 1e-2
"""Likewise after a few steps: where pixels tie for the largest, PyTorch gives the first of them the whole gradient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchCnn(Measurement):
    """Measure training images per second of the agile CNN: one seed, 5 seeds at once, a loop in PyTorch if installed.

    About 2 minutes on 2 cores. Prints a table, and writes nothing but the file that --json names. Example: python -m
    experiments bench cnn --combination relu/relu --data synthetic
    """

    combination: Annotated[str, COMBINATION] = "parametric_relu/parametric_sigmoid"
    """Activation of the convolutional layers / of the dense hidden layer."""
    steps: Annotated[int, at_least(CHECKED)] = 100
    """Training steps of a run."""
    seeds: Seeds = 5
    """Networks trained at once."""

    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Digits:
        """The images."""
        count = Protocol.training_images
        return for_training(load(self.data, self.data_dir, count), count, Protocol.subset_seed)

    def measure(self, data: Digits, *, protocol: Protocol | None = None) -> tuple[dict[str, Any], list[Table]]:
        """The training; under the experiment's conditions unless others are given."""
        devices, images = jax.devices("cpu"), len(data.train_labels)
        protocol = dataclasses.replace(protocol or Protocol(), seeds=self.seeds, training_images=images).resolved()
        skipped = {
            "one_seed_one_device": None if len(devices) > 1 else ONE_DEVICE,
            "pytorch": without_pytorch(self.combination.split("/")),
        }
        unit = Unit(
            "images_per_second",
            f"Agile CNN, {self.combination}: training images per second",
            [("one_seed", "pytorch"), ("seeds_at_once", "pytorch")],
            lambda x: 1e6 * protocol.batch / x,
            note=f"Steps of a run: {self.steps}; seeds at once: {self.seeds}, whose images are all counted. No scores.",
        )

        def races() -> Iterator[tuple[str, Unit, list[Contestant]]]:
            say("compiling")
            settings = {"data": images_of(data), **conditions(protocol)}
            own = lineup_of(classifier(self.combination, protocol), settings, protocol.first_seed, self.steps)
            found = own.contestants(self.seeds, devices)
            if not skipped["pytorch"]:
                found.append(pytorch().on_images(self.combination, own.initial(), protocol, data, own.batches()))
            yield self.combination, unit, found

        def targets(medians: Mapping[str, float]) -> list[dict[str, Any]]:
            one, several = (medians.get(f"{x} / pytorch") for x in ("one_seed", "seeds_at_once"))
            return [
                target("one seed at least as fast as PyTorch", one, lambda x: x >= 1),
                target(f"{self.seeds} seeds at once faster than PyTorch, one after another", several, lambda x: x > 1),
            ]

        parameters = {"steps_a_run": self.steps, "data": data.source, "combination": self.combination}
        parameters |= dataclasses.asdict(protocol)
        return hold(races(), self.rounds, differ=differ, targets=targets, skipped=skipped, parameters=parameters)


def differ(own: np.ndarray, others: np.ndarray) -> bool:
    """Whether the losses of the first seed, before the training and after a few steps, are others."""
    own, others = own[:, 0], others[:, 0]
    return not (abs(own - others) <= np.array([TOLERANCE, TOLERANCE_TRAINED]) * abs(others)).all()
