"""`python -m experiments cnn`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.problems.cnn.options import ALL, Conditions, to_go_on
from experiments.problems.cnn.protocol import DENSE_ONLY, Combination, Protocol, Sharing

if TYPE_CHECKING:
    import xarray as xr
    from jax.sharding import Mesh

    from experiments.problems.cnn.images import Images
    from paramact_jax.sweeps import Plan, Progress


@dataclasses.dataclass(frozen=True)
class Cnn(Conditions):
    """Train the twelve convolutional networks of [A, Table 1] on 5,000 images of MNIST, 2,500 iterations, 5 seeds.

    And, for [A, Fig. 11], the same without convolutions under Sigmoid and Agile Sigmoid. About 20 minutes on 2 cores.
    Writes runs/cnn-DATE-TIME/: records.nc, run.json, summary.json, report.md, tables as CSV and LaTeX, the paper's
    Figs. 11 to 14. Interrupted, it goes on where it was when the same command is given the same --out.
    Example: python -m experiments cnn --combinations relu/relu parametric_relu/parametric_sigmoid --trials 3
    """

    combinations: tuple[str, ...] = ALL
    """Activation of the convolutional layers / of the dense hidden layer."""
    sharing: Sharing = Protocol.sharing
    """What has an a and b of its own in the convolutional layers: each element of a feature map, as in [A], each
    channel, or the layer."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.cnn import images
        from experiments.study import run_directory

        protocol = self.conditions(self.combinations, self.sharing)
        protocol.check()
        protocol.records()
        out = run_directory.choose(self.out, "cnn")
        digits = images.load(self.data, self.data_dir, protocol.training_images)
        chosen = images.for_training(digits, protocol.training_images, protocol.subset_seed)
        run_directory.check_unfinished(out, to_go_on(protocol, chosen))
        return lambda: _run(protocol, chosen, out)


def _run(protocol: Protocol, images: Images, out: Path) -> None:
    from experiments.cnn import report
    from experiments.problems.cnn import records
    from experiments.problems.cnn.train import classifier, dense_classifier, train
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.side_by_side import side_by_side
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    networks = {pair: records.name_of(pair) for pair in protocol.combinations} | {
        name: f"dense only: {name}" for name in DENSE_ONLY
    }
    seconds = {}
    with (
        run_directory.unfinished(out, to_go_on(protocol, images)) as kept,
        SweepProgress(list(networks.values()), protocol.iterations) as progress,
    ):

        def one(
            network: Combination | str, mesh: Mesh, compiled: Callable[[Plan], None], check: Callable[[], None]
        ) -> xr.Dataset:
            name = networks[network]

            def advanced(state: Progress) -> None:
                check()
                progress.advanced(name, state)

            started = time.perf_counter()
            found = train(
                dense_classifier(network, protocol)
                if isinstance(network, str)
                else classifier(network, protocol, mesh),
                protocol,
                images,
                looks=network not in DENSE_ONLY,
                directory=kept / f"{protocol.sharing}-{name}".replace("/", "-").replace(": ", "-").replace(" ", "-"),
                mesh=mesh,
                on_plan=compiled,
                on_progress=advanced,
            )
            progress.through(name)
            seconds[name] = time.perf_counter() - started
            return found

        trained = side_by_side(networks, one)
        run = run_directory.write(
            out,
            records.to_dataset(
                protocol,
                {pair: trained[pair] for pair in protocol.combinations},
                images,
                dense_only={name: trained[name] for name in DENSE_ONLY},
            ),
            experiment="cnn",
            config={**dataclasses.asdict(protocol), "data": images.source},
            seconds={"total": time.perf_counter() - begin, "networks": seconds},
        )
    finish(report, run, begin=begin, made="records, tables and figures")
