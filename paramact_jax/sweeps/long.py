"""Sweep a long training: one iteration is the user's function, the sweep drives it, shows progress and saves."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from paramact_jax.sweeps.arguments import accepted, as_arrays, check_call, check_names, has_parameter
from paramact_jax.sweeps.dataset import check_results, named
from paramact_jax.sweeps.engine import Call, Options, Work, check_count, execute
from paramact_jax.sweeps.grid import Grid, make_grid, trial_key
from paramact_jax.sweeps.memory import Plan
from paramact_jax.sweeps.stepwise import Progress
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import describe_sweep
from paramact_jax.sweeps.storage.state import check_same_kind, from_named, pack, to_named, unpack
from paramact_jax.sweeps.trials import BLOCK, OverTrials

if TYPE_CHECKING:
    import xarray as xr

MOST_ITERATIONS = 2**31 - 1
ITERATION = "iteration"
_NO_AXES: Mapping[str, Iterable[Any]] = {}


@dataclasses.dataclass(frozen=True)
class Training:
    """A training in three pure, vmappable functions of one trial.

    Each is given those of the settings and axes that it has parameters for.

    Attributes:
      init: (key, **settings) -> state: any tree of arrays, random keys included.
      step: (state, **settings) -> state: one iteration; tree, shapes and dtypes stay. If it has a parameter
        `iteration`, it is given the number of iterations made before, the same for all trials: a `jax.lax.cond` on it
        stays a branch, on every kind of device.
      summarise: (state, **settings) -> results: any tree of arrays.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    summarise: Callable[..., Any]


def long_sweep(
    training: Training,
    seeds: Iterable[int],
    *,
    iterations: int,
    axes: Mapping[str, Iterable[Any]] = _NO_AXES,
    chunk: int | None = None,
    iterations_per_call: int | None = None,
    directory: Path | str | None = None,
    seconds_between_saves: float = 30.0,
    fused: bool = False,
    block: int = BLOCK,
    mesh: Mesh | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Run `iterations` steps of a training for every seed at every point of the axes.

    As `sweep`, with these differences.

    Args:
      training: the three functions.
      seeds: as in `sweep`.
      iterations: steps of every trial, at least 0.
      axes: as in `sweep`; the parameters are those of the three functions.
      chunk: as in `sweep`: the first `chunk` trials make all their iterations, then the next.
      iterations_per_call: steps in one compiled call, by default a hundredth of them: between calls progress is
        reported and the state saved. All calls share one program, and the results do not depend on it.
      directory: as in `sweep`; beside finished parts of the trials, the last two states of the unfinished one are kept.
      seconds_between_saves: a state is saved at the end of a call, when so many seconds have passed since the last.
      fused: as in `sweep`.
      block: as in `sweep`.
      mesh: as in `sweep`.
      on_plan: as in `sweep`.
      on_progress: as in `sweep`, but `done` counts iterations times trials.
      settings: as in `sweep`.

    Returns:
      As `sweep`, of what `training.summarise` returns.

    Raises:
      ValueError: as `sweep`, or if a step returns another kind of state than it was given.
      OSError: as `sweep`.

    Examples:
      >>> import jax
      >>> training = Training(
      ...     init=lambda key: {"w": jax.random.normal(key, (2,))},
      ...     step=lambda state, learning_rate: {"w": state["w"] - learning_rate * 2 * (state["w"] - 3)},
      ...     summarise=lambda state: {"error": abs(state["w"] - 3).max()},
      ... )
      >>> results = long_sweep(training, range(100), iterations=1000, axes={"learning_rate": [0.001, 0.01]})
      >>> results["error"].dims, bool((results["error"].sel(learning_rate=0.01) < 1e-5).all())
      (('learning_rate', 'seed'), True)
    """
    functions: dict[str, Any] = {
        field.name: getattr(training, field.name, None) for field in dataclasses.fields(Training)
    }
    check_call(functions)
    grid = make_grid(axes, seeds)
    provided = {"step": ITERATION} if has_parameter(training.step, ITERATION) else {}
    check_names(functions, grid.labels, settings, provided=provided)
    if check_count("iterations", iterations, 0) > MOST_ITERATIONS:
        raise ValueError(f"iterations: expected at most {MOST_ITERATIONS}, got {iterations}")
    options = Options.of(
        grid,
        chunk=chunk,
        block=block,
        mesh=mesh,
        directory=directory,
        on_plan=on_plan,
        on_progress=on_progress,
        seconds_between_saves=seconds_between_saves,
    )
    if iterations_per_call is None:
        per_call = max(-(-iterations // 100), 1)
    else:
        per_call = min(check_count("iterations_per_call", iterations_per_call, 1), MOST_ITERATIONS)
    shared = as_arrays(settings)
    programs = _Programs(training, grid, shared, fused, options)
    results = programs.results(options.chunk)
    check_results({name: len(x.shape) for name, x in results.items()}, grid.dims)
    work = Work(
        results,
        units=max(iterations, 1),
        bytes_for=programs.bytes_for,
        run=lambda call: programs.run(call, iterations, per_call),
    )
    configuration = describe_sweep(
        functions,
        grid,
        shared,
        mesh=options.mesh,
        fused=fused,
        block=options.block,
        chunk=options.chunk,
        iterations=iterations,
    )
    return execute(grid, work, configuration, options)


class _Programs:
    """The three functions over the trials of one sweep."""

    def __init__(
        self, training: Training, grid: Grid, settings: Mapping[str, Any], fused: bool, options: Options
    ) -> None:
        self._grid = grid
        self._init, self._advance, self._summarise = _over_trials(training, fused, options.block, options.mesh)
        self._settings = self._init.share(settings)

    def results(self, trials: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of one trial's results, found with so many trials a call."""
        return OverTrials.one_of(self._summarise.outputs(self._shapes(trials), self._settings))

    def bytes_for(self, trials: int) -> int:
        """Bytes on each device while so many trials run: of the three programs the one that takes most."""
        started = self._init.blocks_of(self._grid.one(), trials)
        standing = self._shapes(trials)
        return max(
            self._init.memory(started, self._settings),
            self._advance.memory(standing, (self._settings, np.int32(0), np.int32(0))),
            self._summarise.memory(standing, self._settings),
        )

    def run(self, call: Call, iterations: int, per_call: int) -> Arrays:
        """Results of a part of the trials."""
        part, trials = call.part, len(call.part)
        started = self._init.place(self._grid.part(part.start, part.stop), room=call.room)
        if call.begun is None:
            done, state = 0, self._init(started, self._settings, trials=trials)
        else:
            saved = from_named(call.begun.state, self._shapes(call.room)["state"])
            done, state = call.begun.iteration, self._init.place(saved, room=call.room)
        standing = {"state": state, "axes": started["axes"]}

        def gather() -> Arrays:
            return to_named(OverTrials.collect(standing["state"], trials))

        while done < iterations:
            steps = min(per_call, iterations - done)
            shared = self._settings, np.int32(done), np.int32(done + steps)
            standing["state"] = jax.block_until_ready(self._advance(standing, shared, trials=trials))
            done += steps
            if done < iterations:  # after the last come the results
                call.checkpoints.save_state(part, done, gather)
                call.on_units(done)
        return OverTrials.collect(self._summarise(standing, self._settings, trials=trials), trials)

    def _shapes(self, trials: int) -> dict[str, Any]:
        started = self._init.blocks_of(self._grid.one(), trials)
        return {"state": self._init.outputs(started, self._settings), "axes": started["axes"]}


@functools.lru_cache(maxsize=64)
def _over_trials(training: Training, fused: bool, block: int, mesh: Mesh) -> tuple[OverTrials, OverTrials, OverTrials]:
    def called(fn: Callable[..., Any], first: Any, *values: Mapping[str, Any]) -> Any:
        return fn(first, **accepted(fn, {name: x for given in values for name, x in given.items()}))

    def init(trial: dict[str, Any], settings: dict[str, Any]) -> Any:
        return pack(called(training.init, trial_key(trial["seed"]), trial["axes"], settings))

    def advance(trial: dict[str, Any], shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
        settings, begin, end = shared

        def step(iteration: jax.Array, before: Any) -> Any:
            own = {ITERATION: iteration} if has_parameter(training.step, ITERATION) else {}
            after = pack(called(training.step, unpack(before), trial["axes"], settings, own))
            check_same_kind(before, after)
            return after

        return lax.fori_loop(begin, end, step, trial["state"])

    def summarise(trial: dict[str, Any], settings: dict[str, Any]) -> dict[str, jax.Array]:
        return named(called(training.summarise, unpack(trial["state"]), trial["axes"], settings))

    return (
        OverTrials(init, fused=fused, block=block, mesh=mesh),
        OverTrials(advance, fused=fused, block=block, mesh=mesh),
        OverTrials(summarise, fused=fused, block=block, mesh=mesh),
    )
