"""Attribution of networks as their users write them, against JAX's own gradients."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from paramact_jax.gradients import attribute
from tests.zoo import of_functions, of_linen, of_nnx
from tests.zoo.case import Case

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_rank_promotion("allow"):
        yield


BUILDERS = {
    name: builder
    for module in (of_nnx, of_linen, of_functions)
    for name, builder in inspect.getmembers(module, inspect.isfunction)
    if builder.__module__ == module.__name__ and not inspect.signature(builder).parameters
    if "activations=" in inspect.getsource(builder)
}
QUICK = ("coder", "scanned")
HALF = ("attention",)
"""Which compute in bfloat16."""


def is_float(x):
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.inexact)


def parts_of(case):
    """The learned parameters, and a function of them and of the floats among the arguments."""
    leaves, tree = jax.tree.flatten((case.args, case.kwargs))
    floats = {i: x for i, x in enumerate(leaves) if is_float(x)}

    def arguments(floats):
        args, kwargs = jax.tree.unflatten(tree, [floats.get(i, x) for i, x in enumerate(leaves)])
        return args, dict(kwargs)

    if isinstance(case.model, nnx.Module):
        graph, params, rest = nnx.split(case.model, nnx.Param, ...)

        def run(params, floats):
            args, kwargs = arguments(floats)
            model = nnx.merge(graph, params, rest, copy=True)
            return getattr(model, kwargs.pop("method", "__call__"))(*args, **kwargs)

        return params, floats, run

    def run(params, floats):
        args, kwargs = arguments(floats)
        if isinstance(case.model, linen.Module):
            return case.model.apply({**case.variables, "params": params}, *args, **kwargs)
        return case.model(params, *args, **kwargs)

    return case.variables["params"] if isinstance(case.model, linen.Module) else case.variables, floats, run


@jax.jit
def by_kind(found):
    return found.by_kind()


def log_norm(tree):
    arrays = [np.asarray(x, np.complex128) for x in jax.tree.leaves(tree) if is_float(x)]
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(sum(float((np.abs(x) ** 2).sum()) for x in arrays))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in BUILDERS]
)
def test_shares_add_up_to_the_change_of_jaxs_gradient(name):
    case = BUILDERS[name]()
    assert isinstance(case, Case)
    found = attribute(case.model, *case.example, loss=case.loss, **case.kwargs)
    params, floats, run = parts_of(case)
    tolerance = 0.03 if name in HALF else 2e-5

    @jax.jit
    def gradients(params, floats):
        leaves, tree = jax.tree.flatten(run(params, floats))
        smooth = {i: x for i, x in enumerate(leaves) if is_float(x)}
        of_outputs = jax.grad(
            lambda smooth: case.loss(jax.tree.unflatten(tree, [smooth.get(i, x) for i, x in enumerate(leaves)]))
        )(smooth)
        whole = jax.grad(lambda params, floats: case.loss(run(params, floats)), argnums=(0, 1), allow_int=True)
        return *whole(params, floats), of_outputs

    of_params, of_inputs, of_outputs = gradients(params, floats)
    assert found.log_norm[-1] == pytest.approx(log_norm(of_outputs), abs=tolerance)
    if floats:
        assert found.log_norm[0] == pytest.approx(log_norm(of_inputs), abs=tolerance)
    assert float(sum(by_kind(found).values())) == pytest.approx(float(found.total), abs=1e-5)
    expected = np.array([log_norm(x) for x in jax.tree.leaves(of_params) if is_float(x)])
    seen = expected > expected.max() - 10  # the others may be rounding, as that by the bias of the keys
    np.testing.assert_allclose(np.asarray(found.gradient_log_norm)[seen], expected[seen], atol=10 * tolerance)
    assert found.activations
    assert str(found).startswith("Gradient by ")


@pytest.mark.parametrize("name", [pytest.param("layers", marks=pytest.mark.slow), "graph"])
def test_in_float64_to_ten_digits(name, x64):
    case = BUILDERS[name]()
    wide = jax.tree.map(lambda x: x.astype(jnp.float64) if is_float(x) else x, (case.variables, case.args))
    case = Case(**{**vars(case), "variables": wide[0], "args": wide[1], "loss": lambda y: (y**2).mean()})
    found = attribute(case.model, *case.example, loss=case.loss, **case.kwargs)
    params, floats, run = parts_of(case)

    @jax.jit
    def gradients(floats):
        of_inputs = jax.grad(lambda floats: case.loss(run(params, floats)))(floats)
        return of_inputs, jax.grad(case.loss)(run(params, floats))

    expected = float(np.subtract(*map(log_norm, gradients(floats))))
    assert found.share.dtype == jnp.float64
    np.testing.assert_allclose(float(sum(by_kind(found).values())), expected, rtol=0, atol=1e-10)
