"""Settings that have to stand before JAX is used."""

import os

import hypothesis
import jax
import pytest

os.environ["PARAMACT_JAX_COMPILATION_CACHE"] = "0"  # commands would keep their programs in the user's cache
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("deterministic")


@pytest.fixture(scope="module")
def unoptimised():
    """Programs of one module's tests compiled in half the time, for tests that compute little."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def x64():
    """64-bit numbers inside one test."""
    with jax.enable_x64(True):
        yield
