"""Who takes part, and the contestants of one activation."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import jax
import numpy as np

from experiments.bench import project, usual, yardstick
from experiments.bench.contest import CHECKED, Contestant
from experiments.bench.yardstick import Yardstick
from experiments.problems.xor10.protocol import Protocol
from experiments.problems.xor10.train import settings_for, training
from paramact_jax.activations import Activation
from paramact_jax.networks import Params
from paramact_jax.sweeps import OverTrials, trial_key
from paramact_jax.sweeps.devices import trial_mesh

_USUAL_SHORTER = 5
"""The usual way, several times slower, runs this many times fewer iterations, so that its runs last about as long."""


@dataclasses.dataclass(frozen=True)
class Lineup:
    """Who trains the trials of a protocol.

    Attributes:
      protocol: the conditions.
      iterations: of a run of the fast contestants.
      devices: those all share.
      program: the yardstick, if given.
      pytorch: None if PyTorch takes part, otherwise why not.
    """

    protocol: Protocol
    iterations: int
    devices: list[jax.Device]
    program: Yardstick | None
    pytorch: str | None

    def contestants(self, record: Activation) -> list[Contestant]:
        """All contestants of one activation, compiled, from the same initial params; this project is the first."""
        rows = self._yardstick_rows(record.name)
        params = (
            self.initial_params(record) if rows is None else yardstick.to_params(rows, parametric=bool(record.params))
        )
        found = [project.contestant(record, params, self.protocol, self.iterations, trial_mesh(self.devices))]
        if self.program is not None and rows is not None:
            found.append(yardstick.contestant(self.program, record.name, rows, self.protocol, self.iterations))
        for devices in [self.devices] if len(self.devices) == 1 else [self.devices[:1], self.devices]:
            found.append(usual.contestant(record, params, self.protocol, self._usual_iterations, devices))
        if self.pytorch is None:
            from experiments.bench import pytorch

            found.append(pytorch.contestant(record, params, self.protocol))
        return found

    def about(self) -> dict[str, dict[str, Any]]:
        """By contestant: what it is and on how much it is measured, or why it is not."""
        cores, trials = len(self.devices), self.protocol.trials

        def whole(what: str, iterations: int) -> dict[str, Any]:
            return {"what": what, "trials": trials, "iterations": iterations, "extrapolated": False}

        program = f"C program on {cores} threads, the C call alone timed"
        return {
            "yardstick": whole(program, self.iterations) if self.program else {"skipped": "not given (--yardstick)"},
            "project": whole(f"the sweep's program on {cores} CPU devices, watching convergence", self.iterations),
            "usual": whole(
                "jax.vmap of the Flax model, optax.sgd, jax.lax.scan, as it is usually written",
                self._usual_iterations,
            ),
            "usual_sharded": whole(f"the same with the trials sharded over {cores} devices", self._usual_iterations)
            if cores > 1
            else {"skipped": "there is one CPU device"},
            "pytorch": self._about_pytorch() if self.pytorch is None else {"skipped": self.pytorch},
        }

    @property
    def _usual_iterations(self) -> int:
        return max(self.iterations // _USUAL_SHORTER, CHECKED + 1)

    def _about_pytorch(self) -> dict[str, Any]:
        from experiments.bench import pytorch

        trials = min(pytorch.TRIALS, self.protocol.trials)
        what = (
            f"loop over trials; extrapolated to {self.protocol.trials:,} trials from {trials} trials x "
            f"{pytorch.ITERATIONS} iterations"
        )
        return {"what": what, "trials": trials, "iterations": pytorch.ITERATIONS, "extrapolated": True}

    def _yardstick_rows(self, name: str) -> np.ndarray | None:
        if self.program is None:
            return None
        return self.program.initial(
            name,
            self.protocol.trials,
            seed=self.protocol.first_seed,
            weight_std=self.protocol.weight_std,
            bias_std=self.protocol.bias_std,
        )

    def initial_params(self, record: Activation) -> Params:
        """Initial params of all trials under an activation."""
        init = training(record).init
        over = OverTrials(
            lambda seed, given: init(trial_key(seed), **given)["now"].params, mesh=trial_mesh(self.devices)
        )
        seeds = np.arange(self.protocol.trials, dtype=np.uint32) + np.uint32(self.protocol.first_seed)
        given = {name: value for name, value in settings_for(self.protocol, record).items() if name != "settings"}
        return OverTrials.collect(over(over.place(seeds), given), self.protocol.trials)


def without_pytorch(asked_for: bool) -> str | None:
    """None if PyTorch can take part, otherwise why not."""
    if not asked_for:
        return "not asked for"
    return None if importlib.util.find_spec("torch") else 'not installed (pip install -e ".[bench]")'
