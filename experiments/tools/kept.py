"""The runs that the pages speak of: their conditions and summaries, kept in the repository as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.study import run_directory

RESULTS = Path(__file__).parents[1] / "results"
"""One file for each run, named after its experiment; XOR(10) under the printed conditions is xor10-literal."""

PICTURES = {
    "xor10": ("convergence.png", "table_5.png"),
    "gain": ("phase_diagram.png", "phase_diagram.png"),
    "gain-mnist": ("phases.png", "depth_diagram.png"),
}
"""Figures that are kept with a run: its own name, and that in RESULTS."""

_OF_THE_MACHINE = {"source", "data", "out", "data_dir", "seconds"}
"""What says where files lay or how long it took, and nothing about the results."""


def name_of(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The name under which a run is kept.

    Examples:
      >>> name_of({"experiment": "xor10"}, {"protocol": "literal"}), name_of({"experiment": "mnist"}, {})
      ('xor10-literal', 'mnist')
    """
    name = str(manifest["experiment"])
    return f"{name}-{protocol}" if (protocol := summary.get("protocol", "recovered")) != "recovered" else name


def entry(directory: Path) -> tuple[str, str]:
    """The name of a run and what is kept of it, as JSON.

    Args:
      directory: of the run, as an experiment wrote it.

    Raises:
      ValueError: in one line, if there is no such run, or it was made with synthetic images or by code of no commit.
    """
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"expected the directory of a run, got {directory}: no {Path(error.filename).name}") from error
    except ValueError as error:
        raise ValueError(f"expected a summary in JSON, got a damaged one in {directory} ({error})") from error
    manifest = run_directory.read_manifest(directory)
    content = summary if isinstance(summary, dict) else {"rows": summary}
    if content.get("synthetic"):
        raise ValueError(f"expected a run on real images, got {directory}, which was made with synthetic ones")
    environment = manifest["environment"]
    if not environment["commit"] or environment["commit"].endswith("+changes"):
        raise ValueError(
            f"expected a run made by a commit, got {directory}, made by {environment['commit']}; commit, then run again"
        )
    kept = {
        "experiment": manifest["experiment"],
        "config": _portable(manifest["config"]),
        "commit": environment["commit"],
        "packages": environment["packages"],
        "processor": environment["processor"],
        "devices": environment["devices"],
        "summary": _portable(content),
    }
    return name_of(manifest, content), json.dumps(kept, indent=1) + "\n"


def keep(name: str, text: str, results: Path = RESULTS) -> Path:
    """Write an `entry` into the repository, whole or not at all; returns the file."""
    path = results / f"{name}.json"
    run_directory.replace(path, text.encode())
    return path


def keep_picture(name: str, directory: Path, results: Path = RESULTS) -> Path | None:
    """Copy the figure that a page shows of a run, if one does; returns the file."""
    if name not in PICTURES:
        return None
    ours, kept = PICTURES[name]
    return Path(shutil.copyfile(directory / ours, results / kept))


class Summaries(Mapping[str, Any]):
    """The kept summaries by name, each read when it is asked for.

    Raises:
      KeyError: for a name that nothing is kept under.
    """

    def __init__(self, results: Path = RESULTS) -> None:
        self._files = {path.stem: path for path in sorted(results.glob("*.json"))}

    def __getitem__(self, name: str) -> Any:
        return json.loads(self._files[name].read_text(encoding="utf-8"))["summary"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _portable(value: Any) -> Any:
    """Without what is of the machine; in the entries of a list, as statements are, a source is a document."""
    if isinstance(value, dict):
        return {key: _portable(x) for key, x in value.items() if key not in _OF_THE_MACHINE}
    return value
