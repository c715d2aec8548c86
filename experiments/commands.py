"""What a command is, the list of all commands, and how a command line is read. Knows no command by name."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol, Union

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from experiments.study import imports

TOOLS = "Tools"
"""The title of the chapter of commands that are not experiments: they write no run."""


class Command(Protocol):
    """A command: a frozen dataclass of options."""

    def prepare(self) -> Callable[[], int | None]:
        """Checks everything that can be checked before compiling; returns the work, which returns an exit status."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A command, with its subcommands.

    Attributes:
      name: its name on the command line.
      command: a dataclass. With subcommands it has the field `what` alone.
      smoke: options that make it small, by subcommand ("" where there is none), for `all --smoke`. OUT is a directory
        or file of its own, RUNS are the directories of two earlier runs.
    """

    name: str
    command: type[Command]
    smoke: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A command without subcommands, or a subcommand.

    Attributes:
      path: its words on the command line.
      command: a dataclass.
      smoke: see `Entry`. None: `all --smoke` leaves it out.
    """

    path: tuple[str, ...]
    command: type[Command]
    smoke: str | None


CONTENTS: dict[str, Sequence[Entry]] = {}
"""Chapters and their commands, which `experiments.contents` enters."""


def leaves(entry: Entry) -> Iterator[Leaf]:
    """Yields a command, or its subcommands.

    Examples:
      >>> import experiments.contents
      >>> [" ".join(leaf.path) for leaf in leaves(CONTENTS["Studies that the papers lack"][0])]
      ['ablation xor10', 'ablation mnist']
    """
    if [field.name for field in dataclasses.fields(entry.command)] != ["what"]:  # type: ignore[arg-type]  # see Command
        yield Leaf((entry.name,), entry.command, entry.smoke.get(""))
        return
    union = typing.get_type_hints(entry.command, include_extras=True)["what"]
    for alternative in typing.get_args(union):
        command, named = typing.get_args(alternative)
        yield Leaf((entry.name, named.name), command, entry.smoke.get(named.name))


def all_leaves() -> list[Leaf]:
    """Returns everything that can be run, in order."""
    return [leaf for chapter in CONTENTS.values() for entry in chapter for leaf in leaves(entry)]


_READING = ConstructorRegistry()
_READ = "read"


@_READING.struct_rule
def _without_default_none(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Reads a dataclass as tyro does, without the hint "(default: None)": the option says what None means."""
    if not dataclasses.is_dataclass(info.type) or _READ in info.markers:
        return None
    found = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, markers=(*info.markers, _READ)))
    if not isinstance(found, StructConstructorSpec):
        return None

    def silent(kind: Any) -> Any:
        return Annotated[kind, tyro.conf.arg(help_behavior_hint="")]

    fields = [
        dataclasses.replace(field, type=silent(field.type)) if field.default is None else field
        for field in found.fields
    ]
    return dataclasses.replace(found, fields=tuple(fields))


def parse(arguments: Sequence[str] | None = None) -> Command:
    """Returns the command that a command line asks for, with its options.

    Args:
      arguments: the words after `python -m experiments`; None: those of this process.

    Raises:
      SystemExit: with status 2 after a message, for an unknown command or option; with status 0 for --help.
    """
    entries = [entry for chapter in CONTENTS.values() for entry in chapter]
    union: Any = Union[tuple(Annotated[entry.command, tyro.conf.subcommand(entry.name)] for entry in entries)]  # noqa: UP007  # made at run time
    return tyro.cli(
        union,
        args=arguments,
        prog="python -m experiments",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        registry=_READING,
    )


def prepared(command: Command) -> Callable[[], int | None]:
    """Checks a command and makes the imports that wait; returns its work.

    Raises:
      ValueError: in one line, for what cannot be done.
      OSError: for what cannot be read or written.
    """
    work = command.prepare()
    imports.complete()
    return work
