"""`python -m experiments COMMAND`: every experiment is one command."""

from __future__ import annotations

import sys
from typing import Annotated

try:
    import tyro
except ImportError:
    sys.exit('error: the experiments need more packages than the library: pip install -e ".[experiments]"')

from experiments.ablation.command import Ablation
from experiments.activations_command import Activations
from experiments.bench.command import Bench
from experiments.cnn.command import Cnn
from experiments.cnn.search_command import CnnSearch
from experiments.cnn.sharing_command import CnnSharing
from experiments.gradients.command import Gradients
from experiments.initial_scale.command import InitialScale
from experiments.mnist.command import Mnist
from experiments.optimisers.command import Optimisers
from experiments.relu_family.command import ReluFamily
from experiments.report_command import Report
from experiments.sigmoid_faults.command import SigmoidFaults
from experiments.verify_command import Verify
from experiments.xor10.command import Xor10
from experiments.xor10_figures.command import Xor10Figures
from experiments.xor10_protocol.command import Xor10Protocol

Command = (
    Annotated[Xor10, tyro.conf.subcommand("xor10")]
    | Annotated[Xor10Figures, tyro.conf.subcommand("xor10-figures")]
    | Annotated[Xor10Protocol, tyro.conf.subcommand("xor10-protocol")]
    | Annotated[Gradients, tyro.conf.subcommand("gradients")]
    | Annotated[Mnist, tyro.conf.subcommand("mnist")]
    | Annotated[Cnn, tyro.conf.subcommand("cnn")]
    | Annotated[CnnSharing, tyro.conf.subcommand("cnn-sharing")]
    | Annotated[CnnSearch, tyro.conf.subcommand("cnn-search")]
    | Annotated[Ablation, tyro.conf.subcommand("ablation")]
    | Annotated[InitialScale, tyro.conf.subcommand("initial-scale")]
    | Annotated[Optimisers, tyro.conf.subcommand("optimisers")]
    | Annotated[SigmoidFaults, tyro.conf.subcommand("sigmoid-faults")]
    | Annotated[ReluFamily, tyro.conf.subcommand("relu-family")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Activations, tyro.conf.subcommand("activations")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done. 1: a check failed, or a file could not be written. 2: bad input, said in one line; nothing written.
    """
    command: Command = tyro.cli(
        Command,
        args=arguments,
        prog="python -m experiments",
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    try:
        work = command.prepare()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return work() or 0
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = None
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        from paramact_jax.sweeps import DirectoryRefusedError

        if not isinstance(error, DirectoryRefusedError):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
