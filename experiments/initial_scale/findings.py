"""What the records say: which networks learn nothing, and which trainings [R] may have printed."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import xarray as xr

from experiments.initial_scale.protocol import AS_R, SMALL
from experiments.study.samples import Sample, inside, sample
from paramact_jax.papers import student_report

NO_LABEL = -1


def constant_label(records: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """The label that a network gives to all images, judged by its scores; NO_LABEL if there is none.

    It is given where train and test accuracy are both the share of one label, to the image.

    Args:
      records: of the study.
      prefix: of the scores' names, "again_" for the runs of [R].
    """
    test, train = (records[f"{prefix}{split}_accuracy"].astype(np.float64) for split in ("test", "train"))
    found = xr.full_like(test, NO_LABEL, dtype=np.int64)
    for label in records["label"].values[::-1]:
        equal = True
        for accuracy, split in ((test, "test"), (train, "train")):
            images = records.attrs[f"{split}_images"]
            right = round(float(records[f"{split}_share"].sel(label=label)) * images)
            equal = equal & (np.rint(accuracy.fillna(-1) * images) == right)
        found = found.where(~equal, label)
    return found


def stays(records: xr.Dataset) -> xr.DataArray:
    """Whether a network of the grid gives one label to all images at the end: dims activation, scale, seed."""
    return constant_label(records).isel(step=-1) != NO_LABEL


@dataclasses.dataclass(frozen=True)
class SmallRun:
    """The run of [R] from a deviation of 0.01, made again.

    Attributes:
      candidate: activation.
      rate: learning rate.
      lines: number of our lines, that is scores after the first step, in all seeds.
      of_one_label: how many of them are the shares of one label.
      of_another: how many of these of another label than the most frequent, seed by seed.
      final: test accuracy after the last step.
      fits: whether all lines are of one label, as all of [R]'s are. How often that is another label than the most
        frequent does not tell the candidates apart: the lines of one training are not independent, and there is one
        training of [R]'s.
    """

    candidate: str
    rate: float
    lines: int
    of_one_label: int
    of_another: tuple[int, ...]
    final: Sample
    fits: bool


@dataclasses.dataclass(frozen=True)
class HeRun:
    """The run of [R] from "He's initial value", made again.

    Attributes:
      candidate: activation.
      rate: learning rate.
      first: test accuracy after the first epoch, [R]'s second line.
      last: test accuracy when [R] prints its last line.
      distance: mean over [R]'s lines, the first left out, of |test accuracy, mean over the seeds - printed|.
      first_inside, last_inside: whether the printed accuracy lies within the 95 % prediction interval.
    """

    candidate: str
    rate: float
    first: Sample
    last: Sample
    distance: float
    first_inside: bool | None
    last_inside: bool | None

    @property
    def fits(self) -> bool:
        """Whether both lie within."""
        return bool(self.first_inside and self.last_inside)


def comparable(records: xr.Dataset) -> bool:
    """Whether the runs were scored where [R] prints, on MNIST."""
    printed = [student_report.STEPS_A_LINE * line for line in range(len(student_report.HE.lines))]
    return not records.attrs["synthetic"] and records["printed_step"].values.tolist() == printed


def small_runs(records: xr.Dataset) -> list[SmallRun]:
    """By activation, then learning rate."""
    label = constant_label(records, "again_").sel(printed_scale=SMALL).isel(printed_step=slice(1, None))
    most = int(records["train_share"].values.argmax())
    judged = comparable(records)
    found = []
    for candidate, rate in _cells(records):
        own = label.sel(candidate=candidate, learning_rate=rate).transpose("seed", "printed_step").values
        of_one = int((own != NO_LABEL).sum())
        of_another = ((own != NO_LABEL) & (own != most)).sum(axis=1)
        final = records["again_test_accuracy"].sel(candidate=candidate, learning_rate=rate, printed_scale=SMALL)
        found.append(
            SmallRun(
                candidate,
                rate,
                lines=own.size,
                of_one_label=of_one,
                of_another=tuple(map(int, of_another)),
                final=sample(final.isel(printed_step=-1).values),
                fits=judged and of_one == own.size,
            )
        )
    return found


def he_runs(records: xr.Dataset) -> list[HeRun]:
    """By activation, then learning rate; those of a run that is not comparable are not judged."""
    printed = np.array(student_report.HE.test)
    judged = comparable(records)
    found = []
    for candidate, rate in _cells(records):
        own = records["again_test_accuracy"].sel(candidate=candidate, learning_rate=rate, printed_scale=AS_R)
        accuracy = own.transpose("printed_step", "seed").values.astype(np.float64)
        first, last = sample(accuracy[min(1, len(accuracy) - 1)]), sample(accuracy[-1])
        distance = float(np.abs(accuracy.mean(axis=1) - printed)[1:].mean()) if judged else math.nan
        found.append(
            HeRun(
                candidate,
                rate,
                first,
                last,
                distance,
                inside(printed[1], first.prediction()) if judged else None,
                inside(printed[-1], last.prediction()) if judged else None,
            )
        )
    return found


def conclusion(records: xr.Dataset) -> str:
    """Which conditions fit both printed runs, in one sentence; empty for runs that are not comparable."""
    if not comparable(records):
        return ""
    small, he = small_runs(records), he_runs(records)
    both = [f"{one.candidate} at {one.rate:g}" for one, other in zip(small, he, strict=True) if one.fits and other.fits]
    return (
        f"Of {len(he)} pairs of activation and learning rate these fit both runs of [R]: {', '.join(both) or 'none'}."
    )


def _cells(records: xr.Dataset) -> list[tuple[str, float]]:
    return [
        (str(name), float(rate)) for name in records["candidate"].values for rate in records["learning_rate"].values
    ]


@dataclasses.dataclass(frozen=True)
class Statement:
    """What [R] says of one of its networks, judged by ours before training or after it.

    Attributes:
      text: what it says.
      criterion: what that is taken to mean.
      activation: of the network.
      value: what the criterion is about, mean over the seeds.
      holds: whether the criterion is met in every seed.
    """

    text: str
    criterion: str
    activation: str
    value: float
    holds: bool


def statements(records: xr.Dataset) -> list[Statement]:
    """What [R, sections 3 and 4] says, of each activation that it may have used; nothing that the run cannot decide."""
    names = [str(name) for name in records["candidate"].values if name in records["activation"].values]
    scales = set(records["scale"].values)
    found = []
    for name in names if SMALL in scales else []:
        small = records.sel(activation=name, scale=SMALL)
        size = small["before_size"].isel(hidden_layer=-1).values
        lost = decades_lost(records).sel(activation=name, scale=SMALL).values
        stuck = stays(records).sel(activation=name, scale=SMALL).values
        about = f"from {SMALL}"
        found += [
            _judged(
                f"values are very small {about}", "last hidden layer: root mean square < 0.1", name, size, size < 0.1
            ),
            _judged(
                f"the gradient is much smaller {about}", "at the first layer: 1 decade or more", name, lost, lost >= 1
            ),
            _judged(f"hardly anything is learned {about}", "one label for all images", name, stuck, stuck),
        ]
    for name in names if AS_R in scales else []:
        accuracy = records["test_accuracy"].sel(activation=name, scale=AS_R).isel(step=-1).values
        stuck = stays(records).sel(activation=name, scale=AS_R).values
        met = ~stuck & np.isfinite(accuracy)
        found.append(_judged("He's value solves it", "not one label for all images, and finite", name, accuracy, met))
    return found


def decades_lost(records: xr.Dataset) -> xr.DataArray:
    """Decimal logarithm of ||dL/dy^(out)|| / ||dL/dy^(1)|| before training: dims activation, scale, seed; inf for 0."""
    log_norm = records["before_log_norm"].astype(np.float64)
    return (log_norm.isel(layer=-1) - log_norm.isel(layer=0)) / math.log(10)


def _judged(text: str, criterion: str, name: str, values: np.ndarray, met: np.ndarray) -> Statement:
    return Statement(text, criterion, name, float(values.mean()), bool(met.all()))
