"""Activations of programs that take derivatives, as operations of their own."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.programs import trace, walk
from paramact_jax.programs.marks import marked
from paramact_jax.programs.naming import Naming

W, X = jnp.linspace(-1, 1, 12).reshape(3, 4), jnp.array([0.3, -0.7, 1.1])


def network(w, x):
    return jnp.sum(jnp.sin(jax.nn.gelu(jax.nn.relu(x @ w) + jnp.tanh(x @ w))) * jax.nn.softplus(x @ w))


def under_scan(w, x):
    return jax.lax.scan(lambda x, _: (jnp.tanh(jax.nn.silu(x)), None), x, None, length=3)[0].sum() + w.sum()


FUNCTIONS = {
    "grad": jax.grad(network, 1),
    "hessian": jax.hessian(network, 1),
    "forward": lambda w, x: jax.jvp(lambda x: network(w, x), (x,), (x,)),
    "vmap": lambda w, x: jax.vmap(jax.grad(network, 1), (None, 0))(w, jnp.stack([x, 2 * x])),
    "scan": jax.grad(under_scan, 1),
    "remat": jax.grad(jax.checkpoint(network), 1),
    "jit": jax.grad(jax.jit(network), 1),
}


def names(program):
    return [o.equation.params["name"] for o in walk(program) if o.name == "activation"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_marked_programs_compute_the_same(name):
    function = FUNCTIONS[name]
    with marked(Naming(()).called):
        program = trace(function, W, X)
    assert set(names(program)) >= ({"tanh", "silu"} if name == "scan" else {"relu", "gelu", "tanh", "softplus"})
    expected = jax.jit(function)(W, X)
    for run in (program, jax.jit(program)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), run(W, X), expected)
    again, plain = jax.jit(
        jax.jacrev(lambda x: [sum(v.sum() for v in jax.tree.leaves(run(W, x))) for run in (program, function)])
    )(X)
    np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5)


def test_nothing_is_marked_afterwards_or_in_another_thread():
    def in_thread():
        with_thread.append(names(trace(FUNCTIONS["jit"], W, X)))

    with_thread = []
    with marked(Naming(()).called):
        other = threading.Thread(target=in_thread)
        other.start()
        other.join()
        assert names(trace(FUNCTIONS["jit"], W, X))
    assert with_thread == [[]]
    assert names(trace(FUNCTIONS["jit"], W, X)) == []
    with pytest.raises(ZeroDivisionError), marked(Naming(()).called):
        raise ZeroDivisionError
    assert names(trace(FUNCTIONS["grad"], W, X)) == []
    assert "bind" not in vars(jax.extend.core.primitives.tanh_p)
