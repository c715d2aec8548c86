"""Why a directory is refused: how its sweep differs from the call."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paramact_jax.programs.difference import difference
from paramact_jax.programs.identity import Identity

Texts = dict[str, list[str]]


class DirectoryRefusedError(ValueError):
    """Raised for a directory that a sweep cannot resume from."""


def compare(
    directory: Path,
    stored: Mapping[str, str],
    now: Mapping[str, str],
    texts: Mapping[str, Sequence[str]],
    programs: Mapping[str, Identity],
) -> None:
    """Raises ValueError, in one line that names each entry in which two configurations differ.

    Args:
      directory: the directory of the stored configuration.
      stored: the stored configuration.
      now: the configuration of the call.
      texts: stored lines of programs, as far as they can be read.
      programs: the programs of the call.
    """
    if stored.get("format") != now.get("format"):
        raise DirectoryRefusedError(
            f"directory: {directory} was written by an earlier or later version of paramact_jax, which describes "
            f"sweeps differently (format {stored.get('format', 'none')}, now {now.get('format', 'none')}); finish it "
            f"with that version, read its trials-*.npz with paramact_jax.sweeps.storage.atomic.read_arrays, or name "
            f"another directory"
        )
    stored, now = with_order(stored), with_order(now)
    if names := differences(stored, now):
        names.sort(key=lambda name: name in programs)  # programs last: other changes show in them too
        changes = "; ".join(f"{name}: {_change(name, stored, now, texts, programs)}" for name in names)
        raise DirectoryRefusedError(
            f"directory: {directory} holds a sweep that differs in {changes}. Make the call as it was stored to go on "
            f"with it, or name another directory"
        )


def with_order(entries: Mapping[str, str]) -> dict[str, str]:
    """Returns a configuration with one more entry: the order of its axes, in which results are stored."""
    axes = [name.removeprefix("axes.") for name in entries if name.startswith("axes.")]
    return {**entries, **({"order of axes": ", ".join(axes)} if len(axes) > 1 else {})}


def differences(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns the names of the entries in which two configurations differ."""
    stored, now = with_order(stored), with_order(now)
    return [name for name in {**stored, **now} if stored.get(name) != now.get(name)]


def pack_programs(programs: Mapping[str, Identity]) -> bytes:
    """Returns the lines of programs as the content of a file."""
    return gzip.compress(json.dumps({name: program.lines for name, program in programs.items()}).encode(), mtime=0)


def read_programs(path: Path) -> Texts:
    """Reads the lines of programs; an empty dict if the file is not there or damaged."""
    try:
        found: Texts = json.loads(gzip.decompress(path.read_bytes()))
        return {name: [str(line) for line in lines] for name, lines in found.items()}
    except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError):
        return {}


def _change(
    name: str,
    stored: Mapping[str, str],
    now: Mapping[str, str],
    texts: Mapping[str, Sequence[str]],
    programs: Mapping[str, Identity],
) -> str:
    if name in programs and name in stored and _digest(texts.get(name, ())) == stored[name]:
        return difference(texts[name], programs[name].lines, programs[name].where)
    absent = "not there"
    return f"{stored.get(name, absent)} stored, {now.get(name, absent)} now"


def _digest(lines: Sequence[Any]) -> str:
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
