"""Who takes part in `bench mnist`: this project's programs, and PyTorch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.bench.contest import CHECKED, Contestant
from experiments.bench.lineup import without_pytorch
from experiments.problems.digits import images_of
from experiments.problems.mnist.protocol import Protocol
from experiments.problems.mnist.train import classifier, rates_of
from paramact_jax.datasets import Digits
from paramact_jax.sweeps import OverTrials, trial_key
from paramact_jax.sweeps.arguments import as_arrays
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import FORMS
from paramact_jax.sweeps.storage.state import pack, unpack
from paramact_jax.training import Classifier, State

_NEVER = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Lineup:
    """Who takes part.

    Attributes:
      activation: name.
      protocol: the conditions; its seeds are those trained at once.
      digits: flattened images.
      devices: those to train on.
      least: steps that a run makes at least: whole epochs, each with its shuffle.
    """

    activation: str
    protocol: Protocol
    digits: Digits
    devices: Sequence[jax.Device]
    least: int

    @property
    def first(self) -> int:
        """Number of a run's first step: the beginning of an epoch, without the scores that are due at step 0."""
        return len(self.digits.train_labels) // self.protocol.batch

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return -(-self.least // self.first) * self.first

    @property
    def functions(self) -> Classifier:
        """The training, which never scores."""
        found = classifier(self.activation, self.protocol, len(self.digits.train_labels))
        return dataclasses.replace(found, steps=self.first + self.steps, scores={"test": _NEVER, "train": _NEVER})

    @property
    def pytorch(self) -> str | None:
        """None if PyTorch takes part, otherwise why not."""
        if missing := without_pytorch(True):
            return missing
        from experiments.bench.pytorch import FUNCTIONS

        known = ", ".join(FUNCTIONS)
        return None if self.activation in FUNCTIONS else f"{self.activation} is not written in PyTorch here ({known})"

    def trainers(self) -> list[Contestant]:
        """Contestants that train; their losses are those of all test images, before and after: (2, seeds)."""
        found = [self.project("one_seed", 1, self.devices)]
        if len(self.devices) > 1:
            found.append(self.project("one_seed_one_device", 1, self.devices[:1]))
        found.append(self.project("seeds_at_once", self.protocol.seeds, self.devices))
        if self.pytorch is None:
            from experiments.bench import pytorch_mnist

            params = self.initial_params()
            found.append(
                pytorch_mnist.trainer(self.activation, params, self.protocol, self.digits, self.batches(self.steps))
            )
        return found

    def scorers(self) -> list[Contestant]:
        """Contestants that score all test images with the initial params; their losses are (1, 1)."""
        params = self.initial_params()
        placed = jax.tree.map(jnp.asarray, (params, self.digits.test_images, self.digits.test_labels))
        begin = time.perf_counter()
        score = jax.jit(self.functions.score).lower(*placed).compile()
        compile_seconds = time.perf_counter() - begin

        def run() -> float:
            begin = time.perf_counter()
            jax.block_until_ready(score(*placed))
            return time.perf_counter() - begin

        project = Contestant("project", run, lambda: np.array([[score(*placed).loss]]), 1, 1, compile_seconds)
        if self.pytorch is not None:
            return [project]
        from experiments.bench import pytorch_mnist

        return [project, pytorch_mnist.scorer(self.activation, params, self.digits)]

    def batches(self, steps: int) -> np.ndarray:
        """Images that the first seed sees in the first steps of a run, (steps, batch)."""
        functions = self.functions
        _, order = functions.start(trial_key(self.protocol.first_seed))
        numbers = self.first + jnp.arange(steps, dtype=jnp.int32)
        return np.asarray(lax.scan(functions.batches.draw, order, numbers)[1])

    def about(self, contestants: Sequence[Contestant]) -> dict[str, Any]:
        """By contestant: what it is, or why it is not there."""
        devices, seeds = len(self.devices), self.protocol.seeds
        program = "the experiment's program: minibatches drawn inside, gradient range noted, no scores"
        skipped = {"skipped": "there is one CPU device"}
        compiled = {found.name: {"compile_seconds": found.compile_seconds} for found in contestants}
        what = {
            "one_seed": {"what": f"{program}; spread over {devices} CPU devices as the experiment does"},
            "one_seed_one_device": {"what": "the same on one CPU device alone"} if devices > 1 else skipped,
            "seeds_at_once": {"what": f"the same as the first, {seeds} seeds"},
            "project": {"what": "the scores of that program, compiled alone, on one CPU device"},
            "pytorch": self._about_pytorch(),
        }
        return {name: about | compiled.get(name, {}) for name, about in what.items()}

    def _about_pytorch(self) -> dict[str, Any]:
        if self.pytorch is not None:
            return {"skipped": self.pytorch}
        import torch

        threads = torch.get_num_threads()
        return {"what": f"nn.Module, SGD, eager; {threads} threads; one seed, minibatches drawn beforehand"}

    def initial_params(self) -> Any:
        """Initial params of the first seed."""
        return jax.tree.map(np.asarray, self.functions.start(trial_key(self.protocol.first_seed))[0])

    def project(self, name: str, seeds: int, devices: Sequence[jax.Device]) -> Contestant:
        """The program that `long_sweep` makes of the training, compiled, without its saving."""
        functions, mesh = self.functions, trial_mesh(list(devices))

        def init(seed: jax.Array, settings: dict[str, Any]) -> Any:
            return pack(functions.init(trial_key(seed), settings["data"]))

        def advance(state: Any, shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
            settings, begin, end = shared
            return lax.fori_loop(begin, end, lambda i, state: pack(functions.step(unpack(state), i, **settings)), state)

        over, start = (OverTrials(fn, form=FORMS["a trial at a time"], mesh=mesh) for fn in (advance, init))
        settings = over.share(as_arrays({"data": images_of(self.digits), **rates_of(self.protocol)}))
        of_seeds = self.protocol.first_seed + np.arange(seeds, dtype=np.uint32)
        state = start(start.place(of_seeds), settings)
        begin = time.perf_counter()
        program = over.compile(state, (settings, np.int32(0), np.int32(0)), trials=seeds)
        compile_seconds = time.perf_counter() - begin

        def after(steps: int) -> State:
            return jax.block_until_ready(program(state, (settings, np.int32(self.first), np.int32(self.first + steps))))

        def train() -> float:
            begin = time.perf_counter()
            after(self.steps)
            return time.perf_counter() - begin

        def losses() -> np.ndarray:
            score = jax.jit(jax.vmap(functions.score, in_axes=(0, None, None)))
            params = (OverTrials.collect(after(steps).params, seeds) for steps in (0, CHECKED))
            return np.array([score(found, self.digits.test_images, self.digits.test_labels).loss for found in params])

        return Contestant(name, train, losses, seeds, self.steps, compile_seconds)
