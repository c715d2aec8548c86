"""What the records say: each optimiser's best learning rate, and who is better by how much."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from experiments.optimisers.design import PLAIN, RESCUED, RESCUER
from experiments.study.samples import paired
from paramact_jax.statistics import PairedComparison, holm

LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One number or one yes/no a network.

    Attributes:
      name: for titles.
      values: dims activation, optimiser, learning_rate, seed.
      chosen_by: likewise, what learning rates and optimisers are chosen by.
      choosing: how many seeds, the first ones, choose.
    """

    name: str
    values: xr.DataArray
    chosen_by: xr.DataArray
    choosing: int

    @property
    def counted(self) -> bool:
        """Whether it is yes or no, and yes is better; else it is a loss."""
        return self.values.dtype == bool

    @property
    def reported(self) -> xr.DataArray:
        """Of the other seeds."""
        return self.values.isel(seed=slice(self.choosing, None))

    def scores(self) -> xr.DataArray:
        """What is chosen by, the higher the better: dims activation, optimiser, learning_rate.

        The share of yes, or the mean loss with its sign changed; a loss that is no number is the worst.
        """
        chosen_by = self.chosen_by.isel(seed=slice(0, self.choosing)).astype(np.float64)
        good = chosen_by if self.counted else -chosen_by
        return good.where(np.isfinite(good), -np.inf).mean("seed")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One activation with one optimiser at the learning rate that was chosen.

    Attributes:
      activation, optimiser: names.
      rate: the chosen learning rate; of equally good ones the smallest.
      at_end: whether it is the smallest or the largest that was tried, so that the best may lie beyond.
      values: of the reported seeds.
    """

    activation: str
    optimiser: str
    rate: float
    at_end: bool
    values: np.ndarray

    @property
    def name(self) -> str:
        """For tables.

        Examples:
          >>> Cell("ppns", "sgd", 0.05, False, np.zeros(2)).name
          'ppns, sgd'
        """
        return f"{self.activation}, {self.optimiser}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One cell against another, on equal seeds that did not choose the rates.

    Attributes:
      question: in few words.
      first, second: the cells; the comparison is first - second.
      comparison: None if fewer than 2 seeds have finite values in both.
      p_value_holm: with Holm's correction over all answers.
      verdict: "first", "second" or "not told apart": which is better.
    """

    question: str
    first: Cell
    second: Cell
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


def outcome(records: xr.Dataset) -> Outcome:
    """Convergence on XOR(10); the test loss on MNIST, chosen by the loss over training images that were held out."""
    choosing = records.attrs["choosing"]
    if records.attrs["problem"] == "xor10":
        converged = records["converged"].astype(bool)
        return Outcome("trials that converge", converged, converged, choosing)
    test, held_out = (records[name].astype(np.float64) for name in ("test_loss", "held_out_loss"))
    return Outcome("test loss", test, held_out, choosing)


def cells(of: Outcome) -> list[Cell]:
    """Every activation with every optimiser."""
    scores = of.scores()
    rates = of.values["learning_rate"].values
    found = []
    for activation in map(str, of.values["activation"].values):
        for optimiser in map(str, of.values["optimiser"].values):
            own = {"activation": activation, "optimiser": optimiser}
            best = int(scores.sel(own).values.argmax())
            values = of.reported.sel(own).isel(learning_rate=best).values
            at_end = len(rates) > 1 and best in (int(rates.argmin()), int(rates.argmax()))
            found.append(Cell(activation, optimiser, float(rates[best]), at_end, values))
    return found


def best_cell(of: Outcome, activation: str) -> Cell:
    """The optimiser that is best for an activation, by the seeds that choose; of equally good ones the first."""
    best = int(of.scores().sel(activation=activation).max("learning_rate").values.argmax())
    optimiser = str(of.values["optimiser"].values[best])
    return next(cell for cell in cells(of) if (cell.activation, cell.optimiser) == (activation, optimiser))


def answers(of: Outcome) -> list[Answer]:
    """The activation against the optimiser, and for every activation the best optimiser against plain descent."""
    plain = {cell.activation: cell for cell in cells(of) if cell.optimiser == PLAIN}
    best = {activation: best_cell(of, activation) for activation in plain}
    asked = [
        (f"activation or optimiser? {RESCUER} or {other}", plain[RESCUER], best[other])
        for other in best
        if RESCUER in plain and other != RESCUER
    ]
    asked += [(f"a better optimiser for {name}", best[name], plain[name]) for name in best]
    seeds = of.reported["seed"].values
    compared = [paired(first.values, second.values, seeds) for _, first, second in asked]
    corrected = iter(holm([found.p_value for found in compared if found is not None]))
    result = []
    for (question, first, second), found in zip(asked, compared, strict=True):
        p = None if found is None else next(corrected)
        verdict = "not told apart"
        if found is not None and p is not None and p <= LEVEL:
            verdict = "first" if (found.difference > 0) == of.counted else "second"
        result.append(Answer(question, first, second, found, p, verdict))
    return result


def conclusion(of: Outcome) -> str:
    """Which of the two rescues the vanishing gradient, in one sentence; empty if the run did not ask."""
    for answer in answers(of):
        if (answer.first.activation, answer.second.activation) == (RESCUER, RESCUED):
            one = f"{RESCUER} with plain gradient descent"
            other = f"{RESCUED} with its best optimiser, {answer.second.optimiser}"
            return {
                "first": f"{one} is better than {other}: the activation does more than any of the optimisers.",
                "second": f"{other}, is better than {one}: the optimiser does more than the activation.",
                "not told apart": f"{one} and {other}, are not told apart.",
            }[answer.verdict]
    return ""
