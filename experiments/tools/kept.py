"""The runs behind the pages: their conditions and summaries, kept in the repository as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
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
"""Figures that are kept with a run: the name in the run, and the name in RESULTS."""

_OF_THE_MACHINE = {"source", "data", "out", "data_dir", "seconds"}
"""Entries about files and durations, which say nothing about the results."""


def name_of(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Returns the name under which a run is kept.

    Examples:
      >>> name_of({"experiment": "xor10"}, {"protocol": "literal"}), name_of({"experiment": "mnist"}, {})
      ('xor10-literal', 'mnist')
    """
    name = str(manifest["experiment"])
    return f"{name}-{protocol}" if (protocol := summary.get("protocol", "recovered")) != "recovered" else name


def entry(directory: Path) -> tuple[str, str]:
    """Returns the name of a run and what is kept of it, as JSON.

    Args:
      directory: the directory of the run.

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
    """Writes an `entry` into the repository, whole or not at all; returns the file."""
    path = results / f"{name}.json"
    run_directory.replace(path, text.encode())
    return path


def keep_picture(name: str, directory: Path, results: Path = RESULTS) -> Path | None:
    """Copies the figure of a run that a page shows, if there is one; returns the file."""
    if name not in PICTURES:
        return None
    ours, kept = PICTURES[name]
    return Path(shutil.copyfile(directory / ours, results / kept))


def summaries(results: Path = RESULTS) -> dict[str, Any]:
    """Reads the kept summaries, by name."""
    files = sorted(results.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["summary"] for path in files}


def _portable(value: Any) -> Any:
    """Leaves out what depends on the machine, but not in entries of a list: the source of a statement is a document."""
    if isinstance(value, dict):
        return {key: _portable(x) for key, x in value.items() if key not in _OF_THE_MACHINE}
    return value
