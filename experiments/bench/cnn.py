"""`bench cnn`: training images per second of the agile CNN, one seed and five at once, beside a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench.classifiers import Lineup, without_scores
from experiments.bench.contest import CHECKED, ONE_DEVICE, Contestant, Unit, hold, pytorch, without_pytorch
from experiments.bench.measurement import Measurement, say, target
from experiments.problems.cnn.options import pairs
from experiments.problems.cnn.protocol import Protocol
from experiments.problems.digits import Data, DataDir
from experiments.study.imports import at_once
from experiments.study.options import Constraint, Seeds, at_least
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np

    from experiments.problems.cnn import images
    from experiments.problems.cnn.train import classifier, conditions, training

TOLERANCE = 1e-4
"""Relative difference of the losses before training up to which two networks are the same."""
TOLERANCE_TRAINED = 1e-2
"""Likewise after a few steps: where pixels tie for the largest, PyTorch gives the first of them the whole gradient."""


def _known(combination: str) -> bool:
    dataclasses.replace(Protocol(), combinations=pairs([combination])).records()  # raises, with the nearest name
    return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchCnn(Measurement):
    """Measure training images per second of the agile CNN: one seed, 5 seeds at once, a loop in PyTorch if installed.

    About 2 minutes on 2 cores. Prints a table, and writes nothing but the file that --json names. Example: python -m
    experiments bench cnn --combination relu/relu --data synthetic
    """

    combination: Annotated[str, Constraint("CONV/DENSE", _known)] = "parametric_relu/parametric_sigmoid"
    """Activation of the convolutional layers / of the dense hidden layer."""
    steps: Annotated[int, at_least(CHECKED)] = 100
    """Training steps of a run."""
    seeds: Seeds = 5
    """Networks trained at once."""

    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> images.Images:
        """The images."""
        count = Protocol.training_images
        return images.for_training(images.load(self.data, self.data_dir, count), count, Protocol.subset_seed)

    def measure(self, data: images.Images, *, protocol: Protocol | None = None) -> tuple[dict[str, Any], list[Table]]:
        """The training; under the experiment's conditions unless others are given."""
        combination, devices = pairs([self.combination])[0], jax.devices("cpu")
        protocol = dataclasses.replace(
            protocol or Protocol(),
            combinations=(combination,),
            trials=self.seeds,
            training_images=len(data.train_labels),
        )
        skipped = {
            "one_seed_one_device": None if len(devices) > 1 else ONE_DEVICE,
            "pytorch": without_pytorch(combination),
        }
        unit = Unit(
            "images_per_second",
            f"Agile CNN, {self.combination}: training images per second",
            [("one_seed", "pytorch"), ("seeds_at_once", "pytorch")],
            lambda x: 1e6 * protocol.batch_size / x,
            note=f"Steps of a run: {self.steps}; seeds at once: {self.seeds}, whose images are all counted. No scores.",
        )

        def races() -> Iterator[tuple[str, Unit, list[Contestant]]]:
            say("compiling")
            functions = without_scores(classifier(combination, protocol), self.steps)
            settings = {"data": data.settings(), **conditions(protocol)}
            first = functions.batches.steps_per_epoch
            own = Lineup(functions, training(functions), settings, protocol.first_seed, first, self.steps)
            found = own.contestants(self.seeds, devices)
            if not skipped["pytorch"]:
                found.append(pytorch().on_images(combination, own.initial(), protocol, data, own.batches()))
            yield self.combination, unit, found

        def targets(medians: Mapping[str, float]) -> list[dict[str, Any]]:
            one, several = (medians.get(f"{x} / pytorch") for x in ("one_seed", "seeds_at_once"))
            return [
                target("one seed at least as fast as PyTorch", one, lambda x: x >= 1),
                target(f"{self.seeds} seeds at once faster than PyTorch, one after another", several, lambda x: x > 1),
            ]

        parameters = {"steps_a_run": self.steps, "data": data.source, **dataclasses.asdict(protocol)}
        return hold(races(), self.rounds, differ=differ, targets=targets, skipped=skipped, parameters=parameters)


def differ(own: np.ndarray, others: np.ndarray) -> bool:
    """Whether the losses of the first seed, before the training and after a few steps, are others."""
    own, others = own[:, 0], others[:, 0]
    return not (abs(own - others) <= np.array([TOLERANCE, TOLERANCE_TRAINED]) * abs(others)).all()
