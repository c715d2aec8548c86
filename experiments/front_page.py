"""What `python -m experiments --help` prints, and what a command's docstring says about it. Imports no JAX."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import textwrap

import experiments.contents  # noqa: F401  # enters all commands
from experiments.commands import CONTENTS, leaves

_INDENT, _NAME = 2, 20


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the docstring of a command says.

    Attributes:
      gist: the first line.
      runtime: on 2 cores, as in "About 20 s on 2 cores"; "" if it is missing.
      writes: whether it says what is written where.
      example: the words of the example after `python -m experiments`.
    """

    gist: str
    runtime: str
    writes: bool
    example: tuple[str, ...]


def facts(command: type) -> Facts:
    """Reads the docstring of a command.

    Examples:
      >>> class Short:
      ...     '''Wait.
      ...
      ...     About a second on 2 cores; writes nothing. Example: python -m
      ...     experiments short --very
      ...     '''
      >>> facts(Short)
      Facts(gist='Wait.', runtime='a second', writes=True, example=('short', '--very'))
    """
    gist, _, rest = (command.__doc__ or "").partition("\n")
    text = " ".join(rest.split())
    runtime = re.search(r"\bAbout ((?:an?|\d+) [a-z]+) on 2 cores\b", text)
    example = re.search(r"\bExample: python -m experiments (.+)$", text)
    return Facts(
        gist,
        runtime[1] if runtime else "",
        re.search(r"\b[Ww]rites ", text) is not None,
        tuple(shlex.split(example[1])) if example else (),
    )


def page(width: int | None = None) -> str:
    """Writes the table of contents.

    Args:
      width: characters of a line (default: those of the terminal, at most 100).
    """
    width = min(shutil.get_terminal_size().columns, 100) if width is None else width
    blocks = ["usage: python -m experiments COMMAND [options]; COMMAND --help lists them"]
    for title, chapter in CONTENTS.items():
        lines = [title]
        for entry in chapter:
            found = list(leaves(entry))
            if len(found) > 1:
                lines.append(_item(entry.name, facts(entry.command).gist, width))
            for leaf in found:
                about, name = facts(leaf.command), "  " * (len(leaf.path) - 1) + leaf.path[-1]
                lines.append(_item(name, f"{about.gist} ({about.runtime})", width))
        blocks.append("\n".join(lines))
    blocks.append(
        textwrap.fill(
            "Times: of the defaults, on 2 cores. [P], [A], [R], [B1], [B2]: paramact_jax/papers/README.md.", width
        )
    )
    return "\n\n".join(blocks) + "\n"


def _item(name: str, text: str, width: int) -> str:
    first = f"{' ' * _INDENT}{name:<{_NAME - _INDENT}}"
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=" " * _NAME)
