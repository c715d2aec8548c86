"""Settings that have to stand before JAX is used."""

import os
import tempfile

import hypothesis
import jax
import pytest

os.environ["PARAMACT_JAX_COMPILATION_CACHE"] = "0"  # commands would keep their programs in the user's cache
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # one for this session, its workers and the commands that they start
    _cache = tempfile.TemporaryDirectory(prefix="paramact-jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
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
