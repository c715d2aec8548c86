"""The files of a sweep in a directory. Any process may read them, also while the sweep runs.

program.json.gz                  the programs as text, for messages only
sweep.json                       configuration, with a checksum
labels.npz                       the trials, and the names of their results
trials-BEGIN-END.npz             results of a finished part
kept.npz                         results that were kept from another sweep
state-BEGIN-END-ITERATION.npz    the last two states of the part that is being trained
final-BEGIN-END-ITERATION.npz    the last state of a finished part of a long sweep
lock                             held by the process that works here; the system releases it when that process ends
task-TASK-of-TASKS/              the same files for one task of several
extension-NUMBER/                the same files for trials that were added later
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paramact_jax.sweeps.grid import Grid
from paramact_jax.sweeps.storage.atomic import Arrays, DamagedError, read_arrays, write_arrays
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError

MANIFEST, LABELS, KEPT = "sweep.json", "labels.npz", "kept.npz"
POSITIONS = " positions"
"""Name of the trials' positions in the grid's product, in a file of results; no result has this name."""
TASK, EXTENSION = re.compile(r"task-(\d+)-of-(\d+)"), re.compile(r"extension-(\d+)")
_PART = re.compile(r"trials-(\d+)-(\d+)\.npz")
_STATE = re.compile(r"(state|final)-(\d+)-(\d+)-(\d+)\.npz")


class Sheet(NamedTuple):
    """The description of the results in a directory.

    Attributes:
      grid: the trials.
      shapes: dtype and shape of each result of one trial, by name.
      about: the arguments of `to_dataset`, and "iterations" for a long sweep.
      starts: parts of the trials that go on from the final states of other directories: begin and end of each, the
        other directory's name within the sweep's, and the begin and end of the part there.
    """

    grid: Grid
    shapes: Mapping[str, tuple[str, Sequence[int]]]
    about: Mapping[str, Any]
    starts: Sequence[tuple[int, int, str, int, int]] = ()


class State(NamedTuple):
    """A state file: its part, the iterations done, and its path."""

    part: range
    iteration: int
    path: Path


class Contents:
    """The files of one sweep in a directory.

    Args:
      directory: a directory with a configuration.

    Raises:
      ValueError: in one line, if the configuration is damaged.
    """

    def __init__(self, directory: Path) -> None:
        """Reads the configuration."""
        self.directory = directory
        self.entries = read_manifest(directory / MANIFEST)
        self.digest = digest_of(self.entries)

    def sheet(self) -> Sheet | None:
        """Reads the description of the results; None if it is not written yet or the file is damaged."""
        return read_sheet(self.directory / LABELS)

    def parts(self) -> list[range]:
        """Returns the parts of the trials that are finished, in order."""
        found = (_PART.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted((range(int(m[1]), int(m[2])) for m in found if m), key=lambda part: part.start)

    def finished(self, sheet: Sheet, where: np.ndarray) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Yields the finished results: their positions in a grid's product, and the results.

        Args:
          sheet: description of the results.
          where: `Grid.matching` of that grid.
        """
        at = {self.part_path(part): sheet.grid.positions(part) for part in self.parts()}
        for path in (self.directory / KEPT, *at):
            if (arrays := self.load(path, "its trials are left out")) is not None:
                positions = where[at[path] if path in at else arrays.pop(POSITIONS)]
                here = positions >= 0
                if here.any():
                    yield positions[here], {name: x[here] for name, x in arrays.items()}

    def states(self, kind: str = "state") -> list[State]:
        """Returns the states of unfinished parts, or the "final" ones of finished parts, the latest first."""
        found = ((_STATE.fullmatch(path.name), path) for path in self.directory.iterdir())
        states = [State(range(int(m[2]), int(m[3])), int(m[4]), path) for m, path in found if m and m[1] == kind]
        return sorted(states, key=lambda state: state.iteration, reverse=True)

    def load(self, path: Path, consequence: str) -> Arrays | None:
        """Reads a file; None if it is gone. None, with a warning that names the consequence, if it is damaged."""
        try:
            arrays, about = read_arrays(path)
            if about["configuration"] != self.digest:
                raise DamagedError(f"{path}: it belongs to another sweep")
        except FileNotFoundError:  # the process that works there has removed it
            return None
        except DamagedError as error:
            told = self.damaged(path)
            warnings.warn(f"{error}; {told}{consequence}", RuntimeWarning, stacklevel=2)
            return None
        return arrays

    def damaged(self, path: Path) -> str:
        """Handles a damaged file, and returns a text for the message. Here it does nothing."""
        del path
        return ""

    def part_path(self, part: range) -> Path:
        """Returns the file of a finished part."""
        return self.directory / f"trials-{part.start}-{part.stop}.npz"

    def state_path(self, part: range, iteration: int, kind: str = "state") -> Path:
        """Returns the file of a state."""
        return self.directory / f"{kind}-{part.start}-{part.stop}-{iteration}.npz"


def sweeps_in(directory: Path) -> list[Path]:
    """Returns the directories of the tasks, or of the sweep itself and of its extensions, the oldest first."""
    if not directory.is_dir():
        return []
    numbered: list[tuple[tuple[int, ...], Path]] = []
    for path in directory.iterdir():
        match = TASK.fullmatch(path.name) or EXTENSION.fullmatch(path.name)
        if match and (path / MANIFEST).exists():
            numbered.append((tuple(map(int, match.groups())), path))
    own = [directory] if (directory / MANIFEST).exists() else []
    return own + [path for _, path in sorted(numbered)]


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Writes the description of the results."""
    arrays, static = sheet.grid.to_arrays()
    about = {"static": static, "shapes": sheet.shapes, "about": sheet.about, "starts": sheet.starts}
    write_arrays(path, arrays, about)


def read_sheet(path: Path) -> Sheet | None:
    """Reads what `write_sheet` wrote; None if it is not there or damaged."""
    try:
        arrays, about = read_arrays(path)
    except (FileNotFoundError, DamagedError):
        return None
    starts = [(int(a), int(b), str(name), int(c), int(d)) for a, b, name, c, d in about["starts"]]
    return Sheet(Grid.from_arrays(arrays, about["static"]), about["shapes"], about["about"], starts)


def read_manifest(path: Path) -> dict[str, str]:
    """Reads a configuration; raises ValueError, in one line, if the file is damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        configuration: dict[str, str] = content["configuration"]
        if content["sha256"] != digest_of(configuration):
            raise ValueError("its checksum does not hold")
    except (ValueError, KeyError, TypeError) as error:
        raise DirectoryRefusedError(
            f"directory: {path} is damaged ({error}); restore it, or name another directory"
        ) from error
    return configuration


def digest_of(configuration: Mapping[str, str]) -> str:
    """Returns a configuration's digest, which its files carry, so that files of other sweeps are recognised."""
    return hashlib.sha256(json.dumps(dict(configuration), sort_keys=True).encode()).hexdigest()
