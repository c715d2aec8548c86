"""Programs with operations replaced, or with values on the way brought out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.programs import replace, tap, trace, walk

X = jnp.linspace(0.1, 0.9, 3)


def sin_by_tan(operation):
    return (lambda x: [jnp.tan(x)]) if operation.name == "sin" else None


@jax.custom_jvp
def own_rule(x):
    return jnp.exp(x)


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), 100 * tangents[0]))


@jax.custom_vjp
def own_reverse_rule(x):
    return jnp.exp(x)


own_reverse_rule.defvjp(lambda x: (jnp.exp(x), None), lambda _, g: (100 * g,))


def plain(f, x):
    return f(x) * 2


def in_jit(f, x):
    return jax.jit(lambda x: f(x) + 1)(x)


def in_remat(f, x):
    return jax.checkpoint(lambda x: f(x) * f(x))(x)


def in_scan(f, x):
    return lax.scan(lambda c, x: (f(c) + x, c * x), x, jnp.stack([x, 2 * x]), reverse=True)


def in_cond(f, x):
    return lax.cond(x.sum() > 0, f, lambda x: f(x) + 1, x), lax.switch(1, [f, lambda x: x, jnp.cos], x)


def in_nested(f, x):
    def step(c, x):
        return lax.cond(c.sum() > 0, lambda c: jax.jit(f)(c), lambda c: c, c), x  # noqa: PLW0108

    return jax.checkpoint(lambda x: lax.scan(step, x, x)[0])(x)


def in_rule(f, x):
    made = jax.custom_jvp(lambda x: f(x))  # noqa: PLW0108 - its name is no matter
    made.defjvp(lambda primals, tangents: (made(*primals), 100 * tangents[0]))
    return made(x)


def in_while(f, x):
    return lax.while_loop(lambda c: f(c[0]) < 3, lambda c: (c[0] + 1, f(c[1])), (0, x))[1]


PLACES = [plain, in_jit, in_remat, in_scan, in_cond, in_nested, in_rule]


@pytest.mark.parametrize("place", PLACES)
def test_replaced_wherever_it_stands(place):
    program = trace(lambda x: place(jnp.sin, x), X)
    changed = replace(program, sin_by_tan)
    of_tan = (lambda x: jnp.tan(x)) if place is in_rule else (lambda x: place(jnp.tan, x))  # noqa: PLW0108

    def total(function):
        return lambda x: sum(leaf.sum() for leaf in jax.tree.leaves(function(x)))

    for way in (lambda f: f, jax.jit, lambda f: jax.grad(total(f)), jax.jacfwd):
        got, expected = way(changed)(X), way(of_tan)(X)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), got, expected)
    many = jnp.stack([X, 2 * X])
    got, expected = jax.vmap(changed)(many), jax.vmap(of_tan)(many)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), got, expected)
    assert "sin" not in {operation.name for operation in walk(trace(changed, X))}


def test_replaced_in_the_condition_and_the_body_of_a_while_loop():
    def function(f, x):
        return lax.while_loop(lambda c: f(c[0]) < 0.9, lambda c: (c[0] + 0.1, f(c[1])), (0.1, x))

    changed = replace(trace(lambda x: function(jnp.sin, x), X), sin_by_tan)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), changed(X), function(jnp.tan, X))


@pytest.mark.parametrize("function", [own_rule, own_reverse_rule])
def test_a_derivative_rule_is_kept_unless_something_within_is_replaced(function):
    program = trace(lambda x: function(jnp.sin(x)) + lax.scan(lambda c, _: (function(c), None), x, None, 2)[0], X)
    slope = 100 * jnp.cos(X) + 100 * 100
    for which in (lambda _: None, lambda operation: (lambda x: [jnp.sin(x)]) if operation.name == "sin" else None):
        for run in (replace(program, which), jax.jit(replace(program, which))):
            np.testing.assert_allclose(jax.grad(lambda x, run=run: run(x).sum())(X), slope, 1e-5)
    squares = replace(trace(function, X), lambda o: (lambda x: [x**2]) if o.name == "exp" else None)
    np.testing.assert_allclose(jax.grad(lambda x: squares(x).sum())(X), 2 * X, 1e-6)


def test_rematerialisation_stays():
    changed = replace(trace(lambda x: in_remat(jnp.sin, x), X), sin_by_tan)
    names = [operation.name for operation in walk(trace(jax.grad(lambda x: changed(x).sum()), X))]
    assert {"remat", "remat2", "checkpoint"} & set(names)
    assert names.count("tan") >= 2


def test_a_whole_loop_is_replaced_without_asking_within():
    asked = []

    def which(operation):
        asked.append(operation.name)
        return (lambda *values: [values[0] * 0, values[1]]) if operation.name == "scan" else None

    program = trace(lambda x: lax.scan(lambda c, x: (jnp.sin(c) + x, c), x[0], x), X)
    carry, rows = replace(program, which)(X)
    assert (float(carry), rows.tolist()) == (0.0, X.tolist())
    assert "sin" not in asked


def test_an_operation_is_known_by_where_it_stands():
    def which(operation):
        return (lambda x: [0 * x]) if operation.name == "sin" and operation.in_loop else None

    function = lambda x: jnp.sin(x) + lax.fori_loop(0, 2, lambda i, x: jnp.sin(x), x)  # noqa: E731
    np.testing.assert_allclose(replace(trace(function, X), which)(X), jnp.sin(X), 1e-6)


def test_a_replacement_of_another_number_of_values_is_refused():
    with pytest.raises(ValueError, match="expected 1 values instead of 'sin', got 2"):
        replace(trace(jnp.sin, X), lambda _: lambda x: [x, x])(X)


def name_of_sin(operation):
    return "y" if operation.name == "sin" else None


@pytest.mark.parametrize("place", [plain, in_jit, in_remat, in_rule])
def test_tapped_where_calls_hold_it(place):
    program = trace(lambda x: place(jnp.sin, x), X)
    result, seen = jax.jit(tap(program, name_of_sin))(X)
    np.testing.assert_allclose(result, place(jnp.sin, X), 1e-6)
    assert set(seen) == ({"y", "y:1"} if place is in_remat else {"y"})
    np.testing.assert_allclose(seen["y"], jnp.sin(X), 1e-6)
    result, seen = jax.vmap(tap(program, name_of_sin))(jnp.stack([X, 2 * X]))
    np.testing.assert_allclose(seen["y"][1], jnp.sin(2 * X), 1e-6)


def test_tapped_in_scans_of_scans():
    def function(x):
        def step(c, x):
            c = jnp.sin(c) + x
            return lax.scan(lambda c, _: (jnp.sin(c), None), jnp.sin(c), None, 4)[0], c

        return jnp.sin(lax.scan(step, x[0], x, reverse=True)[0])

    result, seen = tap(trace(function, X), name_of_sin)(X)
    assert {name: value.shape for name, value in seen.items()} == {"y": (3,), "y:1": (3,), "y:2": (3, 4), "y:3": ()}
    assert seen["y:3"] == result
    np.testing.assert_allclose(seen["y"][-1], jnp.sin(X[0]), 1e-6)


def test_names_are_told_apart_and_kept_as_they_are():
    program = trace(lambda x: (jnp.sin(x), jnp.cos(x), jnp.sin(2 * x), jnp.split(x, [1])), X)
    names = {"sin": "a:b", "cos": "a", "split": "parts"}
    _, seen = tap(program, lambda operation: names.get(operation.name))(X)
    assert set(seen) == {"a:b", "a", "a:b:1", "parts"}
    assert [part.shape for part in seen["parts"]] == [(1,), (2,)]


@pytest.mark.parametrize("place", [in_while, in_cond])
def test_values_that_are_not_all_kept_are_refused(place):
    program = trace(lambda x: place(jnp.sin, x), X if place is in_cond else jnp.float32(0.5))
    with pytest.raises(ValueError, match="expected operations outside of while loops and branches"):
        tap(program, name_of_sin)(X if place is in_cond else jnp.float32(0.5))


def test_operations_within_other_programs_are_refused():
    solve = lambda x: lax.custom_linear_solve(lambda y: jnp.sin(x) * y, x, lambda _, b: b / jnp.sin(x))  # noqa: E731
    program = trace(lambda x: solve(x) + jnp.sin(x), X)
    with pytest.raises(ValueError, match="expected operations within calls, loops and branches"):
        replace(program, lambda o: (lambda x, y: [x * y]) if o.name == "mul" else None)(X)
    np.testing.assert_allclose(replace(program, lambda _: None)(X), X / jnp.sin(X) + jnp.sin(X), 1e-6)
