"""Steps in stretches of iterations that take the same branches, against the plain loop with its conditionals."""

import functools
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.programs import trace, trials_last, walk
from paramact_jax.programs.branches import LARGEST, NOT_TAKEN, Stretch, known_branches
from paramact_jax.programs.program import on_cpu
from paramact_jax.training import Classifier, Minibatches

pytestmark = pytest.mark.usefixtures("unoptimised")
X = jnp.array([1.0, 5.0, 9.0])
MANY = 30


def counted(function, *arguments):
    """A step's program, and the position of its last argument, the iteration."""
    return trace(function, *arguments, jnp.int32(0)), len(jax.tree.leaves(arguments))


def conds(program):
    return [operation for operation in walk(program) if operation.name == "cond"]


def repeated(program, settings):
    return jax.jit(
        lambda state, begin, end: lax.fori_loop(begin, end, lambda i, state: program(state, *settings, i), state)
    )


def in_stretches(known, state, settings, iterations):
    """The last state, each stretch by a program of its own; how many programs there were, and what they keep."""
    run = functools.cache(lambda choice: repeated(known.with_branches(choice), settings))
    stretches = known.stretches(0, iterations)
    for begin, end, choice in stretches:
        state = run(choice)(state, begin, end)
    return state, {choice for _, _, choice in stretches}


def check(step, state=X, settings=(), iterations=MANY, found=1, left=0, given=None):
    """Asserts that the stretches compute bit for bit what the loop does, and returns what is known.

    Args:
      step: (state, *settings, iteration) -> state.
      state: the first.
      settings: trees of arrays.
      iterations: how many.
      found: number of conditionals whose branches are known.
      left: number of the others, which stay.
      given: values of inputs.
    """
    program, which = counted(step, state, *settings)
    known = known_branches(program, which, given)
    assert len(known.conditionals) == found
    after, choices = in_stretches(known, state, settings, iterations)
    for choice in choices:
        assert len(conds(known.with_branches(choice))) == left
    expected = repeated(program, settings)(state, 0, iterations)
    jax.tree.map(equal, after, expected)
    taken = known.taken(0, iterations)
    for begin, end, choice in known.stretches(0, iterations):
        assert (taken[begin:end] == np.array(choice, int)).all()
    return known


def equal(x, y):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


def grown(x):
    return (3 * x + 1) % 101  # whole numbers, so that nothing is rounded whatever is fused


def shrunk(x):
    return (x * x - 7) % 101


def every(k, x, i):
    return lax.cond(i % k == 0, shrunk, grown, x)


def test_a_classifier_that_scores_and_shuffles():
    """Without optimisation even its numbers are the same to the last digit."""
    rng = np.random.default_rng(0)
    images, labels = jnp.asarray(rng.normal(size=(40, 5)), "float32"), jnp.asarray(rng.integers(0, 3, 40), "int32")
    classifier = Classifier(
        network=lambda params, images: jnp.tanh(images @ params),
        initial=lambda key: jax.random.normal(key, (5, 3)),
        batches=Minibatches(23, 6),
        steps=20,
        scores={"test": 4, "train": 5},
        optimiser_name="adam",
    )
    sets = {"train_images": images[:23], "train_labels": labels[:23]}
    sets |= {"test_images": images[23:], "test_labels": labels[23:]}
    state = classifier.init(jax.random.key(0), sets)
    known = check(
        lambda state, sets, rate, i: classifier.step(state, i, sets, rate), state, (sets, jnp.float32(0.1)), 20, 3
    )
    expected = [[i % n == 0 for n in (4, 5, 3)] for i in range(20)]
    assert known.taken(0, 20).tolist() == expected


def test_nested_conditionals():
    def step(x, i):
        return lax.cond(i % 3 == 0, lambda x: grown(every(2, x, i)), lambda x: -every(5, x, i), x)

    known = check(step, found=3)
    assert known.taken(0, 6).tolist() == [[1, -1, 1], [0, 0, -1], [0, 0, -1], [1, -1, 0], [0, 0, -1], [0, 1, -1]]


def test_nested_conditionals_three_deep():
    def step(x, i):
        return lax.cond(i % 2 == 0, lambda: lax.cond(i % 3 == 0, lambda: every(4, x, i), lambda: x), lambda: grown(x))

    known = check(step, found=3)
    assert known.taken(0, 7).tolist() == [
        [1, 1, 1],
        [0, -1, -1],
        [1, 0, -1],
        [0, -1, -1],
        [1, 0, -1],
        [0, -1, -1],
        [1, 1, 0],
    ]


def test_one_function_in_several_branches_and_called_twice():
    nested = jax.jit(functools.partial(every, 2))

    def step(x, i):
        x = lax.switch(i % 3, [nested, nested, lambda x, i: nested(nested(x, i), i + 1)], x, i)
        return nested(nested(x, i // 3), i // 5)

    program, _ = counted(step, X)
    known = check(step, found=len({operation.key for operation in conds(program)}))
    assert len({operation.key for operation in known.conditionals}) == len(known.conditionals)


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_a_switch_whose_index_is_out_of_range(shift):
    functions = [grown, shrunk, jnp.negative, lambda x: every(3, x, jnp.int32(1))]
    known = check(lambda x, i: lax.switch(i % 7 + shift, functions, x), found=2)
    expected = np.clip(np.arange(MANY) % 7 + shift, 0, 3)
    np.testing.assert_array_equal(known.taken(0, MANY)[:, 0], expected)
    np.testing.assert_array_equal(known.taken(0, MANY)[:, 1], np.where(expected == 3, 0, NOT_TAKEN))


def test_a_float_schedule():
    def step(x, i):
        rate = 0.5 * (1 + jnp.cos(jnp.pi * i / MANY))
        return lax.cond(rate > 0.25, lambda: shrunk(x), lambda: grown(x))

    assert [stretch.choice for stretch in check(step).stretches(0, MANY)] == [(1,), (0,)]


def test_a_schedule_of_milestones_and_random_numbers():
    def step(x, i):
        x = lax.switch(jnp.searchsorted(jnp.array([4, 9, 20]), i), [grown, shrunk, grown, jnp.negative], x)
        return lax.cond(jax.random.bernoulli(jax.random.fold_in(jax.random.key(3), i)), grown, shrunk, x)

    check(step, found=2)


def test_an_index_that_a_known_conditional_makes():
    def step(x, i):
        phase = lax.cond(i % 10 < 5, lambda: i // 3, lambda: jnp.int32(7))
        return lax.switch(phase % 3, [grown, shrunk, jnp.negative], x)

    check(step, found=2)


@jax.custom_jvp
def own_rule(x, i):
    return every(3, x, i)


@jax.custom_vjp
def own_reverse_rule(x, i):
    return every(3, x, i)


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), tangents[0]))
own_reverse_rule.defvjp(lambda x, i: (every(3, x, i), None), lambda _, g: (g, None))


@pytest.mark.parametrize("around", [jax.jit, jax.checkpoint, jax.named_call], ids=lambda around: around.__name__)
def test_conditionals_within_calls(around):
    check(lambda x, i: grown(around(lambda x, i: every(3, x, i + 1))(x, i)))


@pytest.mark.parametrize("function", [own_rule, own_reverse_rule])
def test_conditionals_within_functions_with_a_derivative_rule(function):
    check(function)


def test_the_gradient_of_a_step_with_conditionals():
    def loss(x, i):
        return jnp.sum(jax.checkpoint(lambda x: lax.cond(i % 3 == 0, lambda: 3 * x + 1, lambda: x * x - 5))(x) ** 2)

    check(lambda x, i: jax.grad(loss)(x, i) % 11, found=3)  # the forward pass, the same again, the backward pass


def within_fori(x, i):
    return lax.fori_loop(0, 3, lambda j, x: every(2, x, j), x)


def within_fori_on_iteration(x, i):
    return lax.fori_loop(0, 3, lambda j, x: every(2, x, i), x)


def within_while(x, i):
    return lax.while_loop(lambda x: x.max() > 2, lambda x: lax.cond(i > 3, jnp.negative, lambda x: x / 2, x), x)


def on_state(x, i):
    return lax.cond(x[0] > 1, shrunk, grown, x)


def on_both(x, i):
    return lax.cond((x[0] > 1) & (i % 3 == 0), shrunk, grown, x)


def through_callback(x, i):
    number = jax.pure_callback(lambda i: np.int32(i % 2), jax.ShapeDtypeStruct((), jnp.int32), i)
    return lax.switch(number, [grown, shrunk], x)


def through_rbg(x, i):
    return lax.cond(jax.random.bernoulli(jax.random.fold_in(jax.random.key(3, impl="rbg"), i)), grown, shrunk, x)


def through_while(x, i):
    return every(2, x, lax.while_loop(lambda j: j < i, lambda j: 2 * j + 1, jnp.int32(1)))


def through_much(x, i):
    return lax.cond(jnp.sum(jnp.arange(LARGEST + 1) + i) % 2 == 0, grown, shrunk, x)


@pytest.mark.parametrize(
    "step",
    [
        within_fori,
        within_fori_on_iteration,
        within_while,
        on_state,
        on_both,
        through_callback,
        through_rbg,
        through_while,
        through_much,
    ],
)
def test_what_is_not_known_stays(step):
    program, which = counted(step, X)
    known = known_branches(program, which)
    assert known.conditionals == ()
    assert known.stretches(2, 9) == [Stretch(2, 9, ())]
    assert known.taken(2, 9).shape == (7, 0)
    assert known.with_branches(()) is program


def test_known_conditionals_beside_and_within_those_that_stay():
    def step(x, i):
        x = lax.cond(x[0] > 1, lambda: every(4, x, i), lambda: every(3, x, i))
        return every(5, within_fori(x, i), i)

    check(step, found=3, left=2)


def test_settings_are_known_only_if_they_are_given():
    def step(x, settings, i):
        return every(settings["every"], x, i) * settings["rate"]

    settings = ({"every": jnp.int32(4), "rate": jnp.float32(0.5)},)
    check(step, settings=settings, found=0, left=1)
    known = check(step, settings=settings, given={1: 4})
    np.testing.assert_array_equal(known.taken(0, MANY)[:, 0], np.arange(MANY) % 4 == 0)


def test_some_of_the_conditionals():
    program, which = counted(lambda x, i: lax.cond(i % 2 == 0, lambda: every(6, x, i), lambda: every(5, x, i)), X)
    known = known_branches(program, which)
    rare = known.only([2, 1])
    np.testing.assert_array_equal(rare.taken(0, MANY), known.taken(0, MANY)[:, [2, 1]])
    after, choices = in_stretches(rare, X, (), MANY)
    assert all(len(conds(rare.with_branches(choice))) == 1 + choice.count(NOT_TAKEN) for choice in choices)
    equal(after, repeated(program, ())(X, 0, MANY))
    assert known.only([]).stretches(0, 9) == [Stretch(0, 9, ())]
    assert known.only([]).with_branches(()) is program


def test_a_specialised_program_is_called_as_the_program_and_has_no_idle_operations():
    def step(state, settings, i):
        slow = jnp.cumsum(jnp.arange(5) + i)[2]
        return {"x": lax.cond(slow % 4 == 0, lambda: state["x"] * settings[0], lambda: state["x"])}

    program, which = counted(step, {"x": 1.0}, (2.0,))
    known = known_branches(program, which)
    one = known.with_branches((1,))
    assert (one.in_tree, one.out_tree) == (program.in_tree, program.out_tree)
    assert (one.closed.in_avals, one.closed.out_avals) == (program.closed.in_avals, program.closed.out_avals)
    assert [operation.name for operation in walk(one)] == ["mul"]
    assert one is known.with_branches(np.array([1]))
    assert one != known.with_branches((0,)) != program


def test_callbacks_in_branches_stay_in_order():
    seen = []

    def note(text):
        jax.debug.callback(lambda text=text: seen.append(text), ordered=True)

    def step(x, i):
        note("before")
        x = lax.cond(i % 3 == 0, lambda: (note("due"), every(2, x, i))[1], lambda: (note("not"), x)[1])
        note("after")
        return x

    program, which = counted(step, X)
    known = known_branches(program, which)
    runs = []
    for run in (lambda: in_stretches(known, X, (), 7), lambda: repeated(program, ())(X, 0, 7)):
        seen.clear()
        run()
        jax.effects_barrier()
        runs.append(list(seen))
    assert runs[0] == runs[1]
    assert runs[0].count("due") == 3


def test_many_trials_of_a_specialised_program():
    program, which = counted(lambda x, scale, i: every(3, x * scale, i), X, jnp.float32(1))
    for begin, _, choice in (known := known_branches(program, which)).stretches(0, 2):
        arguments = jnp.stack([X, 2 * X], -1), jnp.float32([1, 2]), begin
        run = [jax.jit(trials_last(p, [True, True, False])) for p in (program, known.with_branches(choice))]
        equal(run[0](*arguments), run[1](*arguments))


def test_indices_are_computed_on_the_cpu_wherever_the_constants_are():
    elsewhere = jax.devices()[2]
    marks = jax.device_put(jnp.array([3, 8]), elsewhere)
    scalar, key = jax.device_put((jnp.int32(5), jax.random.key(0)), elsewhere)

    def step(x, i):
        x = lax.cond(jnp.any(marks == i), grown, shrunk, x)
        return jax.jit(lambda x: lax.cond((i == scalar) | (jax.random.bits(key) == i), grown, shrunk, x))(x)

    with jax.default_device(elsewhere):
        program, which = counted(step, X)
        taken = known_branches(program, which).taken(0, 10)
    assert taken.tolist() == [[i in (3, 8), i == 5] for i in range(10)]
    with jax.default_device(elsewhere), on_cpu():
        assert jnp.zeros(1).devices() == {jax.devices("cpu")[0]}


def test_a_million_iterations_take_less_than_a_second():
    program, which = counted(lambda x, i: every(1000, every(300, x, i), i), X)
    known = known_branches(program, which)
    known.taken(0, 1)
    begun = time.perf_counter()
    stretches = known.stretches(7, 10**6)
    assert time.perf_counter() - begun < 1
    assert [stretches[0].begin, stretches[-1].end] == [7, 10**6]
    assert all(a.end == b.begin and a.choice != b.choice for a, b in itertools.pairwise(stretches))
    due = {i for i in range(7, 10**6) if i % 300 == 0 or i % 1000 == 0}
    assert {stretch.begin for stretch in stretches} == {7} | due | {i + 1 for i in due}


def test_ranges_at_the_limits():
    program, which = counted(lambda x, i: every(2, x, i), X)
    known = known_branches(program, which)
    assert known.stretches(5, 5) == []
    assert known.taken(5, 5).shape == (0, 1)
    assert known.stretches(2**31 - 1, 2**31) == [Stretch(2**31 - 1, 2**31, (0,))]
    with pytest.raises(ValueError, match="iterations begin <= end within int32, got 3 and 2"):
        known.taken(3, 2)
    with pytest.raises(ValueError, match="int32"):
        known.stretches(0, 2**31 + 1)


def test_refusals():
    program, which = counted(lambda x, n, i: every(n, x, i), X, jnp.int32(3))
    with pytest.raises(ValueError, match="among the program's 3 inputs, got 3"):
        known_branches(program, 3)
    with pytest.raises(ValueError, match=r"scalar integer as iteration, got float32\[3\]"):
        known_branches(program, 0)
    with pytest.raises(ValueError, match="other inputs than the iteration, got a value at 2"):
        known_branches(program, which, {2: 1})
    with pytest.raises(ValueError, match=r"expected int32\[\] at 1, got 2\.5"):
        known_branches(program, which, {1: 2.5})
    with pytest.raises(ValueError, match=r"expected int32\[\] at 1"):
        known_branches(program, which, {1: np.array([1, 2])})
    known = known_branches(program, which, {1: 3})
    for choice in [(), (2,), (-2,), (0, 0)]:
        with pytest.raises(ValueError, match=r"expected 1 numbers of branches, below \[2\] and at least -1, got"):
            known.with_branches(choice)
