"""What `start` sets, beside what the tests of commands show."""

import types

import jax
import pytest

from experiments.study.startup import start
from paramact_jax.activations import precision


@pytest.mark.parametrize(
    ("platforms", "before", "after"),
    [
        (["cpu"], None, None),
        (["cpu", "cuda"], None, "highest"),
        (["cpu", "tpu"], None, "highest"),
        (["cpu", "tpu"], "bfloat16", "bfloat16"),
        (["cpu", "cuda"], "default", "default"),
    ],
)
def test_products_are_float32_on_accelerators_unless_the_user_asked_otherwise(platforms, before, after, monkeypatch):
    monkeypatch.setattr(precision, "backend", types.SimpleNamespace(backends=lambda: dict.fromkeys(platforms)))
    jax.config.update("jax_default_matmul_precision", before)
    assert start()
    assert jax.config.jax_default_matmul_precision == after


def test_what_it_sets_ends_with_the_test():
    assert jax.config.jax_default_matmul_precision is None
