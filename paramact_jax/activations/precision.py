"""Makes products of float32 numbers exact to float32 on every kind of device.

By JAX's default a GPU rounds the factors to TF32, 10 bits, and a TPU to bfloat16, 7 bits; a CPU does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
from jax.extend import backend

_HIGHEST = "highest"


def is_left_to_us() -> bool:
    """Returns whether there are devices other than CPUs and the user left `jax_default_matmul_precision` unset.

    A user can set it in the configuration, the environment or a context.
    """
    return jax.default_matmul_precision.value is None and any(name != "cpu" for name in backend.backends())


@contextlib.contextmanager
def float32_products() -> Iterator[None]:
    """Makes JAX compute products in float32 within this context or function, unless the user asked otherwise.

    If all devices are CPUs, it changes no program. A product with a precision of its own keeps it.
    """
    with jax.default_matmul_precision(_HIGHEST) if is_left_to_us() else contextlib.nullcontext():
        yield


def set_float32_products() -> None:
    """Makes JAX compute products in float32 in this process from now on, unless the user asked otherwise."""
    if is_left_to_us():
        jax.config.update("jax_default_matmul_precision", _HIGHEST)
