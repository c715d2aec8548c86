"""Train the trials of many conditions side by side: conditions x seeds on one axis, one program an activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.side_by_side import compile_side_by_side
from experiments.xor10.protocol import HIDDEN_LAYERS, PROTOCOLS, WIDTH
from experiments.xor10.train import CHUNK, model
from experiments.xor10_protocol.grid import Batch, Conditions, Scale
from experiments.xor10_protocol.work import Count, Job, Kind
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import forward, params_of, with_activation
from paramact_jax.sweeps import BLOCK, OverTrials, Progress, run_in_chunks
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.mlp import choose_form
from paramact_jax.training import Settings, State, final, gradient_descent, start

MOST_AT_ONCE = 1_024
"""Trials in one call on a CPU: calls of one shape share a compilation, and a short last one wastes little."""

LEARNING_RATE = PROTOCOLS["recovered"].learning_rate
THRESHOLD = PROTOCOLS["recovered"].threshold

_EXAMPLE = Conditions(Scale("1", 1.0, 1.0), bias_std=0.0, gradient_scale=1.0, batch="full")  # to compile with


class Trial(NamedTuple):
    """What decides one trial of an activation; arrays of many of them have a leading axis."""

    seed: Any
    weight_std: Any
    output_weight_std: Any
    bias_std: Any
    settings: Settings


class Trainer:
    """The compiled programs of all activations and kinds of batch.

    Every number of the conditions is traced, and every call has the same number of trials, so one program serves all
    conditions. A trial is the one that the experiment xor10 trains under the same seed and conditions.

    Args:
      kinds: the programs to compile.
      most_trials: trials that a program will be given in one go, about; decides the size of a call.
      mesh: devices, by default all.
      on_compiled: called after each compilation.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        most_trials: int,
        mesh: Mesh | None = None,
        on_compiled: Callable[[], None] = lambda: None,
    ) -> None:
        mesh = trial_mesh() if mesh is None else mesh
        unit = BLOCK * mesh.size
        if mesh.devices.flat[0].platform == "cpu":  # on an accelerator a call costs its launches, not its trials
            most_trials = min(most_trials, MOST_AT_ONCE)
        self.trials_at_once = -(-most_trials // unit) * unit
        self._first_states = OverTrials(lambda trial, _: _first_state(trial), mesh=mesh)
        example = trials_of([Job(_EXAMPLE, first_seed=0, trials=1)])
        self._programs = compile_side_by_side(
            (
                (kind, _over_trials(*kind, mesh=mesh).compiler(self._begin(kind[0], example), (None, jnp.int32(0))))
                for kind in kinds
            ),
            on_compiled=lambda kind, seconds: on_compiled(),
        )

    def losses(
        self,
        kind: Kind,
        trials: Trial,
        *,
        iterations: int,
        chunk: int = CHUNK,
        on_progress: Callable[[int], None] = lambda iterations: None,
    ) -> np.ndarray:
        """Final mean squared errors of the trials.

        Args:
          kind: one of those compiled.
          trials: as `trials_of` makes them.
          iterations: updates on all points, or passes over the points.
          chunk: iterations a compiled call.
          on_progress: called with iterations x trials made since the last time.
        """
        number = len(trials.seed)
        advance = self._programs[kind]
        losses = []
        for begin in range(0, number, self.trials_at_once):
            group = jax.tree.map(lambda x, at=begin: x[at : at + self.trials_at_once], trials)
            size, done = len(group.seed), 0

            def report(progress: Progress, size: int = size) -> None:
                nonlocal done
                on_progress((progress.done - done) * size)
                done = progress.done

            both = run_in_chunks(
                advance, self._begin(kind[0], group), None, iterations=iterations, chunk=chunk, on_progress=report
            )
            ended: State = final(both[0], advance(both, (None, jnp.int32(1)))[0])
            losses.append(OverTrials.collect(ended.loss, size))
        return np.concatenate(losses)

    def _begin(self, activation: str, trials: Trial) -> tuple[State, Settings]:
        """States before the first update, and settings, in blocks; filled up to a whole call with the last trial."""
        missing = self.trials_at_once - len(trials.seed)
        filled = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], missing)]), trials)
        placed = self._first_states.place(filled)
        blank = self._first_states(placed, None)
        return blank._replace(params=with_activation(blank.params, catalogue.get(activation))), placed.settings


def trials_of(jobs: Sequence[Job]) -> Trial:
    """All trials of some jobs, one job after the other."""
    dtype = jnp.result_type(float)

    def each(of: Callable[[Conditions], float]) -> np.ndarray:
        return np.concatenate([np.full(job.trials, of(job.conditions), dtype) for job in jobs])

    return Trial(
        seed=np.concatenate([np.arange(job.trials, dtype=np.uint32) + np.uint32(job.first_seed) for job in jobs]),
        weight_std=each(lambda conditions: conditions.scale.hidden),
        output_weight_std=each(lambda conditions: conditions.scale.output),
        bias_std=each(lambda conditions: conditions.bias_std),
        settings=Settings(
            learning_rate=each(lambda _: LEARNING_RATE),
            activation_learning_rate=each(lambda _: LEARNING_RATE),
            loss_scale=each(lambda conditions: conditions.loss_scale),
            threshold=each(lambda _: THRESHOLD),
        ),
    )


def counts_of(jobs: Sequence[Job], losses: np.ndarray) -> list[Count]:
    """Outcomes of each job, from the losses of `trials_of(jobs)`."""
    ends = np.cumsum([job.trials for job in jobs])
    return [
        Count(converged=int((own < THRESHOLD).sum()), non_finite=int((~np.isfinite(own)).sum()))
        for own in np.split(losses, ends[:-1])
    ]


def _first_state(trial: Trial) -> State:
    """Initial params of xor10's trial of this seed, without an activation's."""
    params = params_of(model("identity", trial.seed, weight_std=trial.weight_std, bias_std=trial.bias_std))
    output = params_of(model("identity", trial.seed, weight_std=trial.output_weight_std, bias_std=trial.bias_std))
    return start(params | {"out": output["out"]})


def _over_trials(activation: str, batch: Batch, *, mesh: Mesh) -> OverTrials:
    record, (inputs, targets) = catalogue.get(activation), xor()
    form = choose_form([inputs.shape[1], *[WIDTH] * HIDDEN_LAYERS, targets.shape[1]])
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, record),
        inputs,
        targets,
        trials_last=form.trials_last,
        point_by_point=batch == "point",
    )

    def fn(trial: tuple[State, Settings], shared: tuple[None, jax.Array]) -> tuple[State, Settings]:
        state, settings = trial
        return advance(state, settings, shared[1]), settings

    return OverTrials(fn, fused=form.fused, mesh=mesh)
