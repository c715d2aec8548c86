"""Reads results from directories, without the function that made them: of a running sweep, and of many tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from paramact_jax.sweeps.dataset import Results
from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.settings import SEED, Column
from paramact_jax.sweeps.storage.contents import EXTENSION, TASK, Contents, Sheet, sweeps_in
from paramact_jax.sweeps.storage.layers import unlike, unlike_tasks
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError

if TYPE_CHECKING:
    import xarray as xr


def read(directory: Path | str) -> xr.Dataset:
    """Returns the results that are in a sweep's directory so far.

    Any process may read at any time, also while others write: no lock is needed, and no device is used. After
    `extend=True` the results are those of the last such call. After `part=` they are those of all tasks.

    Args:
      directory: of `sweep` or `long_sweep`.

    Returns:
      The dataset that the sweep returns, if all trials are finished. Before that, unfinished trials are NaN, integers
      and booleans are float64, and the attribute "unfinished" counts the unfinished trials. For a long sweep it also
      has the values that unfinished trials observed up to the last saved state.

    Raises:
      ValueError: in one line, if there is no sweep, or if it is damaged.

    Examples:
      >>> import tempfile
      >>> from paramact_jax.sweeps import sweep
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     results = sweep(lambda key, x: x**2, range(3), axes={"x": [1.0, 2.0]}, directory=directory)
      ...     read(directory).identical(results)
      True
    """
    return _read(_path(directory))[0]


def merge(*directories: Path | str) -> xr.Dataset:
    """Returns the results of all tasks of a sweep, bit for bit as one call without `part=` returns them.

    Args:
      directories: the directory of all tasks; or several directories, of sweeps of the same function with different
        seeds or values. Their trials together have to be a whole product of axes and seeds.

    Raises:
      ValueError: in one line that names a task, if trials are not finished, or the directories hold different sweeps.

    Examples:
      >>> import tempfile
      >>> from paramact_jax.sweeps import sweep
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     for task in range(3):
      ...         _ = sweep(lambda key, x: x**2, range(8), axes={"x": [1.0, 2.0]}, part=(task, 3), directory=directory)
      ...     merge(directory)["result"].sizes
      Frozen({'x': 2, 'seed': 8})
    """
    if not directories:
        raise ValueError("merge: expected at least one directory, got none")
    each = [_read(_path(directory)) for directory in directories]
    for directory, (found, told) in zip(directories, each, strict=True):
        if "unfinished" in found.attrs:
            raise ValueError(
                f"merge: expected finished trials in {directory}, got {found.attrs['unfinished']} that are not, of "
                f"{told}; finish them, or use read, which returns what is there"
            )
    return each[0][0] if len(each) == 1 else _union([Path(directory) for directory in directories])


def _path(directory: Path | str) -> Path:
    if not isinstance(directory, str | os.PathLike):
        raise ValueError(f"directory: expected the path of a sweep's directory, got {directory!r}")
    return Path(directory)


def _read(directory: Path) -> tuple[xr.Dataset, str]:
    """Returns the results, and the names of the parts that are not finished."""
    several = _sheets(directory)
    tasks = [(contents, sheet) for contents, sheet in several if TASK.fullmatch(contents.directory.name)]
    last = several[-1][1]
    grid = Grid(last.grid.axes, last.grid.points, last.grid.seeds, {})
    results, missing = Results(grid.total, _shapes(last)), []
    for contents, sheet in several:
        if sheet.about["iterations"] != last.about["iterations"]:
            continue
        where = grid.matching(sheet.grid)
        for positions, arrays in contents.finished(sheet, where):
            results.put(positions, arrays)
        own = where[sheet.grid.positions(range(sheet.grid.trials))]
        if not results.have[own[own >= 0]].all():
            missing.append(contents.directory.name)
        _put_noted(results, contents, sheet, where)
    if tasks:
        count = int(TASK.fullmatch(tasks[0][0].directory.name)[2])  # type: ignore[index]  # it matched before
        there = {contents.directory.name for contents, _ in tasks}
        missing += [name for i in range(count) if (name := f"task-{i}-of-{count}") not in there]
    return results.dataset(grid, last), ", ".join(missing)


def _sheets(directory: Path) -> list[tuple[Contents, Sheet]]:
    """Returns the contents of a directory: tasks, or a sweep and its extensions."""
    found = []
    for path in sweeps_in(directory):
        contents = Contents(path)
        if (sheet := contents.sheet()) is None:
            if EXTENSION.fullmatch(path.name):  # it has just begun
                continue
            raise DirectoryRefusedError(
                f"directory: expected a sweep with its labels, got {path} without them; repeat the sweep's call, "
                f"which writes them"
            )
        found.append((contents, sheet))
    if not found:
        raise DirectoryRefusedError(f"directory: expected one of a sweep, got {directory} without one; name another")
    of_tasks = [contents for contents, _ in found if TASK.fullmatch(contents.directory.name)]
    for contents in of_tasks:
        if told := unlike_tasks(of_tasks[0].entries, contents.entries):
            raise DirectoryRefusedError(
                f"directory: expected tasks of one sweep, got {of_tasks[0].directory} and {contents.directory}, which "
                f"differ in {told}; remove the one that does not belong there"
            )
    return found


def _put_noted(results: Results, contents: Contents, sheet: Sheet, where: np.ndarray) -> None:
    """Adds the values that unfinished trials observed."""
    finished = contents.parts()
    for state in contents.states()[:1]:
        arrays = contents.load(state.path, "its observed values are left out") if state.part not in finished else None
        noted = {key: x for key, x in (arrays or {}).items() if ":" in key}
        if noted:
            positions = where[sheet.grid.positions(state.part)]
            here = positions >= 0
            results.note(positions[here], {key: x[here] for key, x in noted.items()})


def _shapes(sheet: Sheet) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for name, (dtype, shape) in sheet.shapes.items()}


def _union(directories: list[Path]) -> xr.Dataset:
    """Returns the results of sweeps with different seeds or values as one product."""
    several = [item for directory in directories for item in _sheets(directory)]
    first, sheet = several[0]
    for contents, other in several:
        told = unlike(first.entries, contents.entries, ("seeds", "task", "chunk"))
        if told or other.grid.points or EXTENSION.fullmatch(contents.directory.name):
            told = told or "points or extensions"
            raise ValueError(
                f"merge: expected sweeps that differ in seeds and values of axes, got {first.directory} and "
                f"{contents.directory}, which differ in {told}; merge them separately"
            )
    axes = {}
    for name, column in sheet.grid.axes.items():
        labels = np.array(list(dict.fromkeys(x for _, s in several for x in s.grid.axes[name].labels.tolist())))
        axes[name] = Column(labels, tuple(labels.tolist()) if column.static else labels)
    seeds = np.array(list(dict.fromkeys(x for _, s in several for x in s.grid.seeds.tolist())), np.uint32)
    grid = Grid(axes, {}, seeds, {})
    results = Results(grid.total, _shapes(sheet))
    for contents, own in several:
        for positions, arrays in contents.finished(own, grid.matching(own.grid)):
            results.put(positions, arrays)
    if not results.have.all():
        sizes = ", ".join(f"{size} of {name}" for name, size in zip(grid.dims, grid.shape, strict=True))
        raise ValueError(
            f"merge: expected trials that together are a product of axes and {SEED}s, got {int(results.have.sum())} of "
            f"the {grid.total} with {sizes}; merge fewer directories"
        )
    return results.dataset(grid, sheet)
