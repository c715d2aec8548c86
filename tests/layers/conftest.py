"""What some tests of layers need."""

import jax
import pytest


@pytest.fixture
def ranks_as_users_have_them():
    with jax.numpy_rank_promotion("allow"):
        yield
