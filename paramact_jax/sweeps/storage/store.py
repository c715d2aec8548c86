"""The directory of one sweep, for the process that works in it; see `storage.contents`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from paramact_jax.programs.identity import Identity
from paramact_jax.sweeps.storage.atomic import PARTIAL, Arrays, write_arrays, write_bytes
from paramact_jax.sweeps.storage.contents import (
    KEPT,
    LABELS,
    MANIFEST,
    TASK,
    Contents,
    Sheet,
    digest_of,
    read_manifest,
    write_sheet,
)
from paramact_jax.sweeps.storage.lock import LOCKS, Lock
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError, compare, pack_programs, read_programs

_PROGRAMS, _DAMAGED = "program.json.gz", ".damaged"
_STATES_KEPT = 2
_NO_PROGRAMS: Mapping[str, Identity] = {}


class Store(Contents):
    """The directory of one sweep, for one process at a time.

    Args:
      directory: a new or empty one, or that of the same sweep, which is then resumed.
      configuration: everything that the results depend on, by name.
      programs: identities of the programs, by name, so that a message can say how they differ.
      sheet: description of the results, if it is known already, so that the directory can be read from the beginning.
      lock_in: the directory that is locked, by default the same.

    Raises:
      ValueError: in one line, if the directory is in use, holds another sweep or other files, or is damaged.
      OSError: in one line, if it cannot be written to.
    """

    def __init__(
        self,
        directory: Path,
        configuration: Mapping[str, str],
        programs: Mapping[str, Identity] = _NO_PROGRAMS,
        *,
        sheet: Sheet | None = None,
        lock_in: Path | None = None,
    ) -> None:
        self.directory = directory
        self.entries = dict(configuration)
        self.digest = digest_of(configuration)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(lock_in or directory)
        except FileExistsError as error:
            raise DirectoryRefusedError(
                f"directory: expected a directory, got the file {directory}; name another one"
            ) from error
        except OSError as error:
            raise OSError(f"directory: cannot write to {directory}: {_reason(error)}; name another one") from error
        try:
            self._check(configuration, programs, sheet)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Releases the directory for other processes."""
        self._lock.release()

    def withdraw(self) -> None:
        """Removes the configuration if nothing has been kept yet, so that the directory is free for another sweep."""
        if not self.parts() and not self.states():
            for name in (MANIFEST, _PROGRAMS, LABELS, KEPT):
                (self.directory / name).unlink(missing_ok=True)

    def load_part(self, part: range) -> Arrays | None:
        """Returns the results of a finished part; None, with a warning, if the file is damaged."""
        return self.load(self.part_path(part), "its trials run again")

    def save_part(self, part: range, arrays: Arrays) -> None:
        """Keeps the results of a part, and removes its states."""
        self._save(self.part_path(part), arrays)
        for state in self.states():
            state.path.unlink()

    def load_state(self) -> tuple[range, int, Arrays] | None:
        """Returns the part that was begun, the iterations done, and its last state that is not damaged."""
        finished = self.parts()
        for state in self.states():
            if state.part in finished:  # the process ended before it removed the states
                state.path.unlink()
            elif (arrays := self.load(state.path, "the state before it, or else the start, is used")) is not None:
                return state.part, state.iteration, arrays
        return None

    def save_state(self, part: range, iteration: int, arrays: Arrays) -> None:
        """Keeps the state of a part, along with the state before it."""
        self._save(self.state_path(part, iteration), arrays)
        for state in self.states()[_STATES_KEPT:]:
            state.path.unlink()

    def save_final(self, part: range, iteration: int, arrays: Arrays) -> None:
        """Keeps the last state of a part, from which more iterations can go on."""
        self._save(self.state_path(part, iteration, "final"), arrays)

    def save_kept(self, arrays: Arrays) -> None:
        """Keeps results of another sweep, if they are not there yet."""
        if not (self.directory / KEPT).exists():
            self._save(self.directory / KEPT, arrays)

    def save_sheet(self, sheet: Sheet) -> None:
        """Keeps the description of the results."""
        try:
            write_sheet(self.directory / LABELS, sheet)
        except OSError as error:
            raise OSError(f"directory: cannot write to {self.directory}: {_reason(error)}; name another one") from error

    def damaged(self, path: Path) -> str:
        """Renames a damaged file, and returns its new name for a message."""
        set_aside = path.with_name(path.name + _DAMAGED)
        path.replace(set_aside)
        return f"set aside as {set_aside.name}, "

    def _save(self, path: Path, arrays: Arrays) -> None:
        try:
            write_arrays(path, arrays, {"configuration": self.digest})
        except OSError as error:
            raise OSError(
                f"cannot save {path}: {_reason(error)}; what was saved before is kept: make room and make the same "
                f"call again to go on from there"
            ) from error

    def _check(self, configuration: Mapping[str, str], programs: Mapping[str, Identity], sheet: Sheet | None) -> None:
        """Writes the configuration into a new directory, or checks that the directory is this sweep's."""
        for path in self.directory.glob(f".*{PARTIAL}"):
            path.unlink()
        manifest = self.directory / MANIFEST
        if manifest.exists():
            texts = read_programs(self.directory / _PROGRAMS)
            compare(self.directory, read_manifest(manifest), configuration, texts, programs)
            return
        names = {path.name for path in self.directory.iterdir()} - {_PROGRAMS, LABELS}  # written before the manifest
        if others := sorted(name for name in names if not LOCKS.fullmatch(name)):
            if TASK.fullmatch(others[0]):
                raise DirectoryRefusedError(
                    f"directory: {self.directory} holds {others[0]}, a part of a sweep; read all parts with "
                    f"sweeps.merge, or name another directory"
                )
            raise DirectoryRefusedError(
                f"directory: expected a new or empty one, or one of a sweep with its {MANIFEST}, got {self.directory} "
                f"with {others[0]} in it; name another one"
            )
        content = {"configuration": dict(configuration), "sha256": self.digest}
        try:
            write_bytes(self.directory / _PROGRAMS, pack_programs(programs))
            if sheet is not None:
                write_sheet(self.directory / LABELS, sheet)
            write_bytes(manifest, json.dumps(content, indent=2).encode() + b"\n")
        except OSError as error:
            raise OSError(f"directory: cannot write to {self.directory}: {_reason(error)}; name another one") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
