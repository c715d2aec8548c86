"""What is generated in the pages: the front page, the page of the papers, and those of the experiments.

A page has `<!-- python -m experiments findings --show NAME -->`, what that command prints, and `<!-- end -->`.
`python -m experiments findings --write` writes all blocks again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.study.tables import Column
from experiments.tools import page_tables
from experiments.tools.headlines import HEADLINES
from experiments.tools.sentences import SENTENCES, Summaries, as_list, errata

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
FRONT = "front"
"""The name of the block whose marker has no name."""

_MARKED = re.compile(
    r"(<!-- python -m experiments findings(?: --show ([\w-]+))? -->\n)((?:.*?\n)??)(<!-- end -->)", re.DOTALL
)


def commands(kept: Summaries) -> str:
    """Makes the table of all studies: command, page, question, time and result."""
    from experiments.commands import CONTENTS, TOOLS, leaves
    from experiments.front_page import facts

    rows = []
    for title, chapter in CONTENTS.items():
        if title == TOOLS:
            continue
        rows.append([f"**{title}**", "", "", ""])
        for leaf in (leaf for entry in chapter for leaf in leaves(entry)):
            about, page, name = facts(leaf.command), page_of(leaf.command), " ".join(leaf.path)
            linked = f"[`{name}`]({page.relative_to(EXPERIMENTS)})" if page else f"`{name}`"
            result = " ".join(sentence(kept) for sentence in SENTENCES.get(name, ()))
            rows.append([linked, about.gist, about.runtime, result])
    return page_tables.markdown(["command", *(Column(x, left=True) for x in ("what it does", "time", "result"))], rows)


def page_of(command: type) -> Path | None:
    """Returns the page of a command: that of its module, or of the module that its module is named after.

    Examples:
      >>> from experiments.studies.cnn_search import CnnSearch
      >>> page_of(CnnSearch).name
      'cnn.md'
    """
    _, folder, module = command.__module__.split(".")
    pages = [page for page in (EXPERIMENTS / folder).glob("*.md") if f"{module}_".startswith(f"{page.stem}_")]
    return max(pages, key=lambda page: len(page.stem), default=None)


BLOCKS: dict[str, Callable[[Summaries], str]] = {
    FRONT: functools.partial(as_list, HEADLINES),
    "commands": commands,
    "errata": functools.partial(as_list, [errata]),
    "xor10": page_tables.counts,
    "xor10-protocol": page_tables.protocol,
    "xor10-figures": page_tables.figures,
    "mnist": page_tables.mnist,
    "mnist-not-true": page_tables.not_true,
    "ablation": page_tables.ablation,
    "cnn": page_tables.cnn,
    "cnn-sharing": page_tables.sharing,
    "gain": page_tables.gain,
    "crossing": page_tables.crossing,
    **{run: functools.partial(page_tables.starts, run=run) for run in ("starts-xor10", "starts-mnist", "starts-cnn")},
    "gradients": page_tables.gradients,
    "student-runs": page_tables.student_runs,
    **{run: functools.partial(page_tables.optimisers, run=run) for run in ("optimisers-xor10", "optimisers-mnist")},
    **{
        f"{run}-statements": functools.partial(page_tables.statements, run=run)
        for run in ("xor10", "cnn", "gain-mnist", "initial-scale", "sigmoid-faults", "relu-family", "optimisers-xor10")
    },
}
"""The blocks, by the name in the marker."""


def pages() -> Iterator[Path]:
    """Yields the pages that may have blocks."""
    yield ROOT / "README.md"
    yield ROOT / "paramact_jax" / "papers" / "README.md"
    yield from sorted(EXPERIMENTS.rglob("*.md"))


def names(text: str) -> list[str]:
    """Returns the names of the blocks of a page."""
    return [found[2] or FRONT for found in _MARKED.finditer(text)]


def updated(text: str, kept: Summaries) -> str:
    """Returns a page with the blocks of the kept runs.

    Raises:
      ValueError: for a marker with an unknown name.
    """

    def block(found: re.Match[str]) -> str:
        name = found[2] or FRONT
        if name not in BLOCKS:
            raise ValueError(f"expected a block among {', '.join(BLOCKS)}, got {name}")
        return f"{found[1]}{BLOCKS[name](kept)}\n{found[4]}"

    return _MARKED.sub(block, text)
