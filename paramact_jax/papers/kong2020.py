"""[A]: the table and the statements of Kong, Ko & Ko 2020 on the agile convolutional network."""

from __future__ import annotations

import dataclasses
import math

from paramact_jax.papers.record import Citation

CITATION = Citation(
    key="A",
    authors="Na Young Kong, Young Min Ko and Sun Woo Ko",
    title="Performance Improvement Method of Convolutional Neural Network Using Agile Activation Function",
    venue="KIPS Transactions on Software and Data Engineering",
    year=2020,
    volume=9,
    issue=7,
    pages="213-220",
    doi="10.3745/KTSDE.2020.9.7.213",
)

LABELS = {
    "sigmoid": "Sigmoid",
    "parametric_sigmoid": "Agile Sigmoid",
    "relu": "ReLU",
    "parametric_relu": "Agile ReLU",
}
"""Name in `paramact_jax.activations` -> printed name; "agile" means "parametric" in [P] [A, eq. 7-8]."""


@dataclasses.dataclass(frozen=True)
class CombinationRow:
    """The test loss of one pair of activations.

    Attributes:
      number: printed number of the row, from 1.
      conv: activation of the convolutional layers, a name in `paramact_jax.activations`.
      dense: activation of the dense hidden layer, a name in `paramact_jax.activations`.
      loss: printed test loss, cross-entropy.
      iterations: printed number of iterations.

    Raises:
      ValueError: for an activation that the paper does not compare, a loss that is not above 0, or a number or count
        of iterations below 1.
    """

    number: int
    conv: str
    dense: str
    loss: float
    iterations: int

    def __post_init__(self) -> None:
        for name in (self.conv, self.dense):
            if name not in LABELS:
                raise ValueError(f"row {self.number}: expected one of {', '.join(LABELS)}, got {name!r}")
        if not (math.isfinite(self.loss) and self.loss > 0):
            raise ValueError(f"row {self.number}: expected a finite loss > 0, got {self.loss}")
        if min(self.number, self.iterations) < 1:
            raise ValueError(
                f"row {self.number}: expected a number and a count of iterations >= 1, got {self.iterations} iterations"
            )

    @property
    def label(self) -> str:
        """Both names as printed in the paper.

        Examples:
          >>> TABLE_1[11].label
          'Agile ReLU / Agile Sigmoid'
        """
        return f"{LABELS[self.conv]} / {LABELS[self.dense]}"


TABLE_1 = (
    CombinationRow(1, "sigmoid", "relu", 0.18850, 5030),
    CombinationRow(2, "sigmoid", "parametric_relu", 0.16094, 5045),
    CombinationRow(3, "sigmoid", "parametric_sigmoid", 0.14456, 9908),
    CombinationRow(4, "parametric_sigmoid", "relu", 0.16259, 5036),
    CombinationRow(5, "parametric_sigmoid", "parametric_relu", 0.16684, 4317),
    CombinationRow(6, "parametric_sigmoid", "parametric_sigmoid", 0.15600, 7808),
    CombinationRow(7, "relu", "relu", 0.18127, 1187),
    CombinationRow(8, "relu", "parametric_relu", 0.17529, 1187),
    CombinationRow(9, "relu", "parametric_sigmoid", 0.16031, 3400),
    CombinationRow(10, "parametric_relu", "relu", 0.17666, 1050),
    CombinationRow(11, "parametric_relu", "parametric_relu", 0.18261, 809),
    CombinationRow(12, "parametric_relu", "parametric_sigmoid", 0.15027, 3261),
)
"""[A, Table 1]: test loss and iterations of the twelve pairs. We read the table so: the loss is the smallest on the
curve, and the iterations are counted up to it. The paper does not say this."""

CLAIM_DENSE_ONLY = "In a network of dense layers alone, Agile Sigmoid is always ahead of Sigmoid."
"""[A, section 4, Fig. 11]; the paper's reason for not using Sigmoid in the dense layer."""

CLAIM_BEST = "Agile ReLU in the convolutional layers with Agile Sigmoid in the dense layer performs best."
"""[A, section 4, Fig. 13]; the paper does not say by which measure. In Table 1 its loss is the second lowest."""

CLAIM_LOWEST = "Sigmoid in the convolutional layers with Agile Sigmoid in the dense layer has the lowest loss, slowly."
"""[A, section 4, Fig. 13]."""

CLAIM_FALLS = "With agile activations the loss falls at every step of the training."
"""[A, section 3.3 on eq. 23-24 and Fig. 9, section 5]: learning a and b reduces the loss "at each step", "always"."""

CLAIMS = (CLAIM_DENSE_ONLY, CLAIM_FALLS, CLAIM_BEST, CLAIM_LOWEST)
"""The statements of the text of [A] about the results."""

READING_FEWER_ITERATIONS = (
    "ReLU and Agile ReLU in the convolutional layers reach their loss in fewer iterations than the Sigmoids."
)
"""True of every pair of rows of Table 1; the text does not say it."""

READING_DENSE_AGILE_SIGMOID = (
    "Whatever the convolutional activation, Agile Sigmoid in the dense layer has the lowest loss of the three."
)
"""True of Table 1; the text does not say it."""

READINGS = (READING_FEWER_ITERATIONS, READING_DENSE_AGILE_SIGMOID)
"""Statements that follow from [A, Table 1] and are not in the text."""
