"""Tracing, reading and comparing programs; the flat list of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.programs import trace, walk
from paramact_jax.programs.program import afresh, parts_of_scan, parts_of_while, programs_of
from paramact_jax.programs.steps import between, flatten, run_steps, trace_flat

X = jnp.arange(3.0)


def nested(x, y):
    x = lax.scan(lambda c, x: (jnp.sin(c) + x, c), y["a"], x)[0]
    x = jax.checkpoint(lambda x: jnp.cos(x) * 2)(x)
    x = lax.while_loop(lambda x: x < 9, lambda x: x + jnp.exp(x), jnp.abs(x) + 1)
    x = lax.cond(x > 2, jnp.tanh, jax.jit(lambda x: jnp.log(x)), x)  # noqa: PLW0108 - jit of a function of its own
    return {"x": jax.nn.relu(x), "n": jnp.int32(3)}


def test_a_program_does_what_its_function_does():
    y = {"a": jnp.float32(0.3), "unused": X}
    program = trace(nested, X, y)
    result, expected = program(X, y), nested(X, y)
    assert jax.tree.structure(result) == jax.tree.structure(expected) == program.out_tree
    assert float(result["x"]) == pytest.approx(float(expected["x"]))
    assert program.outputs == {"x": jax.ShapeDtypeStruct((), "float32"), "n": jax.ShapeDtypeStruct((), "int32")}
    assert jax.jacfwd(lambda x: program(x, y)["x"])(X).shape == (3,)
    with pytest.raises(ValueError, match="expected arguments like"):
        program(X, X)


def test_nothing_is_computed_to_trace():
    seen = []
    shape = jax.ShapeDtypeStruct((2,), "float32")
    program = trace(lambda x: jax.pure_callback(lambda x: seen.append(1) or x, x, x), shape)
    assert seen == []
    assert [operation.name for operation in walk(program)] == ["pure_callback"]


def test_a_program_keeps_what_it_was():
    factor = {"value": 2.0}
    body = jax.jit(lambda x: x * factor["value"])
    first = trace(lambda x: body(x), X)  # noqa: PLW0108 - each trace has a function of its own
    factor["value"] = 3.0
    kept = trace(lambda x: body(x), X)  # noqa: PLW0108
    assert first == kept  # JAX used its first trace of the body
    with afresh():
        second = trace(lambda x: body(x), X)  # noqa: PLW0108
    assert first(X).tolist() == (2 * X).tolist()
    assert second(X).tolist() == (3 * X).tolist()
    assert first != second


def test_walk_enters_calls_loops_and_branches_in_order():
    operations = list(walk(trace(nested, X, {"a": jnp.float32(0), "unused": X})))
    wanted = ["scan", "sin", "cos", "abs", "while", "exp", "cond", "log", "tanh", "max"]  # branch 0 is the false one
    names = dict.fromkeys(operation.name for operation in operations)
    assert [name for name in names if name in wanted] == wanted
    found = {operation.name: operation for operation in operations}
    assert [found[name].in_loop for name in ("sin", "lt", "exp", "cos", "tanh", "max")] == [True] * 3 + [False] * 3
    assert [len(found[name].within) for name in ("scan", "sin", "exp")] == [0, 1, 1]


def test_walk_leaves_out_derivative_rules():
    function = jax.custom_vjp(jnp.sin)
    function.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (jnp.cosh(x) * g,))
    assert {operation.name for operation in walk(trace(function, X))} >= {"sin"}
    assert "cosh" not in {operation.name for operation in walk(trace(function, X))}


def test_the_inputs_of_loops():
    w = jnp.ones(3)
    program = trace(lambda w, x: lax.scan(lambda c, x: (c * w.sum() + x, c), w[0], x), w, X)
    (scan,) = [operation.equation for operation in walk(program) if operation.name == "scan"]
    consts, carry, xs = parts_of_scan(scan, scan.invars)
    assert [[atom.aval.shape for atom in part] for part in (consts, carry, xs)] == [[(3,)], [()], [(3,)]]
    assert len(programs_of(scan)) == 1
    program = trace(lambda w, n: lax.while_loop(lambda c: c < n, lambda c: c + w.sum(), 0.0), w, 2.0)
    (loop,) = [operation.equation for operation in walk(program) if operation.name == "while"]
    assert [[atom.aval.shape for atom in part] for part in parts_of_while(loop, loop.invars)] == [[()], [(3,)], [()]]


@pytest.mark.parametrize(
    "other", [lambda x: 3 * x, lambda x: x + x, lambda x: (2 * x,), lambda x: {"a": 2 * x}, lambda x: 2.0 * x + 0]
)
def test_programs_that_differ(other):
    assert trace(lambda x: 2 * x, X) != trace(other, X)


def test_programs_that_are_the_same():
    held = np.arange(3.0, dtype="float32")
    first, second = trace(lambda x: x + held, X), trace(lambda x: x + held.copy(), X)
    assert first == second
    assert len({first, second, trace(lambda x: x + held, jnp.zeros((1,)))}) == 2
    assert first != trace(lambda x: x + (held + 1), X)
    assert first != "a program"


def test_a_flat_program_has_calls_written_out():
    def function(x):
        return jax.jit(lambda x: jnp.sin(x) * 2)(x) + jax.checkpoint(jnp.cos)(x), jax.nn.relu(x)

    program = trace_flat(function, X)
    assert [step.name for step in program.steps] == ["sin", "mul", "cos", "add", "custom_jvp_call"]
    assert [step.custom_body is not None for step in program.steps] == [False] * 4 + [True]
    values = program.run(X)
    for number, expected in zip(program.outputs, function(X), strict=True):
        assert jnp.allclose(values[number], expected)
        assert program.shapes[number] == (3,)
    assert [program.constants[number].item() for number in program.literals] == [2.0]
    assert {step.name for step in program.makers().values()} == {step.name for step in program.steps}


def test_a_flat_program_holds_constants_and_leaves_out_what_no_result_needs():
    held = jnp.arange(3.0)
    program = trace_flat(lambda x: (x + held, jnp.exp(x))[0], X)
    assert [step.name for step in program.steps] == ["add"]
    assert any(np.array_equal(value, held) for value in program.constants.values())
    traced = jax.make_jaxpr(lambda x: (x + held, jnp.exp(x))[0])(X)
    assert [step.name for step in flatten(traced).steps] == ["add", "exp"]
    assert [step.name for step in flatten(trace(lambda x: (x + held, jnp.exp(x))[0], X).closed).steps] == ["add"]


def test_the_steps_between_two_arrays():
    program = trace_flat(lambda x: jnp.sin(jnp.exp(x) * 2) + jnp.cos(x), X)
    start = next(step.outputs[0] for step in program.steps if step.name == "exp")
    steps = between(program, start, program.outputs[0])
    assert [step.name for step in steps] == ["mul", "sin", "add"]
    values = program.run(X)
    made = run_steps(steps, {**values, start: values[start] + 1})
    expected = jnp.sin((jnp.exp(X) + 1) * 2) + jnp.cos(X)
    np.testing.assert_allclose(made[program.outputs[0]], expected, 1e-6)
