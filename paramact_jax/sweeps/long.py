"""Sweeps a long training: one iteration is the user's function; the sweep repeats it, shows progress and saves."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

from paramact_jax.programs.branches import Choice, KnownBranches, known_branches
from paramact_jax.programs.program import Program, shapes_of
from paramact_jax.sweeps.arguments import as_arrays, check_names, has_parameter, names_of
from paramact_jax.sweeps.checks import shapes, with_messages
from paramact_jax.sweeps.dataset import Shapes, absences, check_results, joined, of_all_choices, widened
from paramact_jax.sweeps.devices import check_one_device, outside_meshes
from paramact_jax.sweeps.distributed import first_does
from paramact_jax.sweeps.engine import Call, Options, Work, check_count, execute
from paramact_jax.sweeps.forms import Form, Forms
from paramact_jax.sweeps.grid import Grid, at_choice, make_grid
from paramact_jax.sweeps.iterations import Trainable, Training, functions_at, repeated, trace_training
from paramact_jax.sweeps.memory import Plan
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.settings import ITERATION
from paramact_jax.sweeps.stopping import ITERATIONS, RUNNING, STOP, STOPPED, STOPPED_AT, STOPS, Standing
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import describe_sweep, identities
from paramact_jax.sweeps.storage.state import from_named, to_named
from paramact_jax.sweeps.trials import Together, most_memory, share, together
from paramact_jax.sweeps.watch import Observed

if TYPE_CHECKING:
    import xarray as xr

MOST_ITERATIONS = 2**31 - 1
MOST_PROGRAMS = 3
LEAST_SHARE = 0.1
"""At most MOST_PROGRAMS kinds of stretches get programs of their own, each with at least this share of iterations."""
MOST_CHANGES = 0.25
"""Most branch changes per iteration, on average, of a conditional that cuts the iterations into stretches."""
_NO_AXES: Mapping[str, Iterable[Any]] = {}


@outside_meshes()
def long_sweep(
    training: Training | Trainable | Callable[..., Training | Trainable],
    seeds: Iterable[int],
    *,
    iterations: int,
    axes: Mapping[str, Iterable[Any]] = _NO_AXES,
    static_axes: Mapping[str, Any] = _NO_AXES,
    points: Any = None,
    static_argnames: str | Collection[str] = (),
    chunk: int | None = None,
    iterations_per_call: int | None = None,
    observe_every: int | None = None,
    stop_every: int | None = None,
    directory: Path | str | None = None,
    seconds_between_saves: float = 30.0,
    time_limit: float | None = None,
    fused: bool | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
    part: tuple[int, int] | None = None,
    extend: bool = False,
    keep: xr.Dataset | None = None,
    keep_states: bool = True,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_observed: Callable[[Observed], None] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Runs `iterations` steps of a training for every seed at every point of the axes.

    It works like `sweep`, with the differences below.

    Args:
      training: the functions: a `Training`, or another object that has them, or a function of static settings that
        returns them, such as `lambda width: Training(...)` with `static_axes={"width": [8, 64]}`. Settings that this
        function takes are not passed to the functions of the training.
      seeds: as in `sweep`.
      iterations: steps of every trial, at least 0.
      axes: as in `sweep`; the parameters are those of the functions.
      static_axes: as in `sweep`.
      points: as in `sweep`.
      static_argnames: as in `sweep`.
      chunk: as in `sweep`: the first `chunk` trials make all their iterations, then the next ones do.
      iterations_per_call: steps in one compiled call, by default a hundredth of all. Between calls progress is reported
        and the state is saved. The results do not depend on it, except for the last digit on an accelerator if the loop
        is not one kernel.
      observe_every: iterations between two calls of `training.observe`, which begin with the initial state and end with
        the last state. What it returns gets one more dim, "iteration", before its own dims.
      stop_every: iterations before the first call of `training.stop` and between two calls. If it returns True, the
        trial stops: its state stays as it is, and is observed and summarised so. On a CPU, stopped trials take no more
        time. The results have one more variable, "iterations": the number of iterations that each trial made.
      directory: as in `sweep`; it also keeps the last two states of the part that is unfinished.
      seconds_between_saves: a state is saved at the end of a call if this many seconds have passed since the last save,
        or if the sweep has to end.
      time_limit: as in `sweep`.
      fused: as in `sweep`.
      block: as in `sweep`.
      mesh: as in `sweep`.
      part: as in `sweep`.
      extend: as in `sweep`; `iterations` may be larger too: finished trials go on from their last states.
      keep: as in `sweep`.
      keep_states: whether `directory` keeps the last states of finished trials, which `extend` needs.
      on_plan: as in `sweep`.
      on_progress: as in `sweep`, but `done` counts iterations times trials.
      on_observed: called with the values that `training.observe` returns for the trials of a call, as soon as they are
        there, see `Observed`; `to_csv` and `to_jsonl` make functions that write them to a file. Of several processes
        only the first calls it. A resumed sweep reports again what was observed after the last saved state, but nothing
        from before it. An error that it raises ends the sweep; what was saved is kept.
      settings: as in `sweep`.

    Returns:
      A dataset as in `sweep`, of what `training.summarise` and `training.observe` return.

    Raises:
      ValueError: as `sweep`, and if a step returns a state of another kind than it got.
      OSError, TimeLimitError: as `sweep`.

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
    every = {"observe": observe_every, "stop": stop_every}
    for name, number in every.items():
        if number is not None:
            check_count(f"{name}_every", number, 1)
    grid = make_grid(axes, seeds, static_axes=static_axes, points=points, static=static_argnames, settings=settings)
    functions = _functions(training, grid, settings, every)
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
        part=part,
        extend=extend,
        keep=keep,
        seconds_between_saves=seconds_between_saves,
        time_limit=time_limit,
    )
    if on_observed is not None and not (callable(on_observed) and observe_every):
        got = f"{on_observed!r}" if observe_every else "a training without `observe`"
        raise ValueError(f"on_observed: expected a function, and a training with `observe`, got {got}; leave it out")
    if iterations_per_call is None:
        per_call = max(-(-iterations // 100), 1)
    else:
        per_call = min(check_count("iterations_per_call", iterations_per_call, 1), MOST_ITERATIONS)
    marks = [] if observe_every is None else [*range(0, iterations, observe_every), iterations]
    shared = as_arrays({name: value for name, value in settings.items() if name not in grid.bound})
    traced = []
    for i, (choice, (own, taken)) in enumerate(zip(grid.choices, functions, strict=True)):
        static = {name: value for name, value in choice.settings.items() if name not in taken}
        with at_choice(choice):
            traced.append(trace_training(own, grid.one(i), shapes_of(shared), static))
    for name in traced[0]:
        check_one_device(name, [each[name] for each in traced], options.mesh)
    form = options.forms([repeated(each["step"], grid.one(i), shared) for i, each in enumerate(traced)])
    results = of_all_choices([shapes(each["summarise"].outputs) for each in traced])
    seen = of_all_choices([each["observe"].outputs for each in traced], what="observe") if marks else {}
    counted = {ITERATIONS: jax.ShapeDtypeStruct((), np.int32)} if stop_every else {}
    if counted.keys() & {**results, **seen}:
        raise ValueError(f"results: expected names other than {ITERATIONS!r}, the iterations of each trial; rename it")
    check_results({**results, **counted}, seen, [*grid.dims, *grid.points])
    told = ("summarise", "observe") if marks else ("summarise",)
    returned = [{name: x for function in told for name, x in each[function].outputs.items()} for each in traced]
    programs = _Programs(
        *(traced, grid, shared, form, options.mesh, results, seen, marks, iterations, per_call),
        stop_every=stop_every,
        on_observed=on_observed,
        keep_states=keep_states,
    )
    work = Work(
        form,
        {**results, **counted}
        | {name: jax.ShapeDtypeStruct((len(marks), *x.shape), x.dtype) for name, x in seen.items()},
        units=max(iterations, 1),
        bytes_for=programs.bytes_for,
        run=programs.run,
        observed=seen.keys(),
        marks=marks,
        absent=absences(returned, grid),
        iterations=iterations,
    )
    configuration = describe_sweep(
        identities({name: [each[name] for each in traced] for name in traced[0]}, grid),
        grid,
        shared,
        mesh=options.mesh,
        form=form,
        chunk=options.chunk,
        iterations=iterations,
        observe_every=observe_every,
        stop_every=stop_every,
        iterations_per_call=per_call if host_counts(form, options.mesh) else None,
    )
    return execute(grid, work, configuration, options)


def _functions(
    training: Any, grid: Grid, settings: Mapping[str, Any], every: Mapping[str, int | None]
) -> list[tuple[dict[str, Any], list[str]]]:
    """Returns the functions at each choice of the static settings, and the settings that they are made of.

    Refuses names that no function takes, and required names that are missing.
    """
    if not callable(training) or hasattr(training, "step"):
        functions, _ = functions_at(training, grid.choices[0], every)
        check_names(functions, grid.names, settings, provided=_provided(functions))
        return [(functions, [])] * len(grid.choices)
    found = []
    for choice in grid.choices:
        with at_choice(choice):
            found.append(functions_at(training, choice, every))
    known = {name for functions, _ in found for fn in functions.values() for name in names_of(fn)}
    for (functions, taken), names in zip(found, grid.names, strict=True):
        own, rest = ([name for name in given if name not in taken] for given in (names, settings))
        check_names(functions, [own], rest, provided=_provided(functions), elsewhere=known)
    return found


def _provided(functions: Mapping[str, Any]) -> dict[str, str]:
    return {"step": ITERATION} if has_parameter(functions["step"], ITERATION) else {}


def host_counts(form: Forms, mesh: Mesh) -> bool:
    """Returns whether compiled programs have to know their number of iterations.

    On an accelerator the host asks after every iteration whether there is another one, unless the program says how many
    there are. A conditional in the loop makes the host ask too. In a kernel the host does not ask.
    """
    return mesh.devices.flat[0].platform != "cpu" and not form.kernel


class _Programs:
    """The functions over the trials of one sweep, for each choice of the static settings."""

    def __init__(
        self,
        traced: Sequence[Mapping[str, Program]],
        grid: Grid,
        settings: Mapping[str, Any],
        form: Forms,
        mesh: Mesh,
        results: Shapes,
        seen: Shapes,
        marks: Sequence[int],
        iterations: int,
        per_call: int,
        *,
        stop_every: int | None = None,
        on_observed: Callable[[Observed], None] | None = None,
        keep_states: bool = True,
    ) -> None:
        self._on_observed = on_observed
        self._iterations, self._per_call, self._stop_every = iterations, per_call, stop_every
        self._traced, self._grid, self._forms, self._mesh = traced, grid, form, mesh
        self._results, self._seen, self._marks = results, seen, marks
        self._given = settings
        self._keep_states = keep_states
        self._made: dict[Any, Together] = {}
        self._often: dict[tuple[int, ...], frozenset[tuple[tuple[Choice, ...], int]]] = {}
        self._counts = host_counts(form, mesh)
        self._on_cpu = mesh.devices.flat[0].platform == "cpu"

    @functools.cached_property
    def _settings(self) -> Any:
        return share(self._given, self._mesh)

    def _forms_of(self, choices: Sequence[int]) -> tuple[Form, ...]:
        return tuple(self._forms[i] for i in choices)

    def _over(self, name: str, choices: Sequence[int]) -> Together:
        key = name, tuple(choices)
        if key not in self._made:
            forms = self._forms_of(choices)
            if name == "init" and self._on_cpu:
                # drawing random numbers compiles twice as fast for a trial at a time
                forms = (Form("alone", 1),) * len(choices)
            self._made[key] = together(tuple(self._traced[i][name] for i in choices), forms, self._mesh)
        return self._made[key]

    def _advance(self, choices: Sequence[int], branches: Sequence[Choice] = (), count: int | None = None) -> Together:
        """Returns the function of some iterations of all trials; see `repeated`."""
        key = tuple(choices), tuple(branches), count
        if key not in self._made:
            steps = [self._traced[i]["step"] for i in choices]
            if count is not None:
                steps = [self._known[i].with_branches(taken) for i, taken in zip(choices, branches, strict=True)]
            stops = self._stop_every is not None
            each = zip(choices, steps, strict=True)
            programs = tuple(repeated(step, self._grid.one(i), self._given, count, stops=stops) for i, step in each)
            self._made[key] = together(programs, self._forms_of(choices), self._mesh, donate=True)
        return self._made[key]

    @functools.cached_property
    def _known(self) -> list[KnownBranches]:
        """The conditionals of each step that depend only on the iteration's number, except those that change often."""
        leaves = jax.tree.leaves(self._given)
        found = []
        for each in self._traced:
            last = len(each["step"].closed.in_avals) - 1
            numbers = {i: x for i, x in enumerate(leaves) if isinstance(x, np.ndarray) and x.size == 1}  # no keys
            small = {last - len(leaves) + i: x for i, x in numbers.items()}
            known = known_branches(each["step"], last, small)
            taken = known.taken(0, min(self._iterations, 10_000))
            changes = (taken[1:] != taken[:-1]).sum(0) / max(len(taken), 1)
            found.append(known.only(np.flatnonzero(changes <= MOST_CHANGES)))
        return found

    def _calls(self, choices: Sequence[int], begin: int, until: int) -> Iterator[tuple[int, Together]]:
        """Yields the calls that make the iterations begin .. until - 1: the end of each, and its program."""
        if not self._counts:
            yield until, self._advance(choices)
            return
        for end, branches in self._stretches(choices, begin, until):
            often = (branches, end - begin) in self._frequent(tuple(choices))
            yield end, self._advance(choices, branches, end - begin) if often else self._advance(choices)
            begin = end

    def _stretches(self, choices: Sequence[int], begin: int, until: int) -> Iterator[tuple[int, tuple[Choice, ...]]]:
        """Yields stretches in which no conditional changes its branch: the end of each, and the branches of choices."""
        several = [self._known[i].stretches(begin, until) for i in choices]
        ends = sorted({one.end for stretches in several for one in stretches})
        for end in ends:
            yield end, tuple(next(one.choice for one in stretches if end <= one.end) for stretches in several)

    def _frequent(self, choices: tuple[int, ...]) -> frozenset[tuple[tuple[Choice, ...], int]]:
        """Returns the branches and lengths of the stretches with most iterations. Each gets a program of its own.

        All other iterations share one program, which has all conditionals, and in which the host counts.
        """
        if choices not in self._often:
            found: Counter[tuple[tuple[Choice, ...], int]] = Counter()
            begin = 0
            while begin < self._iterations:
                for end, branches in self._stretches(choices, begin, self._until(begin)):
                    found[branches, end - begin] += end - begin
                    begin = end
            least = LEAST_SHARE * self._iterations
            most = found.most_common(MOST_PROGRAMS)
            self._often[choices] = frozenset(stretch for stretch, count in most if count >= least)
        return self._often[choices]

    def _until(self, done: int) -> int:
        """Returns the iteration at which a call ends that begins after `done` iterations."""
        later = [mark for mark in self._marks if mark > done][:1]
        if self._stop_every is not None:
            later.append((done // self._stop_every + 1) * self._stop_every)
        return min(self._iterations, done + self._per_call, *later)

    def bytes_for(self, grid: Grid, parts: Sequence[range], trials: int) -> int:
        """Returns the bytes on each device while `trials` trials run, for the program that takes most."""
        stopped = {STOPPED: STOPS[STOP]} if self._stop_every else {}
        lowered = []
        for choices, counts in grid.of_calls(parts, trials):
            ones = [self._grid.one(i) for i in choices]
            states = [self._traced[i]["init"].outputs for i in choices]
            standing = [{"state": state, "axes": one["axes"]} for state, one in zip(states, ones, strict=True)]
            for name in self._traced[0]:
                over = self._over(name, choices) if name != "step" else self._advance(choices)
                given = {"init": ones, "step": [each | stopped for each in standing]}.get(name, standing)
                shared = self._settings if name != "step" else (self._settings, np.int32(0), np.int32(0))
                lowered.append(over.lowered(over.blocks_of(given, counts), shared))
        return most_memory(lowered)

    def run(self, call: Call) -> Arrays:
        """Returns the results of a part of the trials."""
        choices, pieces = zip(*call.grid.pieces(call.part), strict=True)
        counts = [len(piece) for piece in pieces]
        first = [call.grid.part(piece.start, piece.stop) for piece in pieces]
        noted: list[Arrays] = []
        if call.begun is None:
            init = self._over("init", choices)
            begun = init(init.place(first, room=call.room), self._settings, trials=counts)
            done, states = 0, Together.collect(begun, counts)
        else:
            states, noted = from_named(call.begun.state, [self._traced[i]["init"].outputs for i in choices])
            done = call.begun.iteration
        whole = [{"state": state, "axes": piece["axes"]} for state, piece in zip(states, first, strict=True)]
        stopped_at = None
        if self._stop_every:
            stopped_at = call.begun.state[STOPPED_AT] if call.begun else np.full(sum(counts), RUNNING, np.int32)
        place = functools.partial(self._advance(choices).place, room=call.room)
        blocks = [form.block * self._mesh.size for form in self._forms_of(choices)] if self._on_cpu else None
        standing = Standing(whole, counts, stopped_at, place, blocks)
        del states, whole

        def told(name: str, like: Shapes, trials: Sequence[int] = counts) -> Arrays:
            made = self._over(name, choices)(standing.trials(), self._settings, trials=trials)
            collected = [with_messages(piece) for piece in Together.collect(made, counts)]
            return standing.in_order(joined(collected, like, counts))

        def gather() -> Arrays:
            stopped = {} if standing.stopped_at is None else {STOPPED_AT: standing.stopped_at}
            return to_named(standing.states(), noted) | stopped

        def note() -> None:
            if len(noted) < len(self._marks) and self._marks[len(noted)] == done:
                noted.append(told("observe", self._seen))
                if (tell := self._on_observed) is not None:
                    values = {name: widened(x) for name, x in noted[-1].items()}
                    first_does(lambda: tell(Observed(done, call.grid.labels_of(call.part), values)))

        note()
        while done < self._iterations:
            if self._stop_every and done and done % self._stop_every == 0:
                standing.stop(told(STOP, STOPS, standing.running)[STOP], done)
            if standing.ended:
                break
            for end, advance in self._calls(choices, done, self._until(done)):
                shared = self._settings, np.int32(done), np.int32(end)
                standing.blocks, done = advance(standing.blocks, shared, trials=standing.running), end
            jax.block_until_ready(standing.blocks)
            note()
            if done < self._iterations:  # the results follow the last one
                call.checkpoints.save_state(call.part, done, gather, at_once=call.ends())
                call.on_units(done)
        while len(noted) < len(self._marks):  # all have stopped
            done = self._marks[len(noted)]
            note()
        if self._keep_states:
            call.checkpoints.save_final(call.part, self._iterations, gather)
        found = told("summarise", self._results)
        if standing.stopped_at is not None:
            found[ITERATIONS] = np.where((at := standing.stopped_at) == RUNNING, np.int32(self._iterations), at)
        return found | {name: np.stack([seen[name] for seen in noted], axis=1) for name in (noted or [{}])[0]}
