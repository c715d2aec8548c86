"""The mathematics: activation functions as records of pure functions, JAX only.

`catalogue.get(name)` finds a record by name; `parametric(f)` adds the trainable scale and shift of [P] to any f.
"""

from paramact_jax.activations.catalogue import get, names
from paramact_jax.activations.parametric import (
    parametric,
    parametric_relu,
    parametric_sigmoid,
    parametric_tanh,
    ppns,
)
from paramact_jax.activations.record import Activation, Kink, activation
from paramact_jax.activations.zoo import identity, pn_sigmoid, relu, relu_from_right, sigmoid, tanh

__all__ = [
    "Activation",
    "Kink",
    "activation",
    "get",
    "identity",
    "names",
    "parametric",
    "parametric_relu",
    "parametric_sigmoid",
    "parametric_tanh",
    "pn_sigmoid",
    "ppns",
    "relu",
    "relu_from_right",
    "sigmoid",
    "tanh",
]
