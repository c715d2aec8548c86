"""`python -m experiments findings`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Findings:
    """Print what was found, in the sentences of the front page, from the runs in experiments/results.

    About a second on 2 cores; trains nothing. Writes nothing without --keep or --write.
    Example: python -m experiments findings --keep runs/my-xor10 --write
    """

    keep: tuple[Path, ...] = ()
    """Directories of finished runs, on real images and made by a commit. Their conditions and summaries take the place
    of those in experiments/results."""
    show: tuple[str, ...] = ()
    """Names of other tables and sentences to print, as in the markers of the pages; of a wrong name the right ones are
    listed."""
    write: bool = False
    """Put all generated tables and sentences into the pages of the repository."""

    def prepare(self) -> Callable[[], None]:
        """Checks directories and names; returns the work.

        Raises:
          ValueError: in one line, for a directory that is not a run or cannot stand for the project's results, and for
            an unknown name.
        """
        from experiments.tools import kept, pages

        if unknown := [name for name in self.show if name not in pages.BLOCKS]:
            raise ValueError(f"--show: expected names among {', '.join(pages.BLOCKS)}, got {', '.join(unknown)}")
        entries = [(*kept.entry(directory), directory) for directory in self.keep]

        def work() -> None:
            for name, text, directory in entries:
                print(f"kept: {kept.keep(name, text)}")
                kept.keep_picture(name, directory)
            found = kept.summaries()
            for page in pages.pages() if self.write else ():
                text = page.read_text(encoding="utf-8")
                if (now := pages.updated(text, found)) != text:
                    page.write_text(now, encoding="utf-8")
                    print(f"written: {page.relative_to(pages.ROOT)}")
            print("\n\n".join(pages.BLOCKS[name](found) for name in self.show or (pages.FRONT,)))

        return work
