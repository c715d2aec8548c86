"""Records survive copying and pickling, as what they are or as the call that made them."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.activations import (
    activation,
    catalogue,
    parametric,
    parametric_hexpo_of_layer,
    thresholded_relu_at,
)


def own(y):
    return y / (1 + jnp.abs(y))


MADE = {
    "name": lambda: parametric("arctan", a=2.0, learned="a"),
    "twice": lambda: parametric(parametric("swish", a=2.0, learned=()), a=3.0),
    "own": lambda: parametric(own),
    "of JAX": lambda: parametric(activation(jax.nn.relu6), a=1.0),
    "thresholded": lambda: parametric(thresholded_relu_at(0.5)),
    "parametric hexpo": lambda: parametric_hexpo_of_layer(3, name="third"),
}


@pytest.mark.parametrize("name", catalogue.names())
def test_records_of_the_catalogue_stay_themselves(name):
    record = catalogue.get(name)
    assert copy.copy(record) is copy.deepcopy({"record": record})["record"] is record
    assert pickle.loads(pickle.dumps(record)) is record


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_made_records_are_made_again(make):
    record = make()
    again = pickle.loads(pickle.dumps(record))
    assert copy.deepcopy(record) is record
    for attribute in ("name", "params", "steepest_slope", "range", "kinks", "formula", "source"):
        assert getattr(again, attribute) == getattr(record, attribute)
    y = np.linspace(-2, 2, 9, dtype=np.float32)
    for form in ("fn", "derivative", *(functools.partial(lambda r, p: r.partials[p], p=p) for p in record.params)):
        of_each = [getattr(r, form) if isinstance(form, str) else form(r) for r in (record, again)]
        np.testing.assert_array_equal(*(f(y, **record.params) for f in of_each))


def test_a_lambda_can_be_copied_but_not_pickled():
    record = parametric(lambda y: 2 * y)
    assert copy.deepcopy(record) is record
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(record)
