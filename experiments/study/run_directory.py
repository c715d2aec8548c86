"""The directory of a run: labelled records and what they were made with, written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.study.environment import environment

if TYPE_CHECKING:
    import xarray as xr

RECORDS = "records.nc"
MANIFEST = "run.json"
_CONFIG = "config.json"
_KEYS = {"experiment": str, "config": dict, "environment": dict, "seconds": dict, "records": dict}


class DamagedRunError(ValueError):
    """Says that the manifest of a run lacks something that a report needs."""


class Manifest(dict[str, Any]):
    """A part of a run's manifest.

    Args:
      entries: the part, by name.
      path: the file of the manifest.

    Raises:
      DamagedRunError: in one line, if it is asked for a name that it does not have.
    """

    def __init__(self, entries: Mapping[str, Any], path: Path) -> None:
        super().__init__({k: Manifest(x, path) if isinstance(x, dict) else x for k, x in entries.items()})
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DamagedRunError(f"expected {name!r} in {self._path}, got a damaged manifest without it; run again")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run read back: its records, and the manifest with config, environment and seconds. Equal only to itself."""

    directory: Path
    records: xr.Dataset
    manifest: Mapping[str, Any]

    def seeds_and_images(self) -> str:
        """Says which seeds and images the records are of."""
        seeds, source = self.records["seed"].values, self.records.attrs.get("source")
        return f"seeds {seeds.min()} to {seeds.max()}{f'; images: {source}' if source else ''}"


def choose(out: Path | None, name: str) -> Path:
    """Returns the directory that a new run will be written to.

    Args:
      out: the user's choice; None: a new one under `runs/`, named after `name` and the time.
      name: the name of the experiment.

    Raises:
      ValueError: if the directory exists, or its parent is no directory that can be written to.
    """
    path = Path("runs") / time.strftime(f"{name}-%Y%m%d-%H%M%S") if out is None else out
    if path.exists() or path.is_symlink():
        raise ValueError(f"--out: expected a directory that does not exist yet, got {path}; name another one")
    ancestor = path.absolute().parent
    while not ancestor.exists():
        ancestor = ancestor.parent
    try:  # permissions do not tell for every file system and user: try it
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=ancestor):
            pass
    except OSError as error:
        raise ValueError(f"--out: expected a place that can be written to, got {path}; {ancestor}: {error}") from error
    return path


def check_unfinished(out: Path, config: Mapping[str, Any]) -> None:
    """Refuses to resume an interrupted run that had another config; see `unfinished`.

    Args:
      out: the directory that the run will be written to.
      config: everything that decides the results.

    Raises:
      ValueError: in one line, if the config next to `out` differs, or cannot be read.
    """
    path = kept(out) / _CONFIG
    if not path.exists():
        return
    try:
        theirs = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"--out: expected the config of an interrupted run in {path}, got a damaged file ({error}); "
            f"delete {path.parent}, or name another directory"
        ) from error
    ours = json.loads(json.dumps(config))
    if other := [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]:
        name = other[0]
        raise ValueError(
            f"--out: expected the {name} of the interrupted run in {path.parent}, {theirs.get(name)}, got "
            f"{ours.get(name)}; use the same, or name another directory"
        )


@contextlib.contextmanager
def unfinished(out: Path, config: Mapping[str, Any], *, again: str = "") -> Iterator[Path]:
    """Makes a directory next to `out` for what an interrupted run goes on from.

    It is removed at the end of the block, when the run is written. If an exception leaves the block, the directory
    stays if something is in it, and a line says how to go on.

    Args:
      out: the directory that the run will be written to.
      config: see `check_unfinished`, which a command calls before it starts.
      again: the command line that resumes; by default it is described.
    """
    directory = kept(out)
    directory.mkdir(parents=True, exist_ok=True)
    replace(directory / _CONFIG, json.dumps(config, indent=2).encode() + b"\n")
    try:
        yield directory
    except BaseException as error:
        from paramact_jax.sweeps import DirectoryRefusedError

        what = "interrupted" if isinstance(error, KeyboardInterrupt) else "not finished"
        if isinstance(error, DirectoryRefusedError):
            print(f"{what}; {directory} is kept: delete it to begin anew, or name another --out", file=sys.stderr)
        elif [entry for entry in directory.iterdir() if entry.name != _CONFIG]:
            print(f"{what}; resume with: {again or f'the same command and --out {out}'}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
            print(f"{what}; nothing was trained far enough to be kept", file=sys.stderr)
        raise
    shutil.rmtree(directory, ignore_errors=True)


def write(path: Path, records: xr.Dataset, *, experiment: str, config: Mapping[str, Any], seconds: Any) -> Run:
    """Writes a run whole or not at all (see `write_directory`), and reads it back, as a later report does.

    Args:
      path: the directory, as `choose` returned it.
      records: labelled results.
      experiment: the name of the experiment.
      config: everything that decides the results.
      seconds: what took how long.

    Raises:
      OSError: as `write_directory`.
    """

    def fill(partial: Path) -> None:
        compressed: dict[Any, Any] = {name: {"zlib": True, "complevel": 1} for name in records.data_vars}
        records.to_netcdf(partial / RECORDS, engine="h5netcdf", encoding=compressed)
        manifest.update(records=_fingerprint(partial / RECORDS))
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    manifest: dict[str, Any] = {
        "experiment": experiment,
        "config": dict(config),
        "environment": environment(),
        "seconds": seconds,
    }
    write_directory(path, fill)
    return read(path)


def write_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write into a directory with a temporary name next to `path`, then gives it its name in one step.

    Raises:
      OSError: if it cannot be written, or `path` exists by now. Then what was written stays under the name in the
        message.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    try:
        fill(partial)
        for file in partial.iterdir():
            _flush(file)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    try:
        if path.exists():
            raise FileExistsError("it exists by now")
        partial.rename(path)
    except OSError as error:
        raise OSError(f"cannot name the directory {path}: {error}; its files are kept in {partial}") from error
    _flush(path.parent)


def read(path: Path) -> Run:
    """Reads a run back, after checking that its files are whole.

    Raises:
      ValueError: in one line, if there is no run, or one of its files is missing, truncated or altered.
    """
    import xarray as xr

    manifest, records_path = read_manifest(path), path / RECORDS
    for name, kind in _KEYS.items():
        if not isinstance(manifest[name], kind):
            raise DamagedRunError(
                f"expected {name!r} in {path / MANIFEST} to be a {kind.__name__}, got a damaged manifest with "
                f"{manifest[name]!r:.80}; run again"
            )
    expected = manifest["records"]["bytes"], manifest["records"]["sha256"]
    if not records_path.is_file():
        raise ValueError(f"expected records in {records_path}, got no such file; run the experiment again")
    actual = _fingerprint(records_path)
    if (actual["bytes"], actual["sha256"]) != expected:
        raise ValueError(
            f"expected {expected[0]} bytes with sha256 {expected[1]!s:.12}... in {records_path}, got {actual['bytes']} "
            f"bytes with {actual['sha256'][:12]}...: the file is truncated or was altered; run the experiment again"
        )
    return Run(path, xr.load_dataset(records_path, engine="h5netcdf"), manifest)


def read_manifest(path: Path) -> Manifest:
    """Returns what the run in this directory was made with.

    Raises:
      ValueError: in one line, if there is no manifest, or it is not a JSON object.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise ValueError(f"expected the directory of a run, with {MANIFEST} and {RECORDS} in it, got {path}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedRunError(f"expected a manifest in JSON, got a damaged {file} ({error}); run again") from error
    if not isinstance(content, dict):
        raise DamagedRunError(f"expected a JSON object in {file}, got a damaged manifest, {content!r:.80}; run again")
    return Manifest(content, file)


def replace(path: Path, content: bytes) -> None:
    """Replaces a file in one step: readers see the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    _flush(partial)
    partial.replace(path)


def within(directory: Path, name: str) -> Path:
    """Returns the place in a directory for what has this name, whatever characters the name has.

    Examples:
      >>> within(Path("kept"), "../mine.py:gate").as_posix()
      'kept/..%2Fmine.py%3Agate'
    """
    return directory / urllib.parse.quote(name, safe="")


def kept(out: Path) -> Path:
    """Returns the directory where an interrupted run keeps what is finished, if it will be written to `out`."""
    return out.with_name(f".{out.name}.unfinished")


def _fingerprint(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
