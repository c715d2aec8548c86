"""The mathematics: activation functions as records of pure functions, with JAX only.

`catalogue.get(name)` finds a record by name. `parametric(f)` adds the trainable scale and shift of [P] to any f.
`verification` measures whether a record's closed forms are right and how exact they are. `edges` checks a record at NaN
and infinity. `errata` lists the formulas that the sources print wrong.
"""

from paramact_jax.activations.catalogue import get, names, register
from paramact_jax.activations.critical import Critical, critical_gain
from paramact_jax.activations.hexpo import hexpo, hexpo_of_layer, parametric_hexpo, parametric_hexpo_of_layer
from paramact_jax.activations.parametric import (
    parametric,
    parametric_relu,
    parametric_sigmoid,
    parametric_tanh,
    ppns,
)
from paramact_jax.activations.record import Activation, Kink, activation
from paramact_jax.activations.rectifiers import (
    elu,
    leaky_relu,
    leaky_relu_of_slope,
    leaky_relu_tenth,
    relu6,
    sgn,
    step,
    thresholded_relu,
    thresholded_relu_at,
)
from paramact_jax.activations.reltanh import reltanh
from paramact_jax.activations.shaped import elu_alpha, isigmoid, prelu, swish
from paramact_jax.activations.wrapped import (
    celu,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    log_sigmoid,
    mish,
    selu,
    silu,
    squareplus,
)
from paramact_jax.activations.zoo import (
    arctan,
    bent_identity,
    gaussian,
    identity,
    pn_sigmoid,
    relu,
    relu_from_right,
    sigmoid,
    softplus,
    softsign,
    tanh,
)

__all__ = [
    "Activation",
    "Critical",
    "Kink",
    "activation",
    "arctan",
    "bent_identity",
    "celu",
    "critical_gain",
    "elu",
    "elu_alpha",
    "gaussian",
    "gelu",
    "gelu_tanh",
    "get",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "hexpo",
    "hexpo_of_layer",
    "identity",
    "isigmoid",
    "leaky_relu",
    "leaky_relu_of_slope",
    "leaky_relu_tenth",
    "log_sigmoid",
    "mish",
    "names",
    "parametric",
    "parametric_hexpo",
    "parametric_hexpo_of_layer",
    "parametric_relu",
    "parametric_sigmoid",
    "parametric_tanh",
    "pn_sigmoid",
    "ppns",
    "prelu",
    "register",
    "reltanh",
    "relu",
    "relu6",
    "relu_from_right",
    "selu",
    "sgn",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "squareplus",
    "step",
    "swish",
    "tanh",
    "thresholded_relu",
    "thresholded_relu_at",
]
