"""`python -m experiments cnn-search`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.problems.cnn.options import Training, pairs
from experiments.problems.cnn.protocol import SEARCH_GRID, SEARCHED, Protocol, search_cells

if TYPE_CHECKING:
    from experiments.problems.cnn.images import Images


@dataclasses.dataclass(frozen=True)
class CnnSearch(Training):
    """Search what [A] leaves open, one choice for all combinations: a declared grid, nothing tuned per row.

    24 cells: pooling, learning rate, initial weights, initial a. Each trains on the
    5,000 images of `cnn` and is scored on 5,000 others of the training split, never on a test image: mean over the
    combinations of the smallest loss. All cells get few iterations, the best quarter more, the best quarter of these
    yet more. About 12 minutes on 2 cores. Writes runs/cnn-search-DATE-TIME/: records.nc, run.json,
    summary.json, report.md, the ranking as CSV and LaTeX. Interrupted, it goes on where it was when the same command is
    given the same --out. Example: python -m experiments cnn-search --combinations sigmoid/relu parametric_relu/relu
    """

    combinations: tuple[str, ...] = tuple(map("/".join, SEARCHED))
    """Activation of the convolutional layers / of the dense hidden layer."""
    iterations: tuple[int, ...] = (200, 600, 2_000)
    """Of each round."""
    keep_one_in: int = 4
    """Of so many cells one goes on to the next round."""
    trials: int = 1
    """Networks of each combination in every cell, on the same seeds."""

    def base(self) -> Protocol:
        """What all cells have in common.

        Raises:
          ValueError: in one line, for a combination that is not CONV/DENSE.
        """
        return Protocol(
            training_images=self.training_images,
            subset_seed=self.subset_seed,
            batch_size=self.batch_size,
            first_seed=self.first_seed,
            trials=self.trials,
            combinations=pairs(self.combinations),
        )

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.problems.cnn import images
        from experiments.study import run_directory

        if not self.iterations or list(self.iterations) != sorted(set(self.iterations)):
            raise ValueError(f"--iterations: expected rising numbers, one a round, got {self.iterations}")
        if self.keep_one_in < 2:
            raise ValueError(f"--keep-one-in: expected an integer >= 2, got {self.keep_one_in}")
        base = self.base()
        for iterations in self.iterations:
            dataclasses.replace(base, iterations=iterations).check()
        base.records()
        out = run_directory.choose(self.out, "cnn-search")
        digits = images.load(self.data, self.data_dir, self.training_images)
        chosen = images.for_search(digits, self.training_images, self.subset_seed)
        run_directory.check_unfinished(out, self.config())
        return lambda: _run(self, base, chosen, out)

    def config(self) -> dict[str, Any]:
        """All options that decide the results."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in ("out", "data_dir")}


def _run(command: CnnSearch, base: Protocol, images: Images, out: Path) -> None:
    from experiments.cnn import search_records, search_report
    from experiments.cnn.search import halving, train_cells
    from experiments.study import run_directory
    from experiments.study.files import finish
    from experiments.study.startup import start

    start()
    begin = time.perf_counter()
    grid = search_cells(base)
    with run_directory.unfinished(out, command.config()) as kept:
        score = train_cells(grid, images, kept)
        rounds = halving(len(grid), command.iterations, command.keep_one_in, score)
        run = run_directory.write(
            out,
            search_records.to_dataset(grid, rounds, images),
            experiment="cnn-search",
            config=command.config() | {"grid": {name: list(values) for name, values in SEARCH_GRID.items()}},
            seconds={"total": time.perf_counter() - begin},
        )
    finish(search_report, run, begin=begin, made="records and tables")
