"""`python -m experiments findings`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path


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
        from experiments.tools import kept

        entries = [(*kept.entry(directory), directory) for directory in self.keep]
        return lambda: _run(entries)


def _run(entries: list[tuple[str, str, Path]]) -> None:
    from experiments.tools import kept
    from experiments.tools.sentences import lines

    for name, text, directory in entries:
        print(f"kept: {kept.keep(name, text)}")
        kept.keep_picture(name, directory)
    print(lines(kept.Summaries()))
