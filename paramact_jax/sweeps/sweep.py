"""Sweeps any training function over seeds and settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh

from paramact_jax.programs.program import Program, afresh, shapes_of, trace
from paramact_jax.sweeps.arguments import as_arrays, check_call, check_names
from paramact_jax.sweeps.checks import checked, counted_anew, has_checks, shapes, with_messages
from paramact_jax.sweeps.dataset import absences, check_results, joined, named, of_all_choices
from paramact_jax.sweeps.devices import check_one_device, outside_meshes
from paramact_jax.sweeps.engine import Call, Options, Work, execute
from paramact_jax.sweeps.grid import Choice, Grid, at_choice, make_grid, trial_key
from paramact_jax.sweeps.memory import Plan
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import describe_sweep, identities
from paramact_jax.sweeps.trials import Together, most_memory, share, together

if TYPE_CHECKING:
    import xarray as xr

_NO_AXES: Mapping[str, Iterable[Any]] = {}


@outside_meshes()
def sweep(
    train_one: Callable[..., Any],
    seeds: Iterable[int],
    *,
    axes: Mapping[str, Iterable[Any]] = _NO_AXES,
    static_axes: Mapping[str, Any] = _NO_AXES,
    points: Any = None,
    static_argnames: str | Collection[str] = (),
    chunk: int | None = None,
    directory: Path | str | None = None,
    time_limit: float | None = None,
    fused: bool | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
    part: tuple[int, int] | None = None,
    extend: bool = False,
    keep: xr.Dataset | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Runs `train_one(key, **settings)` for every seed at every point of the axes, in jitted calls on all devices.

    JAX's setting decides how products of float32 numbers are computed: by default a GPU rounds their factors to TF32
    and a TPU to bfloat16. For float32 everywhere set `jax.config.update("jax_default_matmul_precision", "highest")`. A
    stored sweep goes on only with the setting that it began with.

    Args:
      train_one: a pure, vmappable function of one trial's random key and the settings, which returns any tree of
        arrays. Calls are filled up to whole blocks with copies of their last trial. The copies run too: a
        `jax.debug.print` or `jax.debug.callback` is called for them as well, with the default block 64 times for 3
        trials.
      seeds: integers within 0..2**32 - 1, each once. A trial's key is `trial_key(seed)`, the same at every point of
        the axes, so that the points are compared on equal seeds.
      axes: values to try, by parameter of `train_one`: numbers or booleans, which are traced, or strings, which are
        static. Every combination is run, with all trials in one call, unless `chunk` cuts it. A result that `train_one`
        returns only at some static values is NaN at the others.
      static_axes: values to try that are not traced, by parameter of `train_one`: widths, depths, batch sizes,
        functions, names or anything else. Each value gets a program of its own. An example is
        `{"width": [8, 64], "act": [jax.nn.relu, jnp.tanh]}`. Numbers and strings are their own labels; the labels of
        functions and classes are their names; for other things give a dict from a label to each value.
      points: settings with one value for each point, instead of a product of axes: lists of equal length by name (a
        dict or a pandas DataFrame), or a list with a dict for each point. Values are numbers or arrays of one shape,
        which are traced, or strings and other things, which are static. A point may lack settings that have defaults,
        as in `[{"optimiser": "sgd"}, {"optimiser": "adam", "b1": 0.9}]`. See `sweeps.log_uniform` and `sweeps.sobol`
        for random points.
      static_argnames: names of axes, points' settings and settings that are not traced, as in `jax.jit`.
      chunk: number of trials in a call, by default all. It bounds the memory on the devices; the results do not depend
        on it. Calls are padded to whole blocks of trials on every device, so multiples of `block` x devices waste
        nothing.
      directory: where finished calls are kept. After an end of any kind (a kill, a full disk, a power cut) the same
        call goes on from there, to the same dataset bit for bit. If the sweep is finished, it is read without running
        anything. A call that differs in anything that the results depend on is refused. `train_one` is compared by the
        program that JAX traces, with all constants: any change of the computation counts, another name or place of a
        function does not. Only one process at a time may use the directory; if the file system has no locks, a file
        `lock.json` names that process. After SIGTERM, which batch systems send before they kill, the running call is
        finished and kept. Only then the process ends, or your own handler is called. A second SIGTERM does not wait.
      time_limit: seconds from the start of this call, or None. It needs a directory. The first compiled call is always
        made. Before each further one, the sweep stops with TimeLimitError if a call as long as the longest so far
        would end too late. The sweep is then saved. Leave a margin for the last save.
      fused: whether each loop is carried out as one kernel, with the trials last. By default the traced program
        decides, see `sweeps.forms.choose`. A loop that turns out to be no kernel only when it is traced is then carried
        out as usual, with a warning.
      block: number of trials computed together; 1: a trial at a time, for trials that are large themselves. By default
        the traced program decides.
      mesh: mesh with one axis, of any name, over the devices to use; by default over all devices of all processes.
      part: (task, tasks): this call is one of several that share the trials, such as the tasks of a job array, each on
        its own machine; the first is (0, tasks). Each task keeps its share in the same `directory`, which needs no
        locks between machines. `sweeps.merge(directory)` returns the results of all tasks. In what this call returns,
        the trials of other tasks are NaN.
      extend: whether `directory` may hold the same sweep with other seeds or values of axes and points. Trials that are
        finished there are not run again; what is stored does not change.
      keep: results that an earlier sweep of the same trials returned. Only the trials that failed in it, see
        `sweeps.reasons`, are run, for example with other settings. The others are kept as they were.
      on_plan: called once with the plan before anything runs, but not if everything is there. None: nothing is called.
      on_progress: called after every call with the trials done and the seconds that the rest will take; None: nothing
        is called.
      settings: numbers or arrays, or trees of them, the same for every trial. Like the values of axes they are traced:
        another call with other values of the same types and shapes does not recompile, and `train_one` cannot branch
        on them in Python. If a parameter has the name of one of the options above, pass it as an axis of one value.

    Returns:
      A dataset with a variable for each array that `train_one` returns, named by its path joined with dots ("result"
      for a bare array). Its dims are the static axes, then `point` if there are points, then the other axes, `seed`,
      and `NAME_dim_0`, ... for a result's own axes. The points' settings are coordinates along `point` (NaN or "" if a
      point lacks one). Results of dtypes that NumPy does not have are widened: bfloat16 and float8 to float32, int4 to
      int8. A directory keeps them exact.

    Raises:
      ValueError: in one line, before anything runs: for axes, seeds, settings or results that are not of this kind or
        do not fit into JAX's dtypes; for a call inside jit, vmap or grad; for a directory that the call cannot resume
        from; and for a sweep that needs more memory than there is. The message then names a chunk that would fit.
      OSError: in one line, if something cannot be saved; what was saved before is kept.
      TimeLimitError: in one line, if `time_limit` leaves no time for the next call; what is finished is kept.

    Examples:
      >>> import jax
      >>> def train_one(key, learning_rate):
      ...     w = jax.random.normal(key, ())
      ...     return {"w": jax.lax.fori_loop(0, 100, lambda _, w: w - learning_rate * 2 * (w - 3), w)}
      >>> results = sweep(train_one, seeds=range(1000), learning_rate=0.1)
      >>> results["w"].shape, bool(abs(results["w"] - 3).max() < 1e-5)
      ((1000,), True)
      >>> results = sweep(train_one, seeds=range(1000), axes={"learning_rate": [0.001, 0.01, 0.1]})
      >>> dict(results["w"].sizes)
      {'learning_rate': 3, 'seed': 1000}
      >>> abs(results["w"] - 3).mean("seed").round(1).astype(str).values.tolist()
      ['2.4', '0.4', '0.0']
      >>> points = [{"learning_rate": 0.1}, {"learning_rate": 0.01, "steps": 1000}]
      >>> def train_longer(key, learning_rate, steps=100):
      ...     step = lambda _, w: w - learning_rate * 2 * (w - 3)
      ...     return {"w": jax.lax.fori_loop(0, steps, step, jax.random.normal(key, ()))}
      >>> dict(sweep(train_longer, range(10), points=points, static_argnames="steps")["w"].sizes)
      {'point': 2, 'seed': 10}
    """
    check_call({"train_one": train_one})
    grid = make_grid(axes, seeds, static_axes=static_axes, points=points, static=static_argnames, settings=settings)
    check_names({"train_one": train_one}, grid.names, settings)
    options = Options.of(
        grid,
        chunk=chunk,
        fused=fused,
        block=block,
        mesh=mesh,
        directory=directory,
        part=part,
        extend=extend,
        keep=keep,
        on_plan=on_plan,
        on_progress=on_progress,
        time_limit=time_limit,
    )
    shared = as_arrays({name: value for name, value in settings.items() if name not in grid.bound})

    programs = programs_of(train_one, grid, shared)
    check_one_device("train_one", programs, options.mesh)
    forms = options.forms(programs)
    each = [shapes(program.outputs) for program in programs]
    results = of_all_choices(each)
    check_results(results, {}, [*grid.dims, *grid.points])
    placed = share(shared, options.mesh)

    @functools.cache  # finding equal programs takes longer than some sweeps
    def over(choices: tuple[int, ...]) -> Together:
        return together(tuple(programs[i] for i in choices), tuple(forms[i] for i in choices), options.mesh)

    def bytes_for(grid: Grid, parts: Sequence[range], trials: int) -> int:
        lowered = []
        for choices, counts in grid.of_calls(parts, trials):
            them = over(tuple(choices))
            lowered.append(them.lowered(them.blocks_of([grid.one(i) for i in choices], counts), placed))
        return most_memory(lowered)

    def run(call: Call) -> Arrays:
        grid = call.grid
        choices, pieces = zip(*grid.pieces(call.part), strict=True)
        counts, them = [len(piece) for piece in pieces], over(choices)
        trials = them.place([grid.part(piece.start, piece.stop) for piece in pieces], room=call.room)
        made = them.collect(them(trials, placed, trials=counts), counts)
        return joined([with_messages(piece) for piece in made], results, counts)

    configuration = describe_sweep(
        identities({"train_one": programs}, grid), grid, shared, mesh=options.mesh, form=forms, chunk=options.chunk
    )
    return execute(grid, Work(forms, results, 1, bytes_for, run, absent=absences(each, grid)), configuration, options)


def programs_of(train_one: Callable[..., Any], grid: Grid, settings: Mapping[str, Any]) -> tuple[Program, ...]:
    """Returns the programs of a sweep: for each choice of the static settings, one of a trial and the other settings.

    Args:
      train_one: as in `sweep`.
      grid: the trials.
      settings: arrays.
    """

    def one_of(choice: Choice) -> Callable[..., dict[str, jax.Array]]:
        return lambda trial, settings: named(
            train_one(trial_key(trial["seed"]), **trial["axes"], **choice.settings, **settings)
        )

    def traced(i: int, fn: Callable[..., dict[str, Any]]) -> Program:
        with counted_anew(), at_choice(grid.choices[i]):
            program = trace(fn, grid.one(i), shapes_of(settings))
        with counted_anew():
            return trace(checked(fn), grid.one(i), shapes_of(settings)) if has_checks(program) else program

    with afresh():
        return tuple(traced(i, one_of(choice)) for i, choice in enumerate(grid.choices))
