"""Trainable activation functions and the vanishing gradient, in JAX and Flax.

The public names below are imported on first use, so `import paramact_jax` itself is instant and each part of the
package (mathematics, Flax layers, sweeps) only loads what it stands on.

Docstrings name their sources by a key in brackets: [P] is Ko & Ko 2021, [A] is Kong, Ko & Ko 2020, [B1] a blog post on
the vanishing gradient and the ReLU family, [B2] one on the three faults of the sigmoid, [R] a student report on
activation functions, optimisers and initial scale. `paramact_jax.papers` has published numbers of [P], [A] and [R];
the page next to it, papers/README.md, has the titles of all sources.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramact_jax import activations as activations
    from paramact_jax import datasets as datasets
    from paramact_jax import figures as figures
    from paramact_jax import gradients as gradients
    from paramact_jax import layers as layers
    from paramact_jax import networks as networks
    from paramact_jax import papers as papers
    from paramact_jax import programs as programs
    from paramact_jax import statistics as statistics
    from paramact_jax import sweeps as sweeps
    from paramact_jax import training as training
    from paramact_jax.activations import Activation as Activation
    from paramact_jax.activations import Kink as Kink
    from paramact_jax.activations import parametric as parametric
    from paramact_jax.layers import linen as linen
    from paramact_jax.layers import nnx as nnx
    from paramact_jax.layers import parametrise as parametrise
    from paramact_jax.sweeps import sweep as sweep

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Kink",
    "activations",
    "datasets",
    "figures",
    "gradients",
    "layers",
    "linen",
    "networks",
    "nnx",
    "papers",
    "parametric",
    "parametrise",
    "programs",
    "statistics",
    "sweep",
    "sweeps",
    "training",
]

_HOMES = {
    "Activation": "activations",
    "Kink": "activations",
    "linen": "layers",
    "nnx": "layers",
    "parametric": "activations",
    "parametrise": "layers",
    "sweep": "sweeps",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
