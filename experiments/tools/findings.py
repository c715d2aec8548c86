"""`python -m experiments findings`: the runs that README speaks of, kept in the repository, and what they say."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.study import run_directory

RESULTS = Path(__file__).parents[1] / "results"
"""One JSON file for each run, named after its experiment; XOR(10) under the printed conditions is xor10-literal."""
PICTURES = {"xor10": ("convergence.png", "table_5.png"), "gain": ("phase_diagram.png", "phase_diagram.png")}
"""Figures that are kept with a run: its own name, and that in RESULTS."""
_OF_THE_MACHINE = {"source", "data", "out", "data_dir", "seconds"}
"""What says where files lay or how long it took, and nothing about the results."""


@dataclasses.dataclass(frozen=True)
class Findings:
    """Print what was found, in the sentences that README opens with, from the runs in experiments/results.

    About a second on 2 cores; trains nothing. Writes nothing without --keep, which takes the conditions and summaries
    of finished runs over into experiments/results/. Example: python -m experiments findings --keep runs/my-xor10
    """

    keep: tuple[Path, ...] = ()
    """Directories of runs, on real images and made by a commit, that take the place of those kept before."""

    def prepare(self) -> Callable[[], None]:
        """Returns the work.

        Raises:
          ValueError: in one line, for a directory that is no run, or one that cannot stand for the project's results.
        """
        entries = [(entry(directory), directory) for directory in self.keep]

        def work() -> None:
            from experiments.tools.sentences import lines

            for (name, text), directory in entries:
                print(f"kept: {keep(name, text)}")
                if name in PICTURES:
                    own, kept = PICTURES[name]
                    shutil.copyfile(directory / own, RESULTS / kept)
            print(lines(summaries()))

        return work


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
        **{name: environment[name] for name in ("commit", "packages", "processor", "devices")},
        "summary": _portable(content),
    }
    protocol = content.get("protocol", "recovered")
    name = str(manifest["experiment"]) + ("" if protocol == "recovered" else f"-{protocol}")
    return name, json.dumps(kept, indent=1) + "\n"


def keep(name: str, text: str, results: Path = RESULTS) -> Path:
    """Write an `entry` into the repository, whole or not at all; returns the file."""
    path = results / f"{name}.json"
    run_directory.replace(path, text.encode())
    return path


def summaries(results: Path = RESULTS) -> dict[str, Any]:
    """The kept summaries by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["summary"] for path in sorted(results.glob("*.json"))
    }


def _portable(value: Any) -> Any:
    """Without what is of the machine; in the entries of a list, as statements are, a source is a document."""
    if isinstance(value, Mapping):
        return {key: _portable(x) for key, x in value.items() if key not in _OF_THE_MACHINE}
    return value
