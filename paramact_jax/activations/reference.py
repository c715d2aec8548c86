"""The catalogue's functions written a second time, in NumPy and 64 bits, to compare the records with.

Each is the formula that the source prints (corrected where `errata` says so). It is not written for speed, nor against
overflow outside 64 bits, and it shares no code with the records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_erfc: Callable[[Array], Array] = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(y: Array) -> Array:
    e = np.exp(-np.abs(y))
    return np.where(y >= 0, 1, e) / (1 + e)


def _softplus(y: Array) -> Array:
    return np.maximum(y, 0) + np.log1p(np.exp(-np.abs(y)))


def _hexpo(y: Array, positive_height: Any, positive_width: Any, negative_height: Any, negative_width: Any) -> Array:
    right = -positive_height * np.expm1(-np.maximum(y, 0) / positive_width)
    return np.where(y >= 0, right, negative_height * np.expm1(np.minimum(y, 0) / negative_width))


def _reltanh(y: Array, lambda_plus: Any, lambda_minus: Any) -> Array:
    low, high = np.minimum(lambda_plus, lambda_minus), np.maximum(lambda_plus, lambda_minus)
    below = np.tanh(low) + (y - low) / np.cosh(low) ** 2
    above = np.tanh(high) + (y - high) / np.cosh(high) ** 2
    return np.where(y >= high, above, np.where(y <= low, below, np.tanh(y)))


def _isigmoid(y: Array, threshold: Any, alpha: Any) -> Array:
    above = _sigmoid(threshold) + alpha * (y - threshold)
    below = _sigmoid(-threshold) + alpha * (y + threshold)
    return np.where(y >= threshold, above, np.where(y <= -threshold, below, _sigmoid(y)))


def _elu(y: Array, alpha: Any = 1.0) -> Array:
    return np.where(y > 0, y, alpha * np.expm1(np.minimum(y, 0)))


def _hard_sigmoid(y: Array) -> Array:
    return np.clip(y + 3, 0, 6) / 6


_SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)

VALUES: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "identity": lambda y: y,
        "step": lambda y: np.where(y > 0, 1.0, 0.0),
        "sgn": np.sign,
        "sigmoid": _sigmoid,
        "parametric_sigmoid": lambda y, a, b: a * _sigmoid(y - b),
        "pn_sigmoid": lambda y: _sigmoid(y) - 0.5,
        "ppns": lambda y, a, b: a * _sigmoid(y - b) - a / 2,
        "tanh": np.tanh,
        "parametric_tanh": lambda y, a, b: a * np.tanh(y - b),
        "relu": lambda y: np.maximum(y, 0),
        "relu_from_right": lambda y: np.maximum(y, 0),
        "parametric_relu": lambda y, a, b: np.where(y >= b, a * (y - b), 0),
        "leaky_relu": lambda y: np.maximum(0.01 * y, y),
        "leaky_relu_tenth": lambda y: np.maximum(0.1 * y, y),
        "prelu": lambda y, negative_slope: np.where(y > 0, y, negative_slope * y),
        "elu": _elu,
        "elu_alpha": _elu,
        "relu6": lambda y: np.minimum(np.maximum(0, y), 6),
        "thresholded_relu": lambda y: np.where(y > 1, y, 0),
        "softsign": lambda y: y / (1 + np.abs(y)),
        "arctan": np.arctan,
        "softplus": _softplus,
        "bent_identity": lambda y: (np.sqrt(y**2 + 1) - 1) / 2 + y,
        "gaussian": lambda y: np.exp(-(y**2)),
        "hexpo": _hexpo,
        "parametric_hexpo": lambda y, b, **shape: _hexpo(y - b, **shape),
        "reltanh": _reltanh,
        "isigmoid": _isigmoid,
        "swish": lambda y, beta: y * _sigmoid(beta * y),
        "silu": lambda y: y * _sigmoid(y),
        "gelu": lambda y: 0.5 * y * _erfc(-y / math.sqrt(2)),
        "gelu_tanh": lambda y: 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))),
        "selu": lambda y: _SELU[0] * _elu(y, _SELU[1]),
        "mish": lambda y: y * np.tanh(_softplus(y)),
        "celu": _elu,
        "hard_tanh": lambda y: np.clip(y, -1, 1),
        "hard_sigmoid": _hard_sigmoid,
        "hard_silu": lambda y: y * _hard_sigmoid(y),
        "squareplus": lambda y: np.where(y < 0, 2 / (np.sqrt(y**2 + 4) + np.abs(y)), (y + np.sqrt(y**2 + 4)) / 2),
        "log_sigmoid": lambda y: -_softplus(-y),
    }
)
"""Maps a name to the value as a function of y and, by keyword, of the parameters; arrays of 64-bit numbers."""
