"""The host's loop of every sweep: it runs the trials in parts, one after another, and skips trials that are stored."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import math
import operator
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

from paramact_jax.programs import Program
from paramact_jax.sweeps.dataset import Results
from paramact_jax.sweeps.devices import check_mesh
from paramact_jax.sweeps.ending import Ending
from paramact_jax.sweeps.failures import kept_of
from paramact_jax.sweeps.forms import Forms, choose
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.kernels import target_of
from paramact_jax.sweeps.memory import Plan, bytes_of, bytes_on_host, check_memory
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.checkpoints import Begun, Checkpoints, open_checkpoints
from paramact_jax.sweeps.storage.configuration import Configuration, describe_values
from paramact_jax.sweeps.storage.contents import Sheet

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that all kinds of sweeps have; see `sweep`."""

    chunk: int
    fused: bool | None
    block: int | None
    directory: Path | str | None
    mesh: Mesh
    on_plan: Callable[[Plan], None]
    on_progress: Callable[[Progress], None]
    seconds_between_saves: float
    task: tuple[int, int] | None
    extend: bool
    keep: Any
    time_limit: float
    called_at: float

    def forms(self, programs: Sequence[Program]) -> Forms:
        """Returns the form of each program of one trial; raises the errors of `sweep`."""
        platform, target = self.mesh.devices.flat[0].platform, target_of(self.mesh)
        return Forms(choose([x], platform, fused=self.fused, block=self.block, target=target) for x in programs)

    @classmethod
    def of(
        cls,
        grid: Grid,
        *,
        chunk: int | None,
        fused: bool | None,
        block: int | None,
        mesh: Mesh | None,
        directory: Path | str | None,
        on_plan: Callable[[Plan], None] | None,
        on_progress: Callable[[Progress], None] | None,
        seconds_between_saves: float = 0.0,
        part: tuple[int, int] | None = None,
        extend: bool = False,
        keep: Any = None,
        time_limit: float | None = None,
    ) -> Options:
        """Returns the options, with defaults filled in; raises the errors of `sweep`."""
        called_at = time.perf_counter()
        if not isinstance(directory, str | os.PathLike | None):
            raise ValueError(f"directory: expected a path, or None to keep nothing, got {directory!r}; name one")
        if time_limit is not None and directory is None:
            raise ValueError(
                "time_limit: expected a directory to go on from, got none; name one with directory=, or give no limit"
            )
        if not isinstance(fused, bool | np.bool_ | None):
            raise ValueError(f"fused: expected True, False, or None for the default, got {fused!r}")
        return cls(
            chunk=grid.trials if chunk is None else min(check_count("chunk", chunk, 1), grid.trials),
            fused=fused,
            block=None if block is None else check_count("block", block, 1),
            directory=directory,
            mesh=check_mesh(mesh),
            on_plan=_callback("on_plan", on_plan),
            on_progress=_callback("on_progress", on_progress),
            task=_task(part, extend=extend, keep=keep),
            extend=extend,
            keep=keep,
            seconds_between_saves=_seconds("seconds_between_saves", seconds_between_saves),
            time_limit=math.inf if time_limit is None else _seconds("time_limit", time_limit),
            called_at=called_at,
        )


@dataclasses.dataclass(frozen=True)
class Work:
    """How a part of the trials is run.

    Attributes:
      form: how the trials are carried out.
      results: shapes of one trial's results.
      units: units of progress that a trial counts.
      bytes_for: returns the bytes on each device for parts of a grid, given the number of trials in a call.
      run: returns the results of a part; see `Call`.
      observed, marks, absent: see `to_dataset`.
      iterations: number of iterations of a long sweep; None for other sweeps.
    """

    form: Forms
    results: Mapping[str, jax.ShapeDtypeStruct]
    units: int
    bytes_for: Callable[[Grid, Sequence[range], int], int]
    run: Callable[[Call], Arrays]
    observed: Collection[str] = ()
    marks: Sequence[int] = ()
    absent: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    iterations: int | None = None

    def sheet(self, grid: Grid) -> Sheet:
        """Returns the description of the results that a directory keeps."""
        shapes = {name: (str(x.dtype), x.shape) for name, x in self.results.items()}
        about = {
            "form": str(self.form),
            "observed": list(self.observed),
            "marks": list(self.marks),
            "absent": self.absent,
            "iterations": self.iterations,
        }
        return Sheet(grid, shapes, about)


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of `Work.run`.

    Attributes:
      grid: the trials that are to run.
      part: the trials of this call.
      room: number of trials to pad to, so that all parts run in one compiled program.
      begun: the state to go on from; None: the part begins.
      checkpoints: where states are kept.
      ends: called before a state is kept; returns whether the sweep ends with this state.
      on_units: called with the units done of each trial; raises if the sweep ends.
    """

    grid: Grid
    part: range
    room: int
    begun: Begun | None
    checkpoints: Checkpoints
    ends: Callable[[], bool]
    on_units: Callable[[int], None]


def execute(grid: Grid, work: Work, configuration: Configuration, options: Options) -> xr.Dataset:
    """Runs the trials that are not stored yet, and returns all results; raises the errors of `sweep`."""
    results = Results(grid.total, work.results)
    if options.keep is not None:
        kept, again = kept_of(options.keep, grid, work.results, work.marks)
        results.put(slice(0, grid.total), kept)
        results.have[again] = False
        grid = grid.select(np.flatnonzero(again))
        configuration.entries["keep"] = describe_values(kept, again)
    if options.task is not None:
        grid = grid.share(*options.task)
        configuration.entries["task"] = "{} of {}".format(*options.task)
    with (
        Ending(keeps=options.directory is not None, time_limit=options.time_limit, began=options.called_at) as ending,
        open_checkpoints(
            options.directory,
            configuration,
            work.sheet(grid),
            seconds_between_saves=options.seconds_between_saves,
            task=options.task,
            extend=options.extend,
        ) as checkpoints,
    ):
        for positions, arrays in checkpoints.earlier():
            results.put(positions, arrays)
        there = results.count
        grid, starts = checkpoints.own(lambda: results.have)
        if options.keep is not None and not (options.task and options.task[0]):  # the first task saves for all
            kept_at = np.flatnonzero(results.have)
            checkpoints.save_kept(kept_at, {name: x[kept_at] for name, x in results.arrays.items()})
        finished = []
        for part, arrays in checkpoints.finished():
            results.put(grid.positions(part), arrays)
            finished.append(part)
        begun = checkpoints.begun()
        first = [begun.part] if begun else []
        first += [part for part in starts if part not in (*finished, *first)]
        borders = grid.borders if options.chunk < grid.trials else ()
        parts = cut(grid.trials, options.chunk, finished, first, borders=borders)
        if not parts:
            return results.dataset(grid, work.sheet(grid))
        rooms = _rooms(grid, parts)
        bytes_for = functools.partial(work.bytes_for, grid, parts)
        room, stored = max(map(len, parts)), bytes_of(work.results, grid.total)
        plan = Plan(
            trials=there + grid.trials,
            remaining=sum(map(len, parts)),
            trials_per_call=room,
            calls=len(parts),
            programs=len({i for part in parts for i, _ in grid.pieces(part)}),
            devices=options.mesh.size,
            form=str(work.form),
            bytes_per_device=bytes_for(room),
            bytes_of_results=stored,
            bytes_on_host=bytes_on_host(
                seeds=len(grid.seeds),
                results=stored,
                per_call=max(bytes_of(work.results, room), bytes_of(grid.one(), room)),
            ),
        )
        try:
            check_memory(plan, options.mesh, bytes_for, block=work.form.block)
        except ValueError:
            checkpoints.withdraw()
            raise
        options.on_plan(plan)

        total, done = plan.trials * work.units, (plan.trials - plan.remaining) * work.units
        made = starts | ({begun.part: begun.iteration} if begun else {})
        found = done + sum(len(part) * made.get(part, 0) for part in parts)
        begin = time.perf_counter()
        ending.due()
        ending.end_if_due(Progress(found, total, 0.0, found))
        for part in parts:

            def on_units(units: int, before: int = done, part: range = part) -> None:
                seconds = time.perf_counter() - begin
                progress = Progress(before + units * len(part), total, seconds, found)
                options.on_progress(progress)
                ending.end_if_due(progress)

            standing = begun if begun and part == begun.part else checkpoints.start(part)
            arrays = work.run(Call(grid, part, rooms[part], standing, checkpoints, ending.due, on_units))
            if part != parts[-1]:
                ending.due()
            checkpoints.save_part(part, arrays)
            results.put(grid.positions(part), arrays)
            del arrays  # otherwise they would be held in memory along with the dataset
            done += len(part) * work.units
            on_units(work.units)
    return results.dataset(grid, work.sheet(grid))


def _rooms(grid: Grid, parts: Sequence[range]) -> dict[range, int]:
    """Returns for each part the number of trials of the largest part with the same choices."""
    choices = {part: tuple(i for i, _ in grid.pieces(part)) for part in parts}
    most: dict[tuple[int, ...], int] = {}
    for part, key in choices.items():
        most[key] = max(most.get(key, 0), len(part))
    return {part: most[key] for part, key in choices.items()}


def cut(
    trials: int, chunk: int, finished: Sequence[range], first: Sequence[range] = (), *, borders: Sequence[int] = ()
) -> list[range]:
    """Returns the parts that are left to run: those in `first`, then the gaps between finished parts.

    The gaps are cut into pieces of at most `chunk` trials. Pieces do not cross the borders.

    Examples:
      >>> cut(10, 4, finished=[range(0, 3)])
      [range(3, 7), range(7, 10)]
      >>> cut(10, 4, finished=[range(0, 3)], first=[range(5, 7)])
      [range(5, 7), range(3, 5), range(7, 10)]
      >>> cut(10, 4, finished=[], borders=[5])
      [range(0, 4), range(4, 5), range(5, 9), range(9, 10)]
    """
    taken = sorted([*finished, *first], key=lambda part: part.start)
    begins, ends = [0, *(part.stop for part in taken)], [*(part.start for part in taken), trials]
    gaps = zip(begins, ends, strict=True)
    found = [*first]
    for at, end in gaps:
        while at < end:
            nearest = bisect.bisect_right(borders, at)
            found.append(range(at, min(at + chunk, end, *borders[nearest : nearest + 1])))
            at = found[-1].stop  # noqa: PLW2901  # the gap that is left
    return found


def check_count(name: str, value: Any, least: int) -> int:
    """Returns an integer of at least `least`; raises ValueError for anything else."""
    try:
        count = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    return count


def _seconds(name: str, given: Any) -> float:
    if not isinstance(given, int | float | np.integer | np.floating) or not given >= 0:
        raise ValueError(f"{name}: expected a number >= 0, got {given!r}")
    return float(given)


def _callback(name: str, given: Callable[[Any], None] | None) -> Callable[[Any], None]:
    if given is None:
        return lambda told: None
    if not callable(given):
        raise ValueError(f"{name}: expected a function, or None for no calls, got {given!r}")
    return given


def _task(part: Any, *, extend: bool, keep: Any) -> tuple[int, int] | None:
    if not isinstance(extend, bool):
        raise ValueError(f"extend: expected True or False, got {extend!r}")
    if extend and (part is not None or keep is not None):
        raise ValueError(
            f"extend: expected neither part nor keep with it, got {'part' if part is not None else 'keep'}; make two "
            f"calls, each with a directory of its own, and merge them"
        )
    if part is None:
        return None
    try:
        task, tasks = (operator.index(number) for number in part)
    except (TypeError, ValueError):
        task, tasks = 0, 0
    if not 0 <= task < tasks:
        raise ValueError(
            f"part: expected (task, tasks) with a task within 0..tasks - 1, as (0, 8) for the first of 8, got {part!r}"
        )
    return task, tasks
