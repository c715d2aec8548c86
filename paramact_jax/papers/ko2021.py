"""[P]: the numbers that Ko & Ko 2021 print about XOR(10) and MNIST."""

from __future__ import annotations

from paramact_jax.papers.record import (
    Citation,
    ConvergenceRow,
    FinalLoss,
    NodePoint,
    StartValues,
    SteepSlopes,
    TimeSaved,
)

CITATION = Citation(
    key="P",
    authors="Young Min Ko and Sun Woo Ko",
    title="Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions",
    venue="KIPS Transactions on Software and Data Engineering",
    year=2021,
    volume=10,
    issue=10,
    pages="407-420",
    doi="10.3745/KTSDE.2021.10.10.407",
)

TABLE_4 = (
    ConvergenceRow("sigmoid", "Sigmoid", 0, 100),
    ConvergenceRow("ppns", "PPNS", 76, 100, initial_a=6.0, initial_b=0.0),
)
"""[P, Table 4]: the number of 100 trials that reached loss 0."""

TABLE_5 = (
    ConvergenceRow("sigmoid", "Sigmoid", 0, 1000),
    ConvergenceRow("parametric_sigmoid", "Parametric Sigmoid", 29, 1000, initial_a=6.0, initial_b=0.0),
    ConvergenceRow("ppns", "PPNS", 744, 1000, initial_a=6.0, initial_b=0.0),
    ConvergenceRow("tanh", "Tanh", 628, 1000),
    ConvergenceRow("parametric_tanh", "Parametric Tanh", 700, 1000, initial_a=1.5, initial_b=0.0),
    ConvergenceRow("relu", "ReLU", 11, 1000),
    ConvergenceRow("parametric_relu", "Parametric ReLU", 8, 1000, initial_a=1.5, initial_b=0.0),
)
"""[P, Table 5]: the number of 1,000 trials that reached loss 0."""

FIG_10_FARTHEST = NodePoint(layer=7, node=2, a=6.046, b=-0.155)
"""[P, Fig. 10]: the learned (a, b) that moved farthest from the start (6, 0) in one PPNS network."""

_HEXPO = "a, c = i/2 + 1; b, d = i/8 + 1 in hidden layer i"

TABLE_7 = (
    StartValues("relu", "ReLU"),
    StartValues("parametric_relu", "Parametric ReLU", "a = 1.5, b = 0"),
    StartValues("tanh", "Tanh"),
    StartValues("parametric_tanh", "Parametric Tanh", "a = 1.5, b = 0"),
    StartValues("reltanh", "ReLTanh", "lambda+ = 0, lambda- = -1.5"),
    StartValues("hexpo", "Hexpo", _HEXPO),
    StartValues("parametric_hexpo", "Parametric Hexpo", f"{_HEXPO}; h = 0"),
    StartValues("ppns", "PPNS", "a = 6, b = 0"),
)
"""[P, Tables 6 and 7]: the eight activations compared on MNIST, in the order of Table 6."""

MNIST_FINAL_LOSS = (
    FinalLoss("parametric_hexpo", 0.08, 10_000),
    FinalLoss("hexpo", 0.077, 10_000),
    FinalLoss("parametric_tanh", 0.076, 10_000),
    FinalLoss("ppns", 0.076, 10_000),
)
"""[P, section 4.2, on Fig. 12]: test loss of one training each; for Parametric Hexpo with two printed decimals."""

FIG_13_PARAMETRIC_RELU_RANGE = 0.4
"""[P, section 4.2]: range of the entries of dL/dy^(1) with Parametric ReLU until step 4,000."""

FIG_14 = tuple(
    SteepSlopes(activation, count, 8 * 128 * 64)
    for activation, count in (
        ("relu", 34_030),
        ("parametric_relu", 34_030),
        ("tanh", 0),
        ("parametric_tanh", 46_694),
        ("reltanh", 32_606),
        ("hexpo", 49_384),
        ("parametric_hexpo", 49_384),
        ("ppns", 53_566),
    )
)
"""[P, Fig. 14]: numbers of slopes >= 1 before training, out of 8 layers x 128 nodes x 64 images."""

MNIST_TIME_SAVED = TimeSaved("ppns", reference="relu", train_loss=0.1, share=2 / 3)
"""[P, section 4.2]: "the training time was reduced by about 2/3" until the loss on all 60,000 images was 0.1."""
