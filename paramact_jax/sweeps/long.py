"""Sweep a long training: one iteration is the user's function, the sweep drives it, shows progress and saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from paramact_jax.programs.program import Program, afresh, shapes_of, trace
from paramact_jax.sweeps.arguments import accepted, as_arrays, check_call, check_names, has_parameter
from paramact_jax.sweeps.dataset import ITERATION, check_results, named
from paramact_jax.sweeps.engine import Call, Options, Work, check_count, execute
from paramact_jax.sweeps.forms import Form
from paramact_jax.sweeps.grid import Grid, make_grid, trial_key
from paramact_jax.sweeps.memory import Plan
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import describe_sweep
from paramact_jax.sweeps.storage.state import check_same_kind, from_named, pack, to_named, unpack
from paramact_jax.sweeps.trials import OverTrials, over_trials

if TYPE_CHECKING:
    import xarray as xr

MOST_ITERATIONS = 2**31 - 1
_NO_AXES: Mapping[str, Iterable[Any]] = {}


@dataclasses.dataclass(frozen=True)
class Training:
    """A training in pure functions of one trial.

    Each is given those of the settings and axes that it has parameters for.

    Attributes:
      init: (key, **settings) -> state: any tree of arrays, random keys included.
      step: (state, **settings) -> state: one iteration; tree, shapes and dtypes stay. If it has a parameter
        `iteration`, it is given the number of iterations made before, the same for all trials: a `jax.lax.cond` on it
        stays a branch, on every kind of device.
      summarise: (state, **settings) -> results: any tree of arrays.
      observe: (state, **settings) -> what to note of a state on the way, any tree of arrays; see `observe_every`.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    summarise: Callable[..., Any]
    observe: Callable[..., Any] | None = None


def long_sweep(
    training: Training,
    seeds: Iterable[int],
    *,
    iterations: int,
    axes: Mapping[str, Iterable[Any]] = _NO_AXES,
    chunk: int | None = None,
    iterations_per_call: int | None = None,
    observe_every: int | None = None,
    directory: Path | str | None = None,
    seconds_between_saves: float = 30.0,
    fused: bool | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Run `iterations` steps of a training for every seed at every point of the axes.

    As `sweep`, with these differences.

    Args:
      training: the functions.
      seeds: as in `sweep`.
      iterations: steps of every trial, at least 0.
      axes: as in `sweep`; the parameters are those of the functions.
      chunk: as in `sweep`: the first `chunk` trials make all their iterations, then the next.
      iterations_per_call: steps in one compiled call, by default a hundredth of them: between calls progress is
        reported and the state saved. All calls share one program, and the results do not depend on it.
      observe_every: iterations between two calls of `training.observe`, beginning with the initial state and ending
        with the last. What it returns has one more dim, "iteration", before its own.
      directory: as in `sweep`; beside finished parts of the trials, the last two states of the unfinished one are kept.
      seconds_between_saves: a state is saved at the end of a call, when so many seconds have passed since the last.
      fused: as in `sweep`.
      block: as in `sweep`.
      mesh: as in `sweep`.
      on_plan: as in `sweep`.
      on_progress: as in `sweep`, but `done` counts iterations times trials.
      settings: as in `sweep`.

    Returns:
      As `sweep`, of what `training.summarise` and `training.observe` return.

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
    if functions["observe"] is None:
        del functions["observe"]
    check_call(functions)
    grid = make_grid(axes, seeds)
    provided = {"step": ITERATION} if has_parameter(training.step, ITERATION) else {}
    check_names(functions, grid.labels, settings, provided=provided)
    if check_count("iterations", iterations, 0) > MOST_ITERATIONS:
        raise ValueError(f"iterations: expected at most {MOST_ITERATIONS}, got {iterations}")
    options = Options.of(
        grid,
        chunk=chunk,
        fused=fused,
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
    marks = _marks(training, iterations, observe_every)
    shared = as_arrays(settings)
    traced = _trace(functions, grid.one(), shapes_of(shared))
    advance = _repeated(traced["step"], grid.one(), shared)
    form = options.form([advance])
    programs = _Programs(traced, advance, grid, shared, form, options.mesh, marks)
    results = traced["summarise"].outputs
    seen = traced["observe"].outputs if marks else {}
    check_results(results, seen, grid.dims)
    work = Work(
        form,
        results | {name: jax.ShapeDtypeStruct((len(marks), *x.shape), x.dtype) for name, x in seen.items()},
        units=max(iterations, 1),
        bytes_for=programs.bytes_for,
        run=lambda call: programs.run(call, iterations, per_call),
        observed=seen.keys(),
        marks=marks,
    )
    configuration = describe_sweep(
        {name: program.identity for name, program in traced.items()},
        grid,
        shared,
        mesh=options.mesh,
        form=form,
        chunk=options.chunk,
        iterations=iterations,
        observe_every=observe_every,
    )
    return execute(grid, work, configuration, options)


def _marks(training: Training, iterations: int, every: int | None) -> list[int]:
    """The iterations after which to observe."""
    if (training.observe is None) != (every is None):
        raise ValueError(
            f"observe_every: expected a number of iterations with a training that has `observe`, and none without, got "
            f"{every!r}; give both or neither"
        )
    if every is None:
        return []
    return [*range(0, iterations, check_count("observe_every", every, 1)), iterations]


class _Programs:
    """The functions over the trials of one sweep."""

    def __init__(
        self,
        traced: Mapping[str, Program],
        advance: Program,
        grid: Grid,
        settings: Mapping[str, Any],
        form: Form,
        mesh: Mesh,
        marks: Sequence[int],
    ) -> None:
        self._grid, self._marks = grid, marks
        # drawing random numbers compiles in half the time for a trial at a time
        drawing = Form("alone", 1) if mesh.devices.flat[0].platform == "cpu" else form
        self._over = {
            name: over_trials(program, drawing if name == "init" else form, mesh)
            for name, program in traced.items()
            if name != "step"
        }
        self._over["advance"] = over_trials(advance, form, mesh)
        self._settings = self._over["init"].share(settings)
        self._state = traced["init"].outputs

    def bytes_for(self, trials: int) -> int:
        """Bytes on each device while so many trials run: of the programs the one that takes most."""
        started = self._over["init"].blocks_of(self._grid.one(), trials)
        standing = self._over["advance"].blocks_of({"state": self._state, "axes": self._grid.one()["axes"]}, trials)
        shared = {"advance": (self._settings, np.int32(0), np.int32(0))}
        return max(
            over.memory(started if name == "init" else standing, shared.get(name, self._settings))
            for name, over in self._over.items()
        )

    def run(self, call: Call, iterations: int, per_call: int) -> Arrays:
        """Results of a part of the trials."""
        part, trials = call.part, len(call.part)
        init = self._over["init"]
        first = self._grid.part(part.start, part.stop)
        noted: list[Arrays] = []
        if call.begun is None:
            done, state = 0, OverTrials.collect(init(init.place(first, room=call.room), self._settings), trials)
        else:
            state, noted = from_named(call.begun.state, self._state)
            done = call.begun.iteration
        standing = self._over["advance"].place({"state": state, "axes": first["axes"]}, room=call.room)

        def gather() -> Arrays:
            return to_named(OverTrials.collect(standing["state"], trials), noted)

        def note() -> None:
            if len(noted) < len(self._marks) and self._marks[len(noted)] == done:
                seen = self._over["observe"](standing, self._settings, trials=trials)
                noted.append(OverTrials.collect(seen, trials))

        note()
        while done < iterations:
            until = min(iterations, done + per_call, *self._marks[len(noted) :][:1])
            shared = self._settings, np.int32(done), np.int32(until)
            standing["state"] = jax.block_until_ready(self._over["advance"](standing, shared, trials=trials))
            done = until
            note()
            if done < iterations:  # after the last come the results
                call.checkpoints.save_state(part, done, gather)
                call.on_units(done)
        results: Arrays = OverTrials.collect(self._over["summarise"](standing, self._settings, trials=trials), trials)
        return results | {name: np.stack([seen[name] for seen in noted], axis=1) for name in (noted or [{}])[0]}


def _trace(
    functions: Mapping[str, Callable[..., Any]], one: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Program]:
    """The functions as programs of one trial, its state packed."""

    def called(fn: Callable[..., Any], first: Any, *values: Mapping[str, Any]) -> Any:
        return fn(first, **accepted(fn, {name: x for given in values for name, x in given.items()}))

    def init(trial: dict[str, Any], settings: dict[str, Any]) -> Any:
        return pack(called(functions["init"], trial_key(trial["seed"]), trial["axes"], settings))

    def step(trial: dict[str, Any], settings: dict[str, Any], iteration: jax.Array) -> Any:
        own = {ITERATION: iteration} if has_parameter(functions["step"], ITERATION) else {}
        after = pack(called(functions["step"], unpack(trial["state"]), trial["axes"], settings, own))
        check_same_kind(trial["state"], after)
        return after

    def of_state(name: str) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, jax.Array]]:
        return lambda trial, settings: named(
            called(functions[name], unpack(trial["state"]), trial["axes"], settings), what=name
        )

    with afresh():
        begun = trace(init, one, settings)
        standing = {"state": begun.outputs, "axes": one["axes"]}
        iteration = jax.ShapeDtypeStruct((), np.int32)
        rest = {name: trace(of_state(name), standing, settings) for name in functions if name not in ("init", "step")}
        return {"init": begun, "step": trace(step, standing, settings, iteration)} | rest


def _repeated(step: Program, one: dict[str, Any], settings: Mapping[str, Any]) -> Program:
    """The repetition of a step from one iteration to another. Parts of the state that it leaves alone stay outside."""
    structure = jax.tree.structure(step.outputs)
    given = step.closed.jaxpr.invars[len(jax.tree.leaves(one["axes"])) :]  # "axes" come before "state"
    changes = [before is not after for before, after in zip(given, step.closed.jaxpr.outvars, strict=False)]

    def advance(trial: dict[str, Any], shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
        settings, begin, end = shared
        leaves = jax.tree.leaves(trial["state"])

        def whole(changed: Sequence[Any]) -> Any:
            rest = iter(changed)
            return jax.tree.unflatten(structure, [next(rest) if c else x for c, x in zip(changes, leaves, strict=True)])

        def again(iteration: jax.Array, changed: Sequence[Any]) -> list[Any]:
            after = jax.tree.leaves(step(trial | {"state": whole(changed)}, settings, iteration))
            return [x for c, x in zip(changes, after, strict=True) if c]

        return whole(lax.fori_loop(begin, end, again, [x for c, x in zip(changes, leaves, strict=True) if c]))

    number = jax.ShapeDtypeStruct((), np.int32)
    return trace(advance, {"state": step.outputs, "axes": one["axes"]}, (shapes_of(settings), number, number))
