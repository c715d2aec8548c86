"""`bench mnist` and `bench cnn`: this project, with one seed and with several at once, and a loop in PyTorch.

All train the same network from the same initial params on the same minibatches, on the CPU.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench import contest
from experiments.bench.contest import CHECKED, Contestant, Measurement, Race, Unit
from experiments.problems.cnn.protocol import COMBINATION
from experiments.problems.cnn.protocol import Protocol as CnnProtocol
from experiments.problems.digits import Data, DataDir, load
from experiments.problems.mnist.protocol import PROTOCOLS, Protocol
from experiments.study.imports import at_once
from experiments.study.options import ACTIVATION, Seeds, Steps, at_least
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    from experiments.problems.cnn import networks
    from experiments.problems.cnn.train import classifier, conditions
    from experiments.problems.digits import images_of
    from experiments.problems.mnist.train import classifier_of, rates_of
    from experiments.problems.timing import without_scores
    from paramact_jax.datasets import Digits
    from paramact_jax.networks import Params
    from paramact_jax.sweeps import OverTrials, trial_key
    from paramact_jax.sweeps.arguments import accepted, as_arrays
    from paramact_jax.sweeps.devices import trial_mesh
    from paramact_jax.sweeps.forms import FORMS
    from paramact_jax.sweeps.storage.state import pack, unpack
    from paramact_jax.training import Classifier

TO_PYTORCH = 1.5
"""Target: one seed makes at least this many times PyTorch's steps per second on MNIST."""
TO_SINGLE_RUNS = 1.3
"""Target: seeds at once make at least this many times the steps per second of single runs, one after another."""


@dataclasses.dataclass(frozen=True)
class Lineup:
    """The training of a network on digits, to be compiled for any number of seeds.

    Attributes:
      network: (params) -> the same network in PyTorch.
      classifier: the training, see `lineup`.
      settings: the settings of the training, by name: the images as `data`, the learning rates.
      first_seed: the first of the seeds.
      first: the number of a run's first step.
      steps: the number of steps of a run.
    """

    network: Callable[[Params], Any]
    classifier: Classifier
    settings: Mapping[str, Any]
    first_seed: int
    first: int
    steps: int

    def contestant(self, name: str, what: str, seeds: int, devices: Sequence[jax.Device]) -> Contestant:
        """Compiles the program that `long_sweep` makes of the training; it saves nothing.

        Its losses are those of all test images, before and after `CHECKED` steps: (2, seeds).
        """
        own, mesh = self.classifier, trial_mesh(list(devices))

        def init(seed: jax.Array, settings: dict[str, Any]) -> Any:
            return pack(own.init(trial_key(seed), **accepted(own.init, settings)))

        def advance(state: Any, shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
            settings, begin, end = shared
            taken = accepted(own.step, settings)
            return lax.fori_loop(begin, end, lambda i, state: pack(own.step(unpack(state), i, **taken)), state)

        over, begun = (OverTrials(fn, form=FORMS["a trial at a time"], mesh=mesh) for fn in (advance, init))
        settings = over.share(as_arrays(self.settings))
        state = begun(begun.place(self.first_seed + np.arange(seeds, dtype=np.uint32)), settings)

        def build() -> Callable[[int], Any]:
            program = over.compile(state, (settings, np.int32(0), np.int32(0)), trials=seeds)
            return lambda steps: program(state, (settings, np.int32(self.first), np.int32(self.first + steps)))

        def losses(after: Callable[[int], Any]) -> np.ndarray:
            test = [self.settings["data"][f"test_{which}"] for which in ("images", "labels")]
            score = jax.jit(lambda params, *test: lax.map(lambda one: own.score(one, *test).loss, params))
            return np.array([score(OverTrials.collect(after(n).params, seeds), *test) for n in (0, CHECKED)])

        return contest.compiled(name, what, build, losses, seeds, self.steps)

    def contestants(self, seeds: int, devices: Sequence[jax.Device]) -> list[Contestant]:
        """Compiles one seed on all devices, one seed on one device where there are several, and all seeds at once."""
        what = "the experiment's program: minibatches drawn inside, notes of every step, no scores; spread over"
        found = [self.contestant("one_seed", f"{what} {len(devices)} CPU devices as the experiment does", 1, devices)]
        if len(devices) > 1:
            what = "the same on one CPU device alone"
            found.append(self.contestant("one_seed_one_device", what, 1, devices[:1]))
        return [*found, self.contestant("seeds_at_once", f"the same as the first, {seeds} seeds", seeds, devices)]

    def initial(self) -> Params:
        """Returns the initial params of the first seed."""
        return jax.tree.map(np.asarray, self._start()[0])

    def batches(self) -> np.ndarray:
        """Returns the images that the first seed sees in a run, (steps, batch)."""
        numbers = self.first + jnp.arange(self.steps, dtype=jnp.int32)
        return np.asarray(lax.scan(self.classifier.batches.draw, self._start()[1], numbers)[1])

    def in_pytorch(self, **how: Any) -> Contestant:
        """Makes the contestant in which PyTorch trains the first seed; for `how` see `pytorch.on_batches`."""
        return contest.pytorch().on_batches(self.network(self.initial()), self.settings, self.batches(), **how)

    def scorer(self) -> Contestant:
        """Compiles the score of all test images with the initial params, which counts as an iteration.

        Its losses are (1, 1).
        """
        data = self.settings["data"]
        placed = jax.tree.map(jnp.asarray, (self.initial(), data["test_images"], data["test_labels"]))

        def build() -> Callable[[int], Any]:
            score = jax.jit(self.classifier.score).lower(*placed).compile()
            return lambda _: score(*placed)

        what = "the scores of that program, compiled alone, on one CPU device"
        return contest.compiled("project", what, build, lambda after: np.array([[after(1).loss]]), 1, 1)

    def _start(self) -> tuple[Params, Any]:
        return self.classifier.start(trial_key(self.first_seed), **accepted(self.classifier.initial, self.settings))


def lineup(
    network: Callable[[Params], Any], classifier: Classifier, settings: Mapping[str, Any], first_seed: int, steps: int
) -> Lineup:
    """Makes a training whose runs begin with the second epoch and never score."""
    first = classifier.batches.steps_per_epoch
    return Lineup(network, without_scores(classifier, first + steps), settings, first_seed, first, steps)


def on_mnist(activation: str, protocol: Protocol, digits: Digits, least: int) -> Lineup:
    """Makes the perceptron's training. A run has at least `least` steps: whole epochs, each with its shuffle."""
    epoch = len(digits.train_labels) // protocol.batch
    return lineup(
        lambda params: contest.pytorch().perceptron(activation, params),
        classifier_of(activation, protocol, digits),
        {"data": images_of(digits), **rates_of(protocol)},
        protocol.first_seed,
        math.ceil(least / epoch) * epoch,
    )


def differ(own: np.ndarray, others: np.ndarray, *, after: float | None = None) -> bool:
    """Returns whether losses of the first seed before and after a few steps, (2, seeds), are those of another training.

    Args:
      own: losses of one contestant; (1, 1) where nothing is trained.
      others: losses of another contestant.
      after: the relative difference up to which losses after the steps count as equal. None: 1e-4, as before the steps.
        Then the change of the loss, which is less than that with some activations, must also be equal up to 1e-2.
    """
    own, others = own[:, 0], others[:, 0]
    same = abs(own - others) <= np.array([1e-4, after or 1e-4])[: len(own)] * abs(others)
    changes = np.isclose(np.diff(own), np.diff(others), rtol=1e-2, atol=0)
    return not (same.all() and (after is not None or changes.all()))


class _OnDigits(Measurement):
    """What both benches do."""

    if TYPE_CHECKING:
        seeds: int

    def held(
        self,
        name: str,
        own: Lineup,
        unit: Unit,
        parameters: Mapping[str, Any],
        *,
        scores: Unit | None = None,
        after: float | None = None,
    ) -> tuple[dict[str, Any], list[Table]]:
        """Measures one seed, seeds at once and PyTorch; then scores of all test images, if they have a unit.

        `name` names the activations. For `after` see `differ`.
        """
        devices, missing = jax.devices("cpu"), contest.without_pytorch(name.split("/"))

        def races() -> Iterator[Race]:
            contest.say("compiling")
            yield name, unit, own.contestants(self.seeds, devices) + ([] if missing else [own.in_pytorch()])
            if scores:
                theirs = [] if missing else [contest.pytorch().scorer(own.network(own.initial()), own.settings)]
                yield name, scores, [own.scorer(), *theirs]

        skipped = {"one_seed_one_device": contest.only_one(devices), "pytorch": missing}
        about, other = {"steps_a_run": own.steps, **parameters}, functools.partial(differ, after=after)
        return contest.hold(races(), self.rounds, differ=other, skipped=skipped, parameters=about)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchMnist(_OnDigits):
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
        """Loads the images."""
        digits = load(self.data, self.data_dir)
        self._protocol().check(len(digits.train_labels))
        return digits

    def measure(self, data: Digits) -> tuple[dict[str, Any], list[Table]]:
        """Measures the training, then scores of all test images."""
        protocol, single = self._protocol(), ("one_seed", "one_seed_one_device")
        own = on_mnist(self.activation, protocol, data, self.steps)
        several = [f"seeds_at_once / {x}" for x in single]
        faster = f"{self.seeds} seeds at once at least {TO_SINGLE_RUNS:g}x {self.seeds} single runs of the faster kind"
        unit = Unit(
            "seed_steps_per_second",
            f"Digits, {self.activation}: training steps of one seed per second",
            [*(f"{x} / pytorch" for x in single), *several, "seeds_at_once / pytorch"],
            lambda x: 1e6 / x,
            [
                (f"one seed at least {TO_PYTORCH:g}x PyTorch", ["one_seed / pytorch"], lambda x: x >= TO_PYTORCH),
                (faster, several, lambda x: x >= TO_SINGLE_RUNS),
            ],
            note=f"Steps of a run: {own.steps}; seeds at once: {self.seeds}, whose steps are all counted.",
        )
        title = "A score of all test images: milliseconds"
        scores = Unit("score_milliseconds", title, ["pytorch / project"], lambda x: x / 1e3, form=".1f")
        parameters = {"data": data.source, **dataclasses.asdict(protocol)}
        return self.held(self.activation, own, unit, parameters, scores=scores)

    def _protocol(self) -> Protocol:
        return dataclasses.replace(PROTOCOLS["recovered"], seeds=self.seeds, activations=(self.activation,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchCnn(_OnDigits):
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
        """Loads the images."""
        count = CnnProtocol.training_images
        images = networks.load(self.data, self.data_dir, count)
        return networks.for_training(images, count, CnnProtocol.subset_seed)

    def measure(self, data: Digits, *, protocol: CnnProtocol | None = None) -> tuple[dict[str, Any], list[Table]]:
        """Measures the training, under the experiment's conditions unless others are given."""
        count, protocol = len(data.train_labels), protocol or CnnProtocol()
        protocol = dataclasses.replace(protocol, seeds=self.seeds, training_images=count).resolved()
        settings = {"data": images_of(data), **conditions(protocol)}
        own = lineup(
            lambda params: contest.pytorch().convolutional(self.combination, params, protocol),
            classifier(self.combination, protocol),
            settings,
            protocol.first_seed,
            self.steps,
        )
        one, several = "one_seed / pytorch", "seeds_at_once / pytorch"
        unit = Unit(
            "images_per_second",
            f"Agile CNN, {self.combination}: training images per second",
            [one, several],
            lambda x: 1e6 * protocol.batch / x,
            [
                ("one seed at least as fast as PyTorch", [one], lambda x: x >= 1),
                (f"{self.seeds} seeds at once faster than PyTorch, one after another", [several], lambda x: x > 1),
            ],
            note=f"Steps of a run: {self.steps}; seeds at once: {self.seeds}, whose images are all counted. No scores.",
        )
        parameters = {"data": data.source, "combination": self.combination, **dataclasses.asdict(protocol)}
        # where pixels tie for the largest, PyTorch gives the first of them the whole gradient
        return self.held(self.combination, own, unit, parameters, after=1e-2)
