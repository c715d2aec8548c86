"""`python -m experiments cnn-sharing`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.problems.cnn.options import Conditions, to_go_on
from experiments.problems.cnn.protocol import Combination, Protocol, Sharing

if TYPE_CHECKING:
    import xarray as xr
    from jax.sharding import Mesh

    from experiments.problems.cnn.images import Images
    from paramact_jax.sweeps import Plan, Progress


@dataclasses.dataclass(frozen=True)
class CnnSharing(Conditions):
    """Compare an a and b for each element of a feature map, as in [A], with one for each channel or layer.

    On the same seeds: test loss, numbers of parameters, seconds per step. About 10 minutes on 2 cores. Writes
    runs/cnn-sharing-DATE-TIME/: records.nc, run.json, summary.json, report.md, the table as CSV and LaTeX, a figure.
    Interrupted, it goes on where it was when the same command is given the same --out.
    Example: python -m experiments cnn-sharing --combinations parametric_sigmoid/relu --iterations 5000
    """

    combinations: tuple[str, ...] = ("parametric_relu/parametric_sigmoid", "parametric_sigmoid/parametric_sigmoid")
    """Activation of the convolutional layers, with parameters, / of the dense hidden layer."""
    sharing: tuple[Sharing, ...] = ("element", "channel", "layer")
    """Which to compare, the first one with each of the others."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.cnn import images
        from experiments.study import run_directory

        if len(set(self.sharing)) < max(len(self.sharing), 2):
            raise ValueError(f"--sharing: expected two or three, each once, got {' '.join(self.sharing) or 'none'}")
        conditions = self.conditions(self.combinations, self.sharing[0])
        protocols = {sharing: dataclasses.replace(conditions, sharing=sharing) for sharing in self.sharing}
        conditions.check()
        for (conv, dense), (record, _) in conditions.records().items():
            if not record.params:
                raise ValueError(
                    f"--combinations: expected an activation with parameters in the convolutional layers, got "
                    f"{conv}/{dense}, where nothing can be shared; try parametric_{conv}/{dense}"
                )
        out = run_directory.choose(self.out, "cnn-sharing")
        digits = images.load(self.data, self.data_dir, self.training_images)
        chosen = images.for_training(digits, self.training_images, self.subset_seed)
        run_directory.check_unfinished(out, to_go_on(next(iter(protocols.values())), chosen))
        return lambda: _run(protocols, chosen, out)


def _run(protocols: dict[Sharing, Protocol], images: Images, out: Path) -> None:
    from experiments.cnn import sharing_records, sharing_report
    from experiments.problems.cnn.records import name_of
    from experiments.problems.cnn.train import classifier, seconds_per_step, train
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.progress import SweepProgress
    from experiments.study.side_by_side import side_by_side
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    first = next(iter(protocols.values()))
    networks = {
        (sharing, pair): classifier(pair, protocol)
        for sharing, protocol in protocols.items()
        for pair in protocol.combinations
    }
    with (
        run_directory.unfinished(out, to_go_on(first, images)) as kept,
        SweepProgress([f"{sharing}: {name_of(pair)}" for sharing, pair in networks], first.iterations) as progress,
    ):

        def one(
            network: tuple[Sharing, Combination],
            mesh: Mesh,
            compiled: Callable[[Plan], None],
            check: Callable[[], None],
        ) -> xr.Dataset:
            sharing, pair = network
            name = f"{sharing}: {name_of(pair)}"

            def advanced(state: Progress) -> None:
                check()
                progress.advanced(name, state)

            found = train(
                classifier(pair, protocols[sharing], mesh),
                protocols[sharing],
                images,
                directory=kept / f"{sharing}-{'-'.join(pair)}",
                mesh=mesh,
                on_plan=compiled,
                on_progress=advanced,
            )
            progress.through(name)
            return found

        trained = side_by_side(networks, one)
        timing = seconds_per_step(networks.values(), first, images)
        run = run_directory.write(
            out,
            sharing_records.to_dataset(protocols, trained, images, seconds_per_step=timing),
            experiment="cnn-sharing",
            config={**dataclasses.asdict(first), "sharing": list(protocols), "data": images.source},
            seconds={"total": time.perf_counter() - begin},
        )
    finish(sharing_report, run, begin=begin, made="records, table and figure")
