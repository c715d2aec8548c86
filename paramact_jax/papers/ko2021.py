"""[P]: the tables of Ko & Ko 2021 on XOR(10)."""

from __future__ import annotations

from paramact_jax.papers.record import Citation, ConvergenceRow, NodePoint

CITATION = Citation(
    key="P",
    authors="Young Min Ko and Sun Woo Ko",
    title="Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions",
    venue="KIPS Transactions on Software and Data Engineering",
    year=2021,
)

TABLE_4 = (
    ConvergenceRow("sigmoid", "Sigmoid", 0, 100),
    ConvergenceRow("ppns", "PPNS", 76, 100, initial_a=6.0, initial_b=0.0),
)
"""[P, Table 4]: how many of 100 trials reached loss 0."""

TABLE_5 = (
    ConvergenceRow("sigmoid", "Sigmoid", 0, 1000),
    ConvergenceRow("parametric_sigmoid", "Parametric Sigmoid", 29, 1000, initial_a=6.0, initial_b=0.0),
    ConvergenceRow("ppns", "PPNS", 744, 1000, initial_a=6.0, initial_b=0.0),
    ConvergenceRow("tanh", "Tanh", 628, 1000),
    ConvergenceRow("parametric_tanh", "Parametric Tanh", 700, 1000, initial_a=1.5, initial_b=0.0),
    ConvergenceRow("relu", "ReLU", 11, 1000),
    ConvergenceRow("parametric_relu", "Parametric ReLU", 8, 1000, initial_a=1.5, initial_b=0.0),
)
"""[P, Table 5]: how many of 1,000 trials reached loss 0."""

FIG_10_FARTHEST = NodePoint(layer=7, node=2, a=6.046, b=-0.155)
"""[P, Fig. 10]: of the learned (a, b) of one PPNS network, started at (6, 0), the one that moved most."""
