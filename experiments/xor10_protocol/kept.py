"""What an interrupted search has counted already, kept on disk until the search is finished."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.run_directory import replace
from experiments.xor10_protocol.work import Count, CountTrials, Job, Kind


class Kept:
    """The counts of every program and round that is through, in one file beside the run's directory.

    The file is replaced in one step after each program: a search that is killed goes on where it was, to the same
    records, when it is started again with the same options and the same `--out`.

    Args:
      out: directory that the run will be written to.
      config: what decides the counts, as JSON has it.

    Raises:
      ValueError: in one line, if there is a file of a search with another config, or it cannot be read.
    """

    def __init__(self, out: Path, config: Mapping[str, Any]) -> None:
        self.path = path_beside(out)
        self._config = json.loads(json.dumps(config))
        self._counts: dict[str, list[list[int]]] = {}
        if not self.path.exists():
            return
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            theirs, self._counts = dict(found["config"]), dict(found["counts"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected the counts of an interrupted search in {self.path}, got a damaged file ({error}); delete it"
            ) from error
        names = sorted(set(theirs) | set(self._config))
        if other := [name for name in names if theirs.get(name) != self._config.get(name)]:
            name = other[0]
            raise ValueError(
                f"--out: expected the {name} of the interrupted search in {self.path}, {theirs.get(name)}, got "
                f"{self._config.get(name)}; use the same, or name another directory"
            )

    def __len__(self) -> int:
        """Number of programs and rounds that are through."""
        return len(self._counts)

    def counting(self, count: CountTrials, on_known: Callable[[int], None] = lambda trials: None) -> CountTrials:
        """`count`, which only trains what is not known; `on_known` is called with the number of trials that are."""

        def known_or_counted(kind: Kind, jobs: Sequence[Job]) -> list[Count]:
            key = f"{kind[0]} {kind[1]} {hashlib.sha256(repr(list(jobs)).encode()).hexdigest()}"
            if key not in self._counts:
                self._counts[key] = [list(dataclasses.astuple(outcome)) for outcome in count(kind, jobs)]
                self.path.parent.mkdir(parents=True, exist_ok=True)
                replace(self.path, json.dumps({"config": self._config, "counts": self._counts}).encode())
            else:
                on_known(sum(job.trials for job in jobs))
            return [Count(*outcome) for outcome in self._counts[key]]

        return known_or_counted

    def discard(self) -> None:
        """Delete the file: the run is written."""
        self.path.unlink(missing_ok=True)


def path_beside(out: Path) -> Path:
    """Where the counts of an unfinished run in `out` are."""
    return out.with_name(f".{out.name}.counts.json")
