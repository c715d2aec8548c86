"""The text of a program: the same wherever it is made, and another for whatever changes results."""

import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from paramact_jax.programs.difference import difference
from paramact_jax.programs.identity import describe
from paramact_jax.programs.program import afresh, shapes_of, trace

ROOT = Path(__file__).parents[2]
X = jax.ShapeDtypeStruct((3,), jnp.float32)


def traced(fn, *args):
    with afresh():
        return trace(fn, *args)


def text(fn, *args):
    return describe(jax.make_jaxpr(fn)(*(args or (X,)))).lines


def called(x):
    return np.sin(x)


def everything(x):
    """Operations with all kinds of parameters."""
    x = lax.fori_loop(0, 3, lambda _, w: jax.nn.relu(w) * 0.5, x)
    x = lax.while_loop(lambda w: w[0] < 1, lambda w: w + 1, x)
    x = lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)
    x = jax.grad(lambda w: jax.checkpoint(jnp.tanh)(w).sum())(x)
    x = jax.pure_callback(called, X, x, vmap_method="sequential")
    jax.debug.print("x {}", x)
    jax.debug.callback(lambda y: None, x)
    x = lax.custom_linear_solve(lambda v: 2 * v, x, lambda _, b: b / 2)
    twice = jax.custom_batching.custom_vmap(lambda v: 2 * v)
    twice.def_vmap(lambda size, batched, v: (2 * v, batched[0]))
    rounded = jax.custom_vjp(lambda v: jnp.round(v) + 0)
    rounded.defvjp(lambda v: (jnp.round(v), None), lambda _, g: (g,))
    image = lax.conv(jnp.ones((1, 1, 3, 3)), jnp.ones((1, 1, 2, 2)), (1, 1), "SAME")
    noise = jax.random.normal(jax.random.key(1), (3,)).at[1].set(0)
    return jnp.sort(twice(rounded(x))) + noise + image[0, 0, 0] + jnp.asarray(np.arange(30.0, dtype=np.float32))[:3]


def network(rate=0.1, layers=10):
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(layers)])

        def __call__(self, x):
            for layer in self.layers:
                x = nnx.relu(layer(x))
            return x

    def train(key):
        model = Network(nnx.Rngs(key))
        schedule = optax.warmup_cosine_decay_schedule(0.0, rate, 10, 100)
        optimiser = nnx.Optimizer(model, optax.chain(optax.clip(1.0), optax.adam(schedule)), wrt=nnx.Param)
        graph, state = nnx.split((model, optimiser))

        def step(_, state):
            model, optimiser = nnx.merge(graph, state)
            optimiser.update(model, nnx.grad(lambda model: jnp.mean((model(jnp.ones((8, 4))) - 1) ** 2))(model))
            return nnx.state((model, optimiser))

        return jax.tree.leaves(lax.fori_loop(0, 100, step, state))

    return train


KEY = shapes_of(jax.random.key(0))


def test_every_operation_is_a_line_without_addresses():
    lines = text(everything)
    assert not re.search(r"0x[0-9a-f]{4}|object_at|TypedNdArray|Array\(|<function", "\n".join(lines))
    for name in ("scan", "while", "cond", "pure_callback", "custom_linear_solve", "custom_vjp_call", "sort", "scatter"):
        assert [line for line in lines if f"= {name} " in line], name
    assert lines == text(everything)


def test_another_process_with_another_hash_seed_and_order_of_imports_reads_the_same():
    script = "from tests.programs.test_identity import *\n"
    script += "print(traced(everything, X).identity.digest, traced(network(), KEY).identity.digest)\n"
    said = {
        subprocess.run(
            [sys.executable, "-c", first + script],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed, first in (("1", ""), ("2", "import scipy, optax, jax.numpy\njax.numpy.ones(3).sum()\n"))
    }
    assert said == {f"{traced(everything, X).identity.digest} {traced(network(), KEY).identity.digest}\n"}


def test_names_and_lines_do_not_count():
    def a_helper(x):
        return x * 2

    def other(y):

        # a comment moves the line
        return y * 2

    assert text(jax.jit(a_helper)) == text(jax.jit(other))
    assert text(lambda x: lax.map(a_helper, x)) == text(lambda x: lax.map(other, x))


def nested(x, constant):
    return lax.fori_loop(0, 2, lambda _, w: jax.jit(lambda v: v * constant)(w), x)


LONG, OTHER = np.arange(100, dtype=np.float32), np.arange(100, dtype=np.float32)[::-1]
PAIRS = {
    "literal": (lambda x: x * 0.1, lambda x: x * np.float32(np.nextafter(np.float32(0.1), np.float32(1)))),
    "sign of zero": (lambda x: x + 0.0, lambda x: x + -0.0),
    "weak type": (lambda x: x.astype(int) * 1.0, lambda x: x.astype(int) * np.float32(1)),
    "constant": (lambda x: nested(x, np.ones(3, np.float32)), lambda x: nested(x, np.full(3, 2, np.float32))),
    "long constant": (lambda x: LONG + x[0], lambda x: OTHER + x[0]),
    "dtype": (lambda x: x + np.ones(3, np.float32), lambda x: x + np.ones(3, jnp.bfloat16)),
    "shape": (lambda x: (np.zeros((0, 2), np.float32), x)[0], lambda x: (np.zeros((0, 3), np.float32), x)[0]),
    "order": (lambda x: (x.sum(), x.max()), lambda x: (x.max(), x.sum())),
    "operand": (lambda x: x[0] - x[1], lambda x: x[1] - x[0]),
    "key": (
        lambda x: jax.random.key_data(lax.optimization_barrier(jax.random.key(0))),
        lambda x: jax.random.key_data(lax.optimization_barrier(jax.random.key(0, impl="rbg")))[:2],
    ),
    "parameter": (lambda x: x.sum(keepdims=True), lambda x: x[:1]),
    "threefry": (
        lambda x: jax.random.bits(jax.random.key(0), (3,)),
        jax.threefry_partitionable(False)(lambda x: jax.random.bits(jax.random.key(0), (3,))),
    ),
    "precision": (
        lambda x: jnp.outer(x, x) @ x,
        lambda x: jnp.matmul(jnp.outer(x, x), x, precision="highest"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_changes_results_changes_the_text(pair):
    before, after = (text(fn) for fn in pair)
    assert before != after
    assert "\n" not in difference(before, after)
    assert [text(fn) for fn in pair] == [before, after]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_numbers_are_written_exactly(dtype):
    numbers = (
        np.random.default_rng(0).integers(0, 256, (50, np.dtype(dtype).itemsize)).astype(np.uint8).view(dtype)[:, 0]
    )
    for number in numbers[np.isfinite(numbers.astype(np.float32))]:
        (line,) = [line for line in text(lambda x, number=number: x[0].astype(dtype) + number) if "= add" in line]
        assert np.dtype(dtype).type(float(line.split()[-1].partition(":")[0])) == number


def test_a_key_is_read_by_its_data_and_its_kind():
    keys = [jax.random.key(0), jax.random.key(1), jax.random.key(0, impl="rbg"), jax.random.key(0)]
    texts = [text(lambda x, key=key: jax.random.uniform(key, (3,)) + x) for key in keys]
    assert texts[0] == texts[3]
    assert len(set(texts)) == 3


def test_equal_constants_are_one_wherever_they_lie():
    one, two = np.ones(3, np.float32), np.ones(3, np.float32)
    assert text(lambda x: x * one + one) == text(lambda x: x * one + two)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (lambda x: jnp.sin(x) * 0.2, r"operation 2 of 2, `mul`: 0.1 stored, 0.2 now \(test_identity.py:\d+\)"),
        (lambda x: jnp.cos(x) * 0.1, r"operation 1 of 2: `v1:f32\[3\] = sin v0` stored, `v1:f32\[3\] = cos v0` now"),
        (lambda x: jnp.sin(x) * 0.1 + 1, r"line 4 of 5: `output v2` stored, `v3:f32\[3\] = add .*, 1 operation more"),
        (jnp.sin, r"line 3 of 3: `v2.* = mul .*` stored, `output v1` now.*, 1 operation fewer"),
        (lambda x: jnp.sin(x) * np.float32([1, 2, 3]), r"0\.1\S* stored, float32_\[1\.0,2\.0,3\.0\]\S* now"),
    ],
)
def test_a_difference_is_named_in_one_line(now, says):
    stored = describe(jax.make_jaxpr(lambda x: jnp.sin(x) * 0.1)(X))
    found = describe(jax.make_jaxpr(now)(X))
    said = difference(stored.lines, found.lines, found.where)
    assert re.search(says, said), said
    assert "\n" not in said


def test_reading_costs_little():
    """One program within many operations is read once; a training of ten layers in a fraction of a second."""
    again = jax.jit(lambda x: x * 2 + 1)

    def deep(x, depth):
        return again(x) if depth == 0 else jax.jit(lambda y: deep(deep(y, depth - 1), depth - 1))(x)

    closed = jax.make_jaxpr(lambda x: deep(x, 9))(X)
    begin = time.process_time()
    assert len(describe(closed).lines) < 100
    assert len(traced(network(), KEY).identity.lines) > 500
    assert time.process_time() - begin < 5


def test_a_program_is_called_as_traced_and_equal_to_its_like():
    table = np.ones(3, np.float32)
    program, like, other = (traced(lambda x, c=c: {"y": table * x * c}, X) for c in (2.0, 2.0, 3.0))
    assert program == like
    assert hash(program) == hash(like)
    assert program != other
    assert program != traced(lambda x: {"z": table * x * 2.0}, X)
    np.testing.assert_array_equal(program(np.arange(3, dtype=np.float32))["y"], [0, 2, 4])
    assert program.outputs["y"] == X
    table[0] = 5  # what has been traced may read it
    assert program != like
    with pytest.raises(ValueError, match="expected arguments like"):
        program({"x": np.zeros(3)})


RATE = 0.1


def body(_, w):
    return w * RATE


@jax.jit
def jitted(w):
    return w + RATE


def test_what_jax_keeps_of_earlier_traces_is_not_taken(monkeypatch):
    fn = lambda x: jitted(lax.fori_loop(0, 3, body, x))  # noqa: E731
    before = traced(fn, X)
    monkeypatch.setitem(globals(), "RATE", 0.2)
    assert "0.1:f32" not in "\n".join(traced(fn, X).identity.lines)
    assert "0.2:f32" not in "\n".join(before.identity.lines)
