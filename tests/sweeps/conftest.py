import logging

import jax
import pytest


@pytest.fixture
def compiled(caplog):
    """Returns how many programs JAX has compiled since it was last asked."""

    def since():
        count = sum(record.getMessage().startswith("Compiling ") for record in caplog.records)
        caplog.clear()
        return count

    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        yield since
