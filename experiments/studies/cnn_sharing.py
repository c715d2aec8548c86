"""Has an a and b for each element of a feature map, as in [A], an advantage over one for each channel or layer?

The networks of [A, section 4] on the same seeds: test loss, numbers of parameters, time of a step. Result: none that 5
seeds show. With one a and b for each layer, 66 numbers and not 28,676, the test loss changes by -0.005 (-0.027 to
0.017) and by 0.009 (0.000 to 0.017), p 0.17 at least by Holm's correction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.cnn.protocol import Combinations, Conditions, Protocol, Sharing, combinations, in_words, label
from experiments.problems.digits import Data, DataDir, images_of
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import Constraint, Out, expect
from experiments.study.study import Study, Work
from experiments.study.tables import Column, Table, number, with_interval

if TYPE_CHECKING or at_once(__name__):
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.problems import timing
    from experiments.problems.cnn.networks import counts, for_training, load
    from experiments.problems.cnn.train import SCORES, classifier, conditions, records_of, remarks, shown
    from experiments.study.comparing import numbers_of
    from experiments.study.curves import band
    from experiments.study.run_directory import Run
    from experiments.study.samples import holm_of, paired, sample
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import Digits
    from paramact_jax.figures import curves_in_panels

SHAREABLE = Constraint(
    "an activation with parameters, which can be shared, in the convolutional layers, as in parametric_relu/relu",
    lambda combination: bool(catalogue.get(combination.split("/")[0]).params),  # at work: `catalogue` needs JAX
)
SEVERAL = Constraint("two or three, each once", lambda values: 1 < len(values) == len(set(values)), whole=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnSharing(Conditions, Study):
    """Compare an a and b for each element of a feature map, as in [A], with one for each channel or layer.

    On the same seeds: test loss, numbers of parameters, seconds per step. About 10 minutes on 2 cores. Writes
    runs/cnn-sharing-DATE-TIME/: records, summary, report, the table, loss.png.
    Example: python -m experiments cnn-sharing --combinations parametric_sigmoid/relu --steps 5000
    """

    name: ClassVar[str] = "cnn-sharing"
    heading: ClassVar[str] = "What has an a and b of its own"

    combinations: Combinations = (
        "parametric_relu/parametric_sigmoid",
        "parametric_sigmoid/parametric_sigmoid",
    )
    """Activation of the convolutional layers, with parameters, / of the dense hidden layer."""
    sharing: Annotated[tuple[Sharing, ...], SEVERAL] = ("element", "channel", "layer")
    """Which to compare, the first one with each of the others."""
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def load(self) -> Digits:
        """Loads the draw of images."""
        digits = load(self.data, self.data_dir, self.training_images)
        return for_training(digits, self.training_images, self.subset_seed)

    def check(self, data: Digits) -> None:
        """Refuses numbers that do not fit each other, and combinations without parameters to share."""
        super().check(data)
        for combination in self.combinations:
            expect("combinations", combination, SHAREABLE)

    def protocol(self, sharing: Sharing) -> Protocol:
        """Returns the conditions of one kind of network."""
        return Protocol(
            sharing=sharing, **{field.name: getattr(self, field.name) for field in dataclasses.fields(Conditions)}
        )

    def train(self, data: Digits, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep, and measures the time of a step of each."""
        settings = {"data": images_of(data), **conditions(self)}
        found = work.sweep(
            self,
            lambda sharing, combination: classifier(combination, self.protocol(sharing)),
            [f"{len(self.sharing) * len(self.combinations)} networks"],
            static_axes={"sharing": self.sharing, "combination": self.combinations},
            block=1,
            **settings,
        )
        records = records_of(found, SCORES, self, data)
        trial = ("sharing", "combination")
        each = [[(name, self.protocol(sharing)) for name in self.combinations] for sharing in self.sharing]
        records["parameters_of_activations"] = trial, [[counts(*one)["activations"] for one in row] for row in each]
        networks = [classifier(*one) for row in each for one in row]
        seconds = timing.seconds_per_step(networks, self.first_seed, settings, rounds=5, steps=20)
        records["seconds_per_step"] = (
            (*trial, "timing"),
            seconds.reshape(len(self.sharing), len(self.combinations), -1),
            {"description": "wall-clock seconds of one step of one trial, without scores, measured in turns"},
        )
        return records

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields loss, parameters and time."""
        rows = []
        for (name, sharing), one in compared(run).items():
            loss, (_, *against) = one["best_loss"], numbers_of(one["difference"])
            first = [label(name), sharing, one["parameters_of_activations"], loss["mean"], loss["interval"]]
            cost = one["best_iteration"].mean, 1000 * one["seconds_per_step"]
            rows.append([*first, *against, one["p_value_holm"], *cost])
        reference = run.records["sharing"].values[0]
        columns: list[str | Column] = [
            *("convolutional / dense", Column("own a and b", left=True), Column("a and b", ",")),
            *with_interval("loss", ".4f"),
            *with_interval(f"loss - {reference}'s", "+.4f", "difference", "95 % interval of it"),
            *(Column("p", ".2g"), Column("p (Holm)", ".2g"), Column("steps", number), Column("ms a step", ".2f")),
        ]
        note = (
            f"{in_words(run)} Loss: smallest test loss, mean over the seeds, t interval; difference on equal seeds, "
            f"t interval, paired t test, Holm's correction over the table; steps: where the loss was smallest; "
            f"ms: median, one trial, without scores. The a and b of the dense layer, one for every node, are counted."
        )
        title = "What has an a and b of its own in the convolutional layers"
        yield "sharing", Table(title, columns, rows, note + remarks(run), keys=2, beside=["loss"])

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the test loss by step, with a panel for each combination."""
        losses, kinds = run.records["test_loss"], run.records["sharing"].values
        panels = {
            label(name): [band(kind, losses.sel(combination=name, sharing=kind), "test_step") for kind in kinds]
            for name in combinations(run)
        }
        steps, title = run.records["test_step"].values, f"Own a and b: {shown(run)}"
        yield "loss", curves_in_panels(steps, panels, xlabel="step", ylabel="test loss", title=title)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the table as plain data, by combination and sharing."""
        rows: dict[str, Any] = {}
        for (name, sharing), one in compared(run).items():
            rows.setdefault(name, {})[sharing] = one
        return {"combinations": rows}


@once
def compared(run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns the numbers of every combination under every sharing.

    Returns:
      best_loss: the smallest test losses. best_iteration: the steps at which they were scored. difference: of the
      losses, less the first sharing's, seed by seed; None for the first sharing, and where fewer than 2 seeds have
      finite losses under both. p_value_holm: its p value by Holm's correction over all of them.
      parameters_of_activations: their number. seconds_per_step: median.
    """
    losses, (first, *_) = run.records["best_loss"], run.records["sharing"].values.tolist()
    kinds = [(name, sharing) for name in combinations(run) for sharing in run.records["sharing"].values.tolist()]
    by_kind = {(name, sharing): losses.sel(combination=name, sharing=sharing).values for name, sharing in kinds}
    seeds = losses["seed"].values
    found = [None if of == first else paired(by_kind[name, of], by_kind[name, first], seeds) for name, of in kinds]
    rows = {}
    for (name, sharing), difference, p_value in zip(kinds, found, holm_of(found), strict=True):
        own, loss = run.records.sel(combination=name, sharing=sharing), sample(by_kind[name, sharing])
        rows[name, sharing] = {
            "best_loss": dataclasses.asdict(loss) | {"interval": loss.interval()},
            "best_iteration": sample(own["best_iteration"].values),
            "difference": difference,
            "p_value_holm": p_value,
            "parameters_of_activations": int(own["parameters_of_activations"]),
            "seconds_per_step": float(own["seconds_per_step"].median()),
        }
    return rows
