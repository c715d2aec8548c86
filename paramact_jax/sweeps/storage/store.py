"""What a sweep keeps in its directory: finished parts of the trials, and where the unfinished one stands.

program.json.gz                  the programs as text, for messages only
sweep.json                       configuration, with a checksum
trials-BEGIN-END.npz             results of a finished part
state-BEGIN-END-ITERATION.npz    the last two states of the part that is being trained
lock                             held by the process that works here, see `lock`
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paramact_jax.programs.identity import Identity
from paramact_jax.sweeps.storage.atomic import PARTIAL, Arrays, DamagedError, read_arrays, write_arrays, write_bytes
from paramact_jax.sweeps.storage.lock import LOCKS, Lock
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError, compare, pack_programs, read_programs

_MANIFEST, _PROGRAMS, _DAMAGED = "sweep.json", "program.json.gz", ".damaged"
_PART = re.compile(r"trials-(\d+)-(\d+)\.npz")
_STATE = re.compile(r"state-(\d+)-(\d+)-(\d+)\.npz")
_STATES_KEPT = 2
_NO_PROGRAMS: Mapping[str, Identity] = {}


class Store:
    """The directory of one sweep, for one process at a time.

    Args:
      directory: a new or empty one, or that of the same sweep, which is then resumed.
      configuration: everything that the results depend on, by name.
      programs: what the programs are, by name, so that a message can say how they differ.

    Raises:
      ValueError: in one line, if the directory is in use, holds another sweep or other files, or is damaged.
      OSError: in one line, if it cannot be written to.
    """

    def __init__(
        self, directory: Path, configuration: Mapping[str, str], programs: Mapping[str, Identity] = _NO_PROGRAMS
    ) -> None:
        self.directory = directory
        self._hash = _hash(configuration)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(directory)
        except FileExistsError as error:
            raise DirectoryRefusedError(
                f"directory: expected a directory, got the file {directory}; name another one"
            ) from error
        except OSError as error:
            raise OSError(f"directory: cannot write to {directory}: {_reason(error)}; name another one") from error
        try:
            self._check(configuration, programs)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let other processes have the directory."""
        self._lock.release()

    def withdraw(self) -> None:
        """Forget the configuration if nothing has been kept yet, so that the directory is free for another."""
        if not self.parts() and not self._states():
            (self.directory / _MANIFEST).unlink(missing_ok=True)
            (self.directory / _PROGRAMS).unlink(missing_ok=True)

    def parts(self) -> list[range]:
        """The parts of the trials that are finished, in order."""
        found = (_PART.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted((range(int(m[1]), int(m[2])) for m in found if m), key=lambda part: part.start)

    def load_part(self, part: range) -> Arrays | None:
        """Results of a finished part; None, with a warning, if the file is damaged."""
        return self._load(self._path_of(part), "its trials run again")

    def save_part(self, part: range, arrays: Arrays) -> None:
        """Keep the results of a part, and its states no longer."""
        self._save(self._path_of(part), arrays)
        for _, path in self._states():
            path.unlink()

    def load_state(self) -> tuple[range, int, Arrays] | None:
        """The part that had been begun, its iterations done and its state: the last one that is whole."""
        finished = self.parts()
        for (begin, end, iteration), path in self._states():
            if range(begin, end) in finished:  # died between keeping the results and removing the states
                path.unlink()
            elif (arrays := self._load(path, "the state before it, or else the start, is used")) is not None:
                return range(begin, end), iteration, arrays
        return None

    def save_state(self, part: range, iteration: int, arrays: Arrays) -> None:
        """Keep the state of a part, beside the one before it."""
        self._save(self.directory / f"state-{part.start}-{part.stop}-{iteration}.npz", arrays)
        for _, path in self._states()[_STATES_KEPT:]:
            path.unlink()

    def _states(self) -> list[tuple[tuple[int, int, int], Path]]:
        """Begin, end, iteration and file of each state, the latest first."""
        found = ((_STATE.fullmatch(path.name), path) for path in self.directory.iterdir())
        states = [((int(m[1]), int(m[2]), int(m[3])), path) for m, path in found if m]
        return sorted(states, key=lambda state: state[0][2], reverse=True)

    def _path_of(self, part: range) -> Path:
        return self.directory / f"trials-{part.start}-{part.stop}.npz"

    def _save(self, path: Path, arrays: Arrays) -> None:
        try:
            write_arrays(path, arrays, {"configuration": self._hash})
        except OSError as error:
            raise OSError(
                f"cannot save {path}: {_reason(error)}; what was saved before is kept: make room and make the same "
                f"call again to go on from there"
            ) from error

    def _load(self, path: Path, consequence: str) -> Arrays | None:
        try:
            arrays, about = read_arrays(path)
            if about["configuration"] != self._hash:
                raise DamagedError(f"{path}: it belongs to another sweep")
        except DamagedError as error:
            set_aside = path.with_name(path.name + _DAMAGED)
            path.replace(set_aside)
            warnings.warn(f"{error}; set aside as {set_aside.name}, {consequence}", RuntimeWarning, stacklevel=2)
            return None
        return arrays

    def _check(self, configuration: Mapping[str, str], programs: Mapping[str, Identity]) -> None:
        """Start the directory, or make sure that it is this sweep's."""
        for path in self.directory.glob(f".*{PARTIAL}"):
            path.unlink()
        manifest = self.directory / _MANIFEST
        if manifest.exists():
            texts = read_programs(self.directory / _PROGRAMS)
            compare(self.directory, _read_manifest(manifest), configuration, texts, programs)
            return
        names = {path.name for path in self.directory.iterdir()} - {_PROGRAMS}  # written before the manifest
        if others := sorted(name for name in names if not LOCKS.fullmatch(name)):
            raise DirectoryRefusedError(
                f"directory: expected a new or empty one, or one of a sweep with its {_MANIFEST}, got {self.directory} "
                f"with {others[0]} in it; name another one"
            )
        content = {"configuration": dict(configuration), "sha256": self._hash}
        try:
            write_bytes(self.directory / _PROGRAMS, pack_programs(programs))
            write_bytes(manifest, json.dumps(content, indent=2).encode() + b"\n")
        except OSError as error:
            raise OSError(f"directory: cannot write to {self.directory}: {_reason(error)}; name another one") from error


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        configuration: dict[str, str] = content["configuration"]
        if content["sha256"] != _hash(configuration):
            raise ValueError("its checksum does not hold")
    except (ValueError, KeyError, TypeError) as error:
        raise DirectoryRefusedError(
            f"directory: {path} is damaged ({error}); restore it, or name another directory"
        ) from error
    return configuration


def _hash(configuration: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(configuration), sort_keys=True).encode()).hexdigest()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
