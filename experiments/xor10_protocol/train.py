"""Train the trials of many conditions side by side: conditions x seeds on one axis, one program an activation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.side_by_side import Sweep, one_after_another
from experiments.xor10.protocol import PROTOCOLS
from experiments.xor10.train import CHUNK, initial_params, settings_of
from experiments.xor10_protocol.grid import Batch, Conditions, Scale
from experiments.xor10_protocol.search import Job, Kind, Tally
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import forward
from paramact_jax.sweeps import BLOCK, Plan, Progress, Training, long_sweep, trial_key
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.training import Settings, final, gradient_descent, start

MOST_AT_ONCE = 1_024
"""Trials in one call on a CPU: calls of one shape share a compilation, and a short last one wastes little."""

LEARNING_RATE = PROTOCOLS["recovered"].learning_rate
THRESHOLD = PROTOCOLS["recovered"].threshold

_EXAMPLE = Conditions(Scale("1", 1.0, 1.0), bias_std=0.0, gradient_scale=1.0, batch="full")  # to compile with


def training(record: Activation, batch: Batch) -> Training:
    """The training of one trial, whose conditions are those at the place `trial` in the arrays `trials`."""
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, record), *xor(), point_by_point=batch == "point"
    )

    def init(key: jax.Array, trial: jax.Array, trials: Mapping[str, jax.Array], starts: Any) -> dict[str, Any]:
        own = {name: values[trial] for name, values in trials.items()}
        std = {"weight": own["weight_std"], "bias": own["bias_std"], "output": own["output_weight_std"]}
        params = initial_params(record, trial_key(own["seed"]), std, starts)
        return {"now": start(params), "loss_scale": own["loss_scale"]}

    def after(state: dict[str, Any], settings: Settings) -> Any:
        return advance(state["now"], settings._replace(loss_scale=state["loss_scale"]), 1)

    return Training(
        init,
        step=lambda state, settings: state | {"now": after(state, settings)},
        summarise=lambda state, settings: {"loss": final(state["now"], after(state, settings)).loss},
    )


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains jobs, with one compiled program for each activation and kind of batch.

    Every number of the conditions is traced, and every call has the same number of trials, so one program serves all
    conditions. A trial is the one that the experiment xor10 trains under the same seed and conditions.

    Attributes:
      most_trials: of the jobs given in one go, about; more are compiled for anew.
      mesh: devices, by default all.
    """

    most_trials: int
    mesh: Mesh = dataclasses.field(default_factory=trial_mesh)

    @property
    def trials_at_once(self) -> int:
        """Trials in one call."""
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        # on an accelerator a call costs its launches, not its trials
        most, unit = min(self.most_trials, MOST_AT_ONCE) if on_cpu else self.most_trials, BLOCK * self.mesh.size
        return -(-most // unit) * unit

    def compile(self, kinds: Sequence[Kind], on_compiled: Callable[[Kind, float], None]) -> None:
        """Compile the programs of all kinds, several at once, by training one trial for an iteration with each."""
        example = [Job(_EXAMPLE, first_seed=0, trials=1)]

        def compile_one(kind: Kind) -> Sweep[Any]:
            return lambda on_plan, _: self.losses(kind, example, iterations=1, on_plan=on_plan)

        one_after_another({kind: compile_one(kind) for kind in kinds}, on_compiled=on_compiled)

    def losses(
        self,
        kind: Kind,
        jobs: Sequence[Job],
        *,
        iterations: int,
        chunk: int = CHUNK,
        directory: Path | None = None,
        on_plan: Callable[[Plan], None] = lambda plan: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> np.ndarray:
        """Final mean squared errors of all trials of some jobs, one job after the other.

        Args:
          kind: activation and kind of batch.
          jobs: of this kind.
          iterations: updates on all points, or passes over the points.
          chunk: iterations a compiled call.
          directory: where to go on from after an interruption.
          on_plan: called before anything runs.
          on_progress: called after every chunk of iterations, which are counted times trials.
        """
        record, number = catalogue.get(kind[0]), sum(job.trials for job in jobs)
        length = 1 << (max(self.most_trials, number, 1_024) - 1).bit_length()  # seldom another, which would recompile
        found = long_sweep(
            training(record, kind[1]),
            [0],
            iterations=iterations,
            axes={"trial": range(max(number, self.trials_at_once))},
            chunk=self.trials_at_once,
            iterations_per_call=chunk,
            directory=directory,
            mesh=self.mesh,
            on_plan=on_plan,
            on_progress=on_progress,
            trials=_trials_of(jobs, length),
            starts=dict(record.params),
            settings=settings_of(PROTOCOLS["recovered"]),
        )
        losses: np.ndarray = found["loss"].values[:number, 0]
        return losses


def _trials_of(jobs: Sequence[Job], length: int) -> dict[str, np.ndarray]:
    """What decides each trial of some jobs, in arrays of this length, filled up with the last trial."""

    def each(of: Callable[[Conditions], float]) -> np.ndarray:
        return np.concatenate([np.full(job.trials, of(job.conditions), jnp.result_type(float)) for job in jobs])

    trials = {
        "seed": np.concatenate([np.arange(job.trials, dtype=np.uint32) + np.uint32(job.first_seed) for job in jobs]),
        "weight_std": each(lambda conditions: conditions.scale.hidden),
        "output_weight_std": each(lambda conditions: conditions.scale.output),
        "bias_std": each(lambda conditions: conditions.bias_std),
        "loss_scale": each(lambda conditions: conditions.loss_scale),
    }
    return {name: np.pad(values, (0, length - len(values)), mode="edge") for name, values in trials.items()}


def counts_of(jobs: Sequence[Job], losses: np.ndarray) -> list[Tally]:
    """Outcomes of each job, from the losses of all of them."""
    ends = np.cumsum([job.trials for job in jobs])
    return [
        Tally(len(own), converged=int((own < THRESHOLD).sum()), non_finite=int((~np.isfinite(own)).sum()))
        for own in np.split(losses, ends[:-1])
    ]
