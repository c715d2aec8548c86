"""The host's loop of every sweep: trials in parts, one after another, and what is stored not again."""

from __future__ import annotations

import dataclasses
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
from paramact_jax.sweeps.dataset import to_dataset
from paramact_jax.sweeps.devices import check_mesh
from paramact_jax.sweeps.ending import Ending
from paramact_jax.sweeps.forms import Form, choose
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.kernels import target_of
from paramact_jax.sweeps.memory import Plan, bytes_of, bytes_on_host, check_memory
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.checkpoints import Begun, Checkpoints, open_checkpoints
from paramact_jax.sweeps.storage.configuration import Configuration

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True)
class Options:
    """What all kinds of sweeps are told in the same way; see `sweep`."""

    chunk: int
    fused: bool | None
    block: int | None
    directory: Path | str | None
    mesh: Mesh
    on_plan: Callable[[Plan], None]
    on_progress: Callable[[Progress], None]
    seconds_between_saves: float
    time_limit: float
    called_at: float

    def form(self, programs: Sequence[Program]) -> Form:
        """Returns the form for programs of one trial; raises as `sweep`."""
        platform = self.mesh.devices.flat[0].platform
        return choose(programs, platform, fused=self.fused, block=self.block, target=target_of(self.mesh))

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
        time_limit: float | None = None,
    ) -> Options:
        """The options, with what was left to us filled in; raises as `sweep`."""
        called_at = time.perf_counter()
        if not isinstance(directory, str | os.PathLike | None):
            raise ValueError(f"directory: expected a path, or None to keep nothing, got {directory!r}; name one")
        if time_limit is not None and directory is None:
            raise ValueError(
                "time_limit: expected a directory to go on from, got none; name one with directory=, or give no limit"
            )
        return cls(
            chunk=grid.trials if chunk is None else min(check_count("chunk", chunk, 1), grid.trials),
            fused=fused,
            block=None if block is None else check_count("block", block, 1),
            directory=directory,
            mesh=check_mesh(mesh),
            on_plan=_callback("on_plan", on_plan),
            on_progress=_callback("on_progress", on_progress),
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
      units: of progress, a trial.
      bytes_for: bytes on each device with so many trials a call.
      run: results of a part; see `Call`.
      observed, marks: see `to_dataset`.
    """

    form: Form
    results: Mapping[str, jax.ShapeDtypeStruct]
    units: int
    bytes_for: Callable[[int], int]
    run: Callable[[Call], Arrays]
    observed: Collection[str] = ()
    marks: Sequence[int] = ()

    def dataset(self, grid: Grid, arrays: Arrays) -> xr.Dataset:
        """Results of all trials as a dataset."""
        return to_dataset(grid, arrays, self.form, observed=self.observed, marks=self.marks)


@dataclasses.dataclass(frozen=True)
class Call:
    """What `Work.run` is asked.

    Attributes:
      part: the trials.
      room: trials to pad to, so that all parts run in one compiled program.
      begun: where to go on from.
      checkpoints: where to keep states.
      ends: to be asked before a state is kept, whether the sweep ends with it.
      on_units: to be told the units done of each trial; raises if the sweep ends.
    """

    part: range
    room: int
    begun: Begun | None
    checkpoints: Checkpoints
    ends: Callable[[], bool]
    on_units: Callable[[int], None]


def execute(grid: Grid, work: Work, configuration: Configuration, options: Options) -> xr.Dataset:
    """Run what is not stored yet and return everything; raises as `sweep`."""
    results = _Results(grid.trials)
    with (
        Ending(keeps=options.directory is not None, time_limit=options.time_limit, began=options.called_at) as ending,
        open_checkpoints(options.directory, configuration, options.seconds_between_saves) as checkpoints,
    ):
        finished = [results.put(part, arrays) for part, arrays in checkpoints.finished()]
        begun = checkpoints.begun()
        border = grid.trials // len(grid.choices) if options.chunk < grid.trials else None
        parts = cut(grid.trials, options.chunk, finished, begun.part if begun else None, border=border)
        if not parts:
            return work.dataset(grid, results.arrays)
        room, stored = max(map(len, parts)), bytes_of(work.results, grid.trials)
        plan = Plan(
            trials=grid.trials,
            remaining=sum(map(len, parts)),
            trials_per_call=room,
            calls=len(parts),
            devices=options.mesh.size,
            form=str(work.form),
            bytes_per_device=work.bytes_for(room),
            bytes_of_results=stored,
            bytes_on_host=bytes_on_host(
                seeds=len(grid.seeds),
                results=stored,
                per_call=max(bytes_of(work.results, room), bytes_of(grid.one(), room)),
            ),
        )
        try:
            check_memory(plan, options.mesh, work.bytes_for, block=work.form.block)
        except ValueError:
            checkpoints.withdraw()
            raise
        options.on_plan(plan)

        total, done = grid.trials * work.units, (grid.trials - plan.remaining) * work.units
        found = done + (len(begun.part) * begun.iteration if begun else 0)
        begin = time.perf_counter()
        ending.due()
        ending.end_if_due(Progress(found, total, 0.0, found))
        for part in parts:

            def on_units(units: int, before: int = done, part: range = part) -> None:
                seconds = time.perf_counter() - begin
                progress = Progress(before + units * len(part), total, seconds, found)
                options.on_progress(progress)
                ending.end_if_due(progress)

            there = begun if begun and part == begun.part else None
            arrays = work.run(Call(part, room, there, checkpoints, ending.due, on_units))
            if part != parts[-1]:
                ending.due()
            checkpoints.save_part(part, arrays)
            results.put(part, arrays)
            del arrays  # else they would be held beside the dataset
            done += len(part) * work.units
            on_units(work.units)
    return work.dataset(grid, results.arrays)


def cut(
    trials: int, chunk: int, finished: Sequence[range], begun: range | None = None, *, border: int | None = None
) -> list[range]:
    """What is left to run: the part that was begun, then the gaps between finished ones in pieces of at most `chunk`.

    Pieces do not cross the multiples of `border`.

    Examples:
      >>> cut(10, 4, finished=[range(0, 3)])
      [range(3, 7), range(7, 10)]
      >>> cut(10, 4, finished=[range(0, 3)], begun=range(5, 7))
      [range(5, 7), range(3, 5), range(7, 10)]
      >>> cut(10, 4, finished=[], border=5)
      [range(0, 4), range(4, 5), range(5, 9), range(9, 10)]
    """
    first = [begun] if begun else []
    taken = sorted([*finished, *first], key=lambda part: part.start)
    begins, ends = [0, *(part.stop for part in taken)], [*(part.start for part in taken), trials]
    gaps = zip(begins, ends, strict=True)
    found = [*first]
    for at, end in gaps:
        while at < end:
            nearest = end if border is None else min(end, (at // border + 1) * border)
            found.append(range(at, min(at + chunk, nearest)))
            at = found[-1].stop  # noqa: PLW2901  # the gap that is left
    return found


def check_count(name: str, value: Any, least: int) -> int:
    """An integer of at least `least`; raises ValueError for anything else."""
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
        raise ValueError(f"{name}: expected a function, or None to be told nothing, got {given!r}")
    return given


class _Results:
    """Results of all trials, filled part by part."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self.arrays: Arrays = {}

    def put(self, part: range, arrays: Arrays) -> range:
        if not self.arrays:
            self.arrays = {name: np.empty((self._trials, *x.shape[1:]), x.dtype) for name, x in arrays.items()}
        for name, x in arrays.items():
            self.arrays[name][part.start : part.stop] = x
        return part
