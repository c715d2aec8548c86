"""Settings that have to stand before JAX is used."""

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("deterministic")


@pytest.fixture
def x64():
    """64-bit numbers inside one test."""
    with jax.enable_x64(True):
        yield
