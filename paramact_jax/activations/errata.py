"""The formulas that the sources print wrong, each with the right one and a point where the printed one fails.

A printed derivative is wrong if automatic differentiation gives another one. A printed value is wrong if it is not the
function that the text around it describes. Each erratum can be checked: `erratum.check()`. The list holds the errata
found so far; there may be more.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from paramact_jax.activations.hexpo import hexpo, parametric_hexpo
from paramact_jax.activations.parametric import parametric_sigmoid, ppns
from paramact_jax.activations.record import Activation
from paramact_jax.activations.shaped import prelu
from paramact_jax.activations.zoo import bent_identity, sigmoid

Formula = Callable[..., ArrayLike]


@dataclasses.dataclass(frozen=True)
class Counterexample:
    """The values of an erratum's two formulas at its point.

    Attributes:
      printed: value of the printed formula.
      right: value of the right formula.
      true: the true value: the derivative by autodiff, the value of the record, or the value of `Erratum.truth`.
    """

    printed: float
    right: float
    true: float

    @property
    def confirmed(self) -> bool:
        """Whether the printed formula is wrong at the point and the right one is not."""
        return math.isclose(self.right, self.true, rel_tol=1e-5) and not math.isclose(
            self.printed, self.true, rel_tol=1e-2
        )


@dataclasses.dataclass(frozen=True)
class Erratum:
    """One formula that is printed wrong.

    Attributes:
      where: the places where it is printed, with the source's citation key.
      activation: the record that it belongs to; None if it belongs to none.
      quantity: what it should give: "z", "dz/dy", or "dz/d" and the name of a parameter; with `truth`, any text.
      printed_formula: the printed formula in plain text; y is the input, z the output, s = sigmoid(y - b).
      right_formula: the right one.
      printed: the printed formula, as a function of y, z and, by keyword, the parameters; with `truth`, of the point.
      right: the right one, with the same arguments.
      point: y and the parameters at which the two differ.
      why: what is wrong with the printed formula.
      truth: what both should give, if it is neither the record's value nor one of its derivatives.
    """

    where: str
    activation: Activation | None
    quantity: str
    printed_formula: str
    right_formula: str
    printed: Formula
    right: Formula
    point: Mapping[str, float]
    why: str
    truth: Formula | None = None

    @property
    def source(self) -> str:
        """The citation key of the document.

        Examples:
          >>> ERRATA[0].source
          'P'
        """
        return self.where[1:].partition(",")[0]

    def check(self) -> Counterexample:
        """Computes both formulas and the true value at the point.

        Examples:
          >>> example = ERRATA[0].check()
          >>> example.printed, example.right, example.true, example.confirmed
          (0.0, 1.5, 1.5, True)
        """
        point = {name: jnp.float32(value) for name, value in self.point.items()}
        if self.truth is not None:
            printed, right, true = (formula(**point) for formula in (self.printed, self.right, self.truth))
            return Counterexample(*(float(jnp.asarray(value)) for value in (printed, right, true)))
        if self.activation is None:
            raise ValueError(f"{self.where}: expected an activation or a truth, got neither; give one")
        params = {name: value for name, value in point.items() if name != "y"}
        z = self.activation(point["y"], **params)
        if self.quantity == "z":
            true = z
        else:
            record = self.activation
            true = jax.grad(lambda args: record(**args))(point)[self.quantity.removeprefix("dz/d")]
        printed, right = (formula(point["y"], z, **params) for formula in (self.printed, self.right))
        return Counterexample(printed=float(jnp.asarray(printed)), right=float(jnp.asarray(right)), true=float(true))


def _sigmoid(y: ArrayLike, b: ArrayLike) -> jax.Array:
    return jax.nn.sigmoid(jnp.subtract(y, b))


def _hexpo_split_at_0(y: jax.Array, z: jax.Array, b: jax.Array, **shape: jax.Array) -> jax.Array:
    right = -shape["positive_height"] * jnp.expm1(-(y - b) / shape["positive_width"])
    left = shape["negative_height"] * jnp.expm1((y - b) / shape["negative_width"])
    return jnp.where(y >= 0, right, left)


def _signs_of_the_slope(fn: Formula, y: jax.Array) -> jax.Array:
    """Returns how many different signs dz/dy has between -y and y."""
    signs = jnp.sign(jax.vmap(jax.grad(fn))(jnp.linspace(-y, y, 101)))
    return jnp.any(signs > 0) + jnp.any(signs < 0)


_IMAGE = np.arange(25, dtype=np.float32).reshape(5, 5) ** 2
"""An image with rows and columns -2..2; the filter below has rows and columns -1..1 [A, eq. 3]."""
_FILTER = np.arange(1, 10, dtype=np.float32).reshape(3, 3)


def _convolved(i: ArrayLike, j: ArrayLike) -> jax.Array:
    """Returns XLA's own convolution of the two at (i, j)."""
    image, kernel = (jnp.asarray(x)[None, None] for x in (_IMAGE, _FILTER))
    whole = lax.conv(image, kernel, (1, 1), "VALID")[0, 0]
    return whole[jnp.int32(i) + 1, jnp.int32(j) + 1]


def _sum_over_the_filter(i: ArrayLike, j: ArrayLike) -> jax.Array:
    """Returns the sum of the filter's entries times the image's entries around (i, j)."""
    return jnp.sum(_FILTER * lax.dynamic_slice(_IMAGE, (jnp.int32(i) + 1, jnp.int32(j) + 1), (3, 3)))


_AT = {"y": 1.0, "a": 6.0, "b": 0.25}

ERRATA: tuple[Erratum, ...] = (
    Erratum(
        where="[P, Table 2; eq. 7, 15], PPNS",
        activation=ppns,
        quantity="dz/dy",
        printed_formula="z (1 - z / a)",
        right_formula="a / 4 - z^2 / a",
        printed=lambda y, z, a, b: z * (1 - z / a),
        right=lambda y, z, a, b: a / 4 - z**2 / a,
        point={"y": 0.25, "a": 6.0, "b": 0.25},
        why="holds for the value a s of Parametric Sigmoid, not for z = a s - a / 2",
    ),
    Erratum(
        where="[P, Table 2; eq. 9], PPNS",
        activation=ppns,
        quantity="dz/db",
        printed_formula="z (z / a - 1)",
        right_formula="z^2 / a - a / 4",
        printed=lambda y, z, a, b: z * (z / a - 1),
        right=lambda y, z, a, b: z**2 / a - a / 4,
        point={"y": 0.25, "a": 6.0, "b": 0.25},
        why="holds for the value a s of Parametric Sigmoid, not for z = a s - a / 2",
    ),
    Erratum(
        where="[P, Table 6], Parametric Hexpo",
        activation=parametric_hexpo,
        quantity="z",
        printed_formula="-a (exp(-(y - h) / b) - 1) if y >= 0 else c (exp((y - h) / d) - 1)",
        right_formula="-a (exp(-(y - h) / b) - 1) if y >= h else c (exp((y - h) / d) - 1)",
        printed=_hexpo_split_at_0,
        right=lambda y, z, b, **shape: hexpo(y - b, **shape),
        point={"y": 0.25, "b": 0.5} | dict(hexpo.params),
        why="jumps at y = 0 as soon as h is not 0, and is not Hexpo shifted by h",
    ),
    Erratum(
        where="[A, eq. 3], convolution",
        activation=None,
        quantity="M at (i, j)",
        printed_formula="sum over i, j of P[i, j] F[1 + f // 2 + i, 1 + f // 2 + j]",
        right_formula="sum over u, v of P[i + u, j + v] F[1 + f // 2 + u, 1 + f // 2 + v]",
        printed=lambda i, j: _sum_over_the_filter(0, 0),
        right=_sum_over_the_filter,
        truth=_convolved,
        point={"i": 1.0, "j": 0.0},
        why="sums over i and j, the free indices of the left side: every entry of M would be the same number",
    ),
    Erratum(
        where="[A, eq. 10, 18], Agile Sigmoid",
        activation=parametric_sigmoid,
        quantity="dz/dy",
        printed_formula="y (1 - y / a)",
        right_formula="z (1 - z / a)",
        printed=lambda y, z, a, b: y * (1 - y / a),
        right=lambda y, z, a, b: z * (1 - z / a),
        point=_AT,
        why="written in the input (M, y) in place of the output (A, z)",
    ),
    Erratum(
        where="[A, eq. 12, 14], Agile Sigmoid",
        activation=parametric_sigmoid,
        quantity="dz/db",
        printed_formula="z (1 - z / a)",
        right_formula="z (z / a - 1)",
        printed=lambda y, z, a, b: z * (1 - z / a),
        right=lambda y, z, a, b: z * (z / a - 1),
        point=_AT,
        why="the sign: a shift to the right lowers the value",
    ),
    Erratum(
        where="[A, eq. 15], Agile Sigmoid",
        activation=parametric_sigmoid,
        quantity="dz/da",
        printed_formula="z (z - 1) / a",
        right_formula="s",
        printed=lambda y, z, a, b: z * (z - 1) / a,
        right=lambda y, z, a, b: _sigmoid(y, b),
        point=_AT,
        why="updates a by what eq. 16 prints as the gradient of b; eq. 13 has the right one",
    ),
    Erratum(
        where="[A, eq. 16, 22, 24], Agile Sigmoid",
        activation=parametric_sigmoid,
        quantity="dz/db",
        printed_formula="z (z - 1) / a",
        right_formula="z (z - a) / a",
        printed=lambda y, z, a, b: z * (z - 1) / a,
        right=lambda y, z, a, b: z * (z - a) / a,
        point=_AT,
        why="1 in place of a",
    ),
    Erratum(
        where="[A, eq. 20], Agile Sigmoid",
        activation=parametric_sigmoid,
        quantity="dz/db",
        printed_formula="-z (z - 1) / a",
        right_formula="z (z - a) / a",
        printed=lambda y, z, a, b: -z * (z - 1) / a,
        right=lambda y, z, a, b: z * (z - a) / a,
        point=_AT,
        why="the sign, and 1 in place of a",
    ),
    Erratum(
        where="[R, no. 12], bent identity",
        activation=bent_identity,
        quantity="z",
        printed_formula="(sqrt(y^2 + 1)) - 1/2 + y",
        right_formula="(sqrt(y^2 + 1) - 1) / 2 + y",
        printed=lambda y, z: jnp.sqrt(y**2 + 1) - 0.5 + y,
        right=lambda y, z: (jnp.sqrt(y**2 + 1) - 1) / 2 + y,
        point={"y": 1.0},
        why="the bracket: as printed the value at 0 is 1/2, and the slope far left 0",
    ),
    Erratum(
        where="[B1, section 2], PReLU",
        activation=prelu,
        quantity="z",
        printed_formula="max(alpha y, y)",
        right_formula="y if y > 0 else alpha y",
        printed=lambda y, z, negative_slope: jnp.maximum(negative_slope * y, y),
        right=lambda y, z, negative_slope: jnp.where(y > 0, y, negative_slope * y),
        point={"y": 1.0, "negative_slope": 2.0},
        why="holds only for alpha <= 1, and alpha is learned",
    ),
    Erratum(
        where="[B2, (2)], sigmoid",
        activation=sigmoid,
        quantity="signs of dz/dy",
        printed_formula="2: (1 - L) L is positive and negative",
        right_formula="1: (1 - L) L > 0",
        printed=lambda y: 2,
        right=lambda y: 1,
        truth=lambda y: _signs_of_the_slope(sigmoid.fn, y),
        point={"y": 3.0},
        why="L is between 0 and 1; both signs come with dLoss/dL",
    ),
    Erratum(
        where="[B2, (2)], sigmoid of a neuron",
        activation=sigmoid,
        quantity="L(w x + b)",
        printed_formula="1 / (1 + exp(-w x + b))",
        right_formula="1 / (1 + exp(-(w x + b)))",
        printed=lambda wx, b: 1 / (1 + jnp.exp(-wx + b)),
        right=lambda wx, b: 1 / (1 + jnp.exp(-(wx + b))),
        truth=lambda wx, b: sigmoid(wx + b),
        point={"wx": 1.0, "b": 0.5},
        why="the bracket: as printed b has the other sign",
    ),
)
"""Every known erratum, in the order P, A, R, B1, B2."""
