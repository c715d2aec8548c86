"""Trainings on digits as contestants: the program of the experiment, for one seed and for several at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.bench.contest import CHECKED, Contestant, compiled
from experiments.study.imports import at_once

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    from paramact_jax.networks import Params
    from paramact_jax.sweeps import OverTrials, trial_key
    from paramact_jax.sweeps.arguments import accepted, as_arrays
    from paramact_jax.sweeps.devices import trial_mesh
    from paramact_jax.sweeps.forms import FORMS
    from paramact_jax.sweeps.storage.state import pack, unpack
    from paramact_jax.training import Classifier


@dataclasses.dataclass(frozen=True)
class Lineup:
    """The training of a network on digits, to be compiled for any number of seeds.

    Attributes:
      classifier: the training, see `lineup_of`.
      settings: what that takes, by name: the images as `data`, the learning rates.
      first_seed: of the seeds.
      first: number of a run's first step.
      steps: of a run.
    """

    classifier: Classifier
    settings: Mapping[str, Any]
    first_seed: int
    first: int
    steps: int

    def contestant(self, name: str, what: str, seeds: int, devices: Sequence[jax.Device]) -> Contestant:
        """The program that `long_sweep` makes of the training, without its saving.

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
            score = jax.jit(lambda params, *test: lax.map(lambda one: self.classifier.score(one, *test).loss, params))
            return np.array([score(OverTrials.collect(after(n).params, seeds), *test) for n in (0, CHECKED)])

        return compiled(name, what, build, losses, seeds, self.steps)

    def contestants(self, seeds: int, devices: Sequence[jax.Device]) -> list[Contestant]:
        """One seed, on one device too where there are several, and all seeds at once."""
        what = "the experiment's program: minibatches drawn inside, notes of every step, no scores; spread over"
        found = [self.contestant("one_seed", f"{what} {len(devices)} CPU devices as the experiment does", 1, devices)]
        if len(devices) > 1:
            what = "the same on one CPU device alone"
            found.append(self.contestant("one_seed_one_device", what, 1, devices[:1]))
        return [*found, self.contestant("seeds_at_once", f"the same as the first, {seeds} seeds", seeds, devices)]

    def initial(self) -> Params:
        """Initial params of the first seed."""
        return jax.tree.map(np.asarray, self._start()[0])

    def batches(self) -> np.ndarray:
        """Images that the first seed sees in a run, (steps, batch)."""
        numbers = self.first + jnp.arange(self.steps, dtype=jnp.int32)
        return np.asarray(lax.scan(self.classifier.batches.draw, self._start()[1], numbers)[1])

    def _start(self) -> tuple[Params, Any]:
        return self.classifier.start(trial_key(self.first_seed), **accepted(self.classifier.initial, self.settings))


def lineup_of(classifier: Classifier, settings: Mapping[str, Any], first_seed: int, steps: int) -> Lineup:
    """A training whose runs begin with the second epoch and never score: scores are due at step 0."""
    first, scores = classifier.batches.steps_per_epoch, dict.fromkeys(classifier.scores, 2**31 - 1)
    never = dataclasses.replace(classifier, steps=first + steps, scores=scores)
    return Lineup(never, settings, first_seed, first, steps)
