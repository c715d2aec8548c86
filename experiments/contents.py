"""The table of contents: every command, in the order in which a reader wants them, and how to run it small."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol, Union

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from experiments.bench.command import Bench
from experiments.studies.ablation import Ablation
from experiments.studies.cnn import Cnn
from experiments.studies.cnn_search import CnnSearch
from experiments.studies.cnn_sharing import CnnSharing
from experiments.studies.gradients import Gradients
from experiments.studies.initial_scale import InitialScale
from experiments.studies.mnist import Mnist
from experiments.studies.optimisers import Optimisers
from experiments.studies.relu_family import ReluFamily
from experiments.studies.sigmoid_faults import SigmoidFaults
from experiments.studies.xor10 import Xor10
from experiments.studies.xor10_figures import Xor10Figures
from experiments.studies.xor10_protocol import Xor10Protocol
from experiments.tools.activations import Activations
from experiments.tools.all import All
from experiments.tools.findings import Findings
from experiments.tools.report import Report
from experiments.tools.verify import Verify

TOOLS = "Tools"
"""Title of the chapter whose commands are no experiments: they write no run."""


class Command(Protocol):
    """What every command is: a frozen dataclass of options."""

    def prepare(self) -> Callable[[], int | None]:
        """Check everything that can be checked before compiling; returns the work, and that an exit status."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A command, with its subcommands.

    Attributes:
      name: on the command line.
      command: a dataclass; one with subcommands has the one field `what`.
      smoke: options that make it small, by subcommand ("" where there is none), for `all --smoke`. OUT is a directory
        or file of its own, RUNS are the directories of two runs before.
    """

    name: str
    command: type[Command]
    smoke: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One thing to run: a command without subcommands, or a subcommand.

    Attributes:
      path: its words on the command line.
      command: a dataclass.
      smoke: see `Entry`; None: `all --smoke` leaves it out.
    """

    path: tuple[str, ...]
    command: type[Command]
    smoke: str | None


_IMAGES = "--data synthetic"
_SHORT = f"{_IMAGES} --steps 4 --seeds 2 --test-every 2"
_CNN = f"{_IMAGES} --training-images 60 --batch 20"
_SHORT_CNN = f"{_CNN} --seeds 2 --steps 4 --test-every 2"

CONTENTS: Mapping[str, Sequence[Entry]] = {
    "Reproduce [P], Ko & Ko 2021": (
        Entry("xor10", Xor10, {"": "--activations sigmoid ppns --seeds 8 --steps 20 --out OUT"}),
        Entry("xor10-figures", Xor10Figures, {"": "--seeds 16 --every 100 --steps 1000 --out OUT"}),
        Entry("mnist", Mnist, {"": f"{_SHORT} --train-every 2 --activations ppns --out OUT"}),
        Entry("xor10-protocol", Xor10Protocol, {"": "--smoke --scales fan-in --bias-stds 0 --batches full --out OUT"}),
    ),
    "Reproduce [A], Kong, Ko & Ko 2020": (
        Entry("cnn", Cnn, {"": f"{_SHORT_CNN} --combinations relu/parametric_sigmoid --out OUT"}),
        Entry("cnn-search", CnnSearch, {"": f"{_CNN} --steps 1 --combinations relu/relu --out OUT"}),
        Entry(
            "cnn-sharing",
            CnnSharing,
            {"": f"{_SHORT_CNN} --combinations parametric_relu/relu --sharing element layer --out OUT"},
        ),
    ),
    "Studies that the papers lack": (
        Entry(
            "ablation",
            Ablation,
            {
                "xor10": "--activations ppns --seeds 8 --steps 20 --out OUT",
                "mnist": f"{_SHORT} --activations ppns --out OUT",
            },
        ),
        Entry("gradients", Gradients, {"": "--depth 1,3 --width 8 --seeds 8 --gains 1 --out OUT"}),
        Entry(
            "initial-scale",
            InitialScale,
            {
                "": f"{_IMAGES} --activations relu --scales 0.01 he --width 8 --steps 4 --printed-steps 4 "
                "--test-every 2 --rates 0.1 --seeds 2 --out OUT"
            },
        ),
        Entry(
            "optimisers",
            Optimisers,
            {
                "xor10": "--activations ppns --optimisers sgd adam --rates 0.05 --seeds 8 --choosing 4 --steps 20 "
                "--out OUT",
                "mnist": f"{_IMAGES} --activations ppns --optimisers sgd adam --rates 0.05 --seeds 3 --choosing 1 "
                "--steps 4 --out OUT",
            },
        ),
        Entry(
            "sigmoid-faults",
            SigmoidFaults,
            {
                "": "--gains 1 --width 8 --depth 2 --samples 8 --seeds 4 --xor-seeds 8 --xor-steps 20 --starts 10 "
                "--rounds 1 --timed-steps 5 --small --out OUT"
            },
        ),
        Entry(
            "relu-family",
            ReluFamily,
            {
                "": f"{_IMAGES} --activations relu elu --rates 0.1 --seeds 3 --choosing 1 --depth 2 "
                "--width 8 --steps 4 --look-every 2 --test-every 2 --probes 20 --out OUT"
            },
        ),
    ),
    TOOLS: (
        Entry("activations", Activations, {"": "--out OUT"}),
        Entry("verify", Verify, {"": "--activations ppns relu"}),
        Entry(
            "bench",
            Bench,
            {
                "xor10": "--rounds 1 --no-pytorch --activations ppns --json OUT.json",
                "mnist": f"{_IMAGES} --rounds 1 --steps 30 --json OUT.json",
                "cnn": f"{_IMAGES} --rounds 1 --steps 12 --json OUT.json",
                "activations": "--rounds 1 --small --functions tanh --json OUT.json",
                "sweeps": "--rounds 1 --trials 128 1024 --small --trainings logistic --json OUT.json",
                "accelerator": "--small --parts info --json OUT.json",
            },
        ),
        Entry("findings", Findings, {"": ""}),
        Entry("report", Report, {"": "RUNS"}),
        Entry("all", All, {}),
    ),
}
"""Chapters and their commands."""


def leaves(entry: Entry) -> Iterator[Leaf]:
    """What a command offers to run.

    Examples:
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
    """Everything there is to run, in order."""
    return [leaf for chapter in CONTENTS.values() for entry in chapter for leaf in leaves(entry)]


_READING = ConstructorRegistry()
_READ = "read"


@_READING.struct_rule
def _without_default_none(info: StructTypeInfo) -> StructConstructorSpec | None:
    """As tyro reads a dataclass, but for the hint "(default: None)": the option's own text says what happens then."""
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
    """The command that a command line asks for, with its options.

    Args:
      arguments: after `python -m experiments`; None: those of this process.

    Raises:
      SystemExit: with status 2, when the reason is printed, for what is no command or option; 0 for --help.
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
