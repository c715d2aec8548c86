"""parametrise: the activations of any model become trainable, and its outputs stay."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import paramact_jax as pa
from paramact_jax.layers import parametrise
from tests.zoo import of_functions, of_linen, of_nnx
from tests.zoo.case import normal, weight

ZOO = {build.__name__: build for build in (*of_nnx.CASES, *of_linen.CASES, *of_functions.CASES)}


@pytest.fixture(autouse=True)
def ranks_as_users_have_them():
    with jax.numpy_rank_promotion("allow"):
        yield


def retrofitted(case, **options):
    return parametrise(case.model, *case.example, **case.kwargs, **options)


def call(retrofit, kwargs):
    """The changed model as a function of its trained variables and arguments, and these variables."""
    kwargs = dict(kwargs)
    if retrofit.model is None:
        return (lambda variables, *args: retrofit.apply(variables, *args, **kwargs)), retrofit.variables
    graphdef, params, rest = nnx.split(retrofit.model, nnx.Param, ...)
    return lambda params, *args: nnx.merge(graphdef, params, rest, copy=True)(*args, **kwargs), params


def own(tree):
    """The a and b in variables or their gradients, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name: x for path, x in leaves if "activations" in (name := jax.tree_util.keystr(path))}


def equal(got, expected, tolerance=0.0):
    """Asserts equal trees; the tolerance is relative to the largest number of an array."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(map(numbers, jax.tree.leaves(got)), map(numbers, jax.tree.leaves(expected)), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max(initial=0))


def numbers(x):
    x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return np.asarray(x, np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else np.asarray(x)


COMPILED = {"own_cell", "energy", "branches", "layers", "scanned", "stacked", "reader", "lstm"}
"""Cases with a loop or a jitted derivative: JAX compiles it as a whole, and a product with 1 more may round anew."""


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo(name):
    """Sites as counted, outputs bit for bit, other sizes, gradients in every a and b, and training."""
    case = ZOO[name]()
    retrofit = retrofitted(case)
    assert [change.function for change in retrofit.changed] == case.activations
    assert sum(left.times for left in retrofit.untouched if "gate" in left.why) == case.gates
    function, variables = call(retrofit, case.kwargs)
    exact = name not in COMPILED and jax.__version_info__ >= (0, 10)
    tolerance = 0.0 if exact else 1e-6
    equal(function(variables, *case.args), case.run(), tolerance)
    if case.batched:
        few = [x[:3] for x in case.args]
        equal(function(variables, *few), case.run(*few), tolerance)

    @jax.jit
    def step(variables):
        loss, gradient = jax.value_and_grad(lambda v: case.loss(function(v, *case.args)))(variables)
        rate = 0.01 / (1 + optax.tree.norm(gradient))
        return loss, gradient, jax.tree.map(lambda v, g: v - (rate * g).astype(v.dtype), variables, gradient)

    losses = []
    for _ in range(3):
        loss, gradient, variables = step(variables)
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < losses[0]
    gradients = own(gradient)
    assert len(gradients) == 2 * len(case.activations)
    for path, g in gradients.items():
        assert np.isfinite(g).all(), path
        assert g.any() or "relu6" in path, path  # in a branch that is not taken


@pytest.mark.parametrize("name", ["inline", "layers", "physics", "columns"])
def test_under_vmap_over_models(name):
    case = ZOO[name]()
    function, variables = call(retrofitted(case), case.kwargs)
    many = jax.tree.map(lambda v: jnp.stack([v, 0.9 * v + 0.1]), variables)
    got = jax.jit(jax.vmap(function, in_axes=(0, None)))(many, *case.args)
    for i in range(2):
        one = function(jax.tree.map(lambda v, i=i: v[i], many), *case.args)
        np.testing.assert_allclose(got[i], one, rtol=2e-4, atol=1e-5)


# ---- what the changed model computes once a and b have moved


def moved(variables, scale=0.3):
    """The same variables with other a and b."""
    number = iter(range(1000))

    def move(path, x):
        ours = "activations" in jax.tree_util.keystr(path)
        return x + scale * normal(next(number), *x.shape).astype(x.dtype) if ours else x

    return jax.tree_util.tree_map_with_path(move, variables)


def test_values_are_those_of_the_formula():
    case = of_functions.layers()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)
    relu, tanh, p, (x,) = (*variables["activations"].values(), variables["params"], case.args)
    h = relu["a"] * jax.nn.relu(x @ p["first"] - relu["b"])
    for i in range(4):
        y = h @ p["layers"]["w"][i] + p["layers"]["b"][i]
        h = h + 0.5 * tanh["a"][i] * jnp.tanh(y - tanh["b"][i])
    np.testing.assert_allclose(retrofit.apply(variables, x), h @ p["last"], rtol=1e-5, atol=1e-6)


def test_the_axis_of_nodes_is_found_where_the_weight_stands_on_the_left():
    case = of_functions.columns()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)
    first, second = variables["activations"].values()
    w, x = variables["params"], case.args[0].T
    h = first["a"][:, None] * jnp.sin(20 * (w[0] @ x - first["b"][:, None]))
    h = second["a"][:, None] * jnp.sin(20 * (w[1] @ h - second["b"][:, None]))
    np.testing.assert_allclose(retrofit.apply(variables, *case.args), (w[2] @ h).T, rtol=1e-4, atol=1e-5)


def test_derivatives_within_a_program_are_those_of_the_changed_function():
    case = of_functions.physics()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)

    def network(x):
        for (w, b), act in zip(variables["params"][:-1], variables["activations"].values(), strict=True):
            x = act["a"] * jnp.tanh(w @ x + b - act["b"])
        return (variables["params"][-1][0] @ x + variables["params"][-1][1])[0]

    def residual(x):
        return jax.grad(network)(x)[0] + network(x) - 0.1 * jax.hessian(network)(x)[1, 1]

    got = retrofit.apply(variables, *case.args)
    np.testing.assert_allclose(got, jax.vmap(residual)(*case.args), rtol=1e-4, atol=1e-5)
    by_hand = jax.grad(lambda x: jax.vmap(residual)(x).sum())(*case.args)
    ours = jax.grad(lambda x: retrofit.apply(variables, x).sum())(*case.args)
    np.testing.assert_allclose(ours, by_hand, rtol=1e-3, atol=1e-4)


def test_one_a_and_b_for_all_layers_of_a_scan():
    case = of_functions.layers()
    retrofit = retrofitted(case, per_layer=False)
    assert {k: v["a"].shape for k, v in retrofit.variables["activations"].items()} == {"relu": (6,), "tanh": (6,)}
    apart = retrofitted(case)
    shared = moved(retrofit.variables)
    same = shared["activations"] | {
        "tanh": jax.tree.map(lambda x: jnp.broadcast_to(x, (4, 6)), shared["activations"]["tanh"])
    }
    equal(retrofit.apply(shared, *case.args), apart.apply({**shared, "activations": same}, *case.args))


# ---- options


def test_starts():
    case = of_functions.written_out()
    steepest = retrofitted(case, start="steepest")
    a = {change.function: change.a for change in steepest.changed}
    expected = {"gelu": 1.5 / 1.128993, "softplus": 1.5, "leaky_relu": 1.5, "soft_sign": 1.5, "elu": 1.5}
    for name, value in expected.items():
        assert a[name] == pytest.approx(value, rel=1e-3)
    assert a["function of sin"] == 1
    assert "a starts at 1: its steepest slope depends on parameters" in str(steepest)
    given = retrofitted(case, start={"a": 2.0, "b": 0.5})
    assert all(
        float(p["a"].mean()) == 2 and float(p["b"].mean()) == 0.5 for p in given.variables["activations"].values()
    )


@pytest.mark.parametrize(
    ("sharing", "shapes"),
    [("node", [(6,), (5,)]), ("channel", [(6,), (5,)]), ("layer", [(), ()]), ("element", [(6, 6, 6), (6, 6, 5)])],
)
def test_sharing(sharing, shapes):
    case = of_nnx.classifier()
    retrofit = retrofitted(case, sharing=sharing)
    assert [change.features for change in retrofit.changed] == shapes
    equal(retrofit.model(*case.args), case.run())


def test_trainable():
    case = of_nnx.inline()
    only_a = retrofitted(case, trainable="a")
    assert {path.rsplit("['", 1)[-1][:1] for path in own(nnx.to_pure_dict(nnx.state(only_a.model)))} == {"a"}
    held = retrofitted(case, trainable=["b"], start={"a": 2.0})
    plain = retrofitted(case, start={"a": 2.0})
    equal(held.model(*case.args), plain.model(*case.args))


def test_only_and_except():
    case = of_linen.resnet()
    names = lambda **options: [change.name for change in retrofitted(case, **options).changed]  # noqa: E731
    assert names(only="Residual_1") == ["Residual_1.relu", "Residual_1.relu_1"]
    assert names(only="*.relu", except_=["Residual_0"]) == ["Residual_1.relu"]
    line = next(change.place for change in retrofitted(case).changed).split(", ")[1].split(" ")[0]
    assert names(only=line) == ["Residual_0.relu", "Residual_1.relu"]
    left = retrofitted(case, only="Residual_1").untouched
    assert sum(u.times for u in left if u.why == "not chosen by only and except_") == 2
    with pytest.raises(ValueError, match=r"expected patterns that match .*, got \['Rezidual'\]; there are Residual_0"):
        retrofitted(case, only=["Rezidual", "*"])


def test_gates_of_a_cell_when_asked_for():
    case = of_functions.own_cell()
    retrofit = retrofitted(case, gates=True)
    assert [change.function for change in retrofit.changed] == ["sigmoid", "tanh", "relu"]
    equal(retrofit.apply(retrofit.variables, *case.args), case.run(), 1e-6)


def test_functions_named_in_also():
    def f(params, x):
        return jnp.exp(-((x @ params) ** 4)) @ jnp.ones((3, 1))

    with pytest.raises(ValueError, match=r"found to change: none; seen: left: .*name your own in also=\(...\)"):
        parametrise(f, weight(0, 4, 3), normal(1, 5, 4))

    def bump(y):
        return jnp.exp(-(y**4))

    retrofit = parametrise(f, weight(0, 4, 3), normal(1, 5, 4), also=[bump])
    assert [(change.function, change.features) for change in retrofit.changed] == [("bump", (3,))]


def test_param_dtype():
    retrofit = retrofitted(of_nnx.attention(), param_dtype=jnp.bfloat16)
    assert retrofit.model.activations["silu"]["a"].dtype == jnp.bfloat16


# ---- nnx: state, transforms, optimisers, copies


def test_state_of_an_nnx_model_moves_on():
    model = of_nnx.Classifier(nnx.Rngs(4))
    retrofit = parametrise(model, normal(5, 8, 6, 6, 2))
    for _ in range(2):
        equal(
            retrofit.model(normal(6, 8, 6, 6, 2)), model(normal(6, 8, 6, 6, 2))
        )  # the same dropout, the same averages
    equal(nnx.state(retrofit.model.model), nnx.state(model))
    retrofit.model.eval()
    model.eval()
    equal(retrofit.model(normal(6, 2, 6, 6, 2)), model(normal(6, 2, 6, 6, 2)))


def test_training_with_an_nnx_optimiser():
    case = of_nnx.classifier()
    model = retrofitted(case).model
    optimiser = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser):
        loss, gradient = nnx.value_and_grad(lambda model: case.loss(model(*case.args)))(model)
        optimiser.update(model, gradient)
        return loss

    before = copy.deepcopy(model)
    losses = [float(step(model, optimiser)) for _ in range(4)]
    assert losses[3] < losses[0]
    for p in ("a", "b"):
        assert (model.activations["units.0.relu"][p][...] != before.activations["units.0.relu"][p][...]).any()
    equal(before(*case.args), case.run())


def test_copies_and_pickles():
    case = of_nnx.inline()
    model = retrofitted(case).model
    for other in (copy.deepcopy(model), nnx.clone(model), pickle.loads(pickle.dumps(model))):
        equal(other(*case.args), case.run())
    linen_case = of_linen.resnet()
    retrofit = retrofitted(linen_case)
    apply = pickle.loads(pickle.dumps(retrofit.apply))
    equal(apply(retrofit.variables, *linen_case.args, train=False), linen_case.run())


class Sowing(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 4, rngs=rngs)

    def __call__(self, x):
        y = nnx.relu(self.linear(x))
        self.sow(nnx.Intermediate, "hidden", y)
        return y


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_a_model_that_adds_variables_when_it_is_called():
    model, x = Sowing(nnx.Rngs(0)), normal(1, 5, 3)
    changed = parametrise(model, x).model
    equal(changed(x), model(x))
    equal(nnx.state(changed.model, nnx.Intermediate), nnx.state(model, nnx.Intermediate))


# ---- linen and functions


def test_linen_collections_that_a_call_changes():
    case = of_linen.resnet()
    options = {"train": True, "mutable": ["batch_stats"]}
    retrofit = parametrise(case.model, case.variables, *case.args, **options)
    equal(
        retrofit.apply(retrofit.variables, *case.args, **options),
        case.model.apply(case.variables, *case.args, **options),
    )
    assert set(retrofit.variables["params"]) == {*case.variables["params"], "activations"}


def test_a_call_that_reaches_other_activations():
    case = of_nnx.coder()
    model = parametrise(case.model, *case.args, method="encode", scale=1.0).model
    with pytest.raises(ValueError, match=r"expected a call that reaches the activations .* of_nnx"):
        model(*case.args)
    both = parametrise(case.model, *case.args).model
    equal(both(*case.args, method="encode", scale=0.5)["code"], case.run()["code"])


def test_params_of_any_kind_and_objects_as_functions():
    class Net:
        def __call__(self, params, x, *, power):
            return jax.nn.relu(x @ params["w"]) ** power / params["steps"]

    params = {"w": weight(0, 3, 4), "steps": np.int32(3), "none": None}
    for function in (Net(), Net().__call__, functools.partial(Net(), power=2)):
        options = {} if isinstance(function, functools.partial) else {"power": 2}
        retrofit = parametrise(function, params, np.ones((5, 3), np.float32), **options)
        equal(
            retrofit.apply(retrofit.variables, np.ones((5, 3), np.float32), **options),
            Net()(params, jnp.ones((5, 3)), power=2),
        )


def test_models_are_changed_within_a_trace_too():
    case = of_functions.layers()

    @jax.jit
    def f(variables, x):
        retrofit = parametrise(case.model, variables, x, start="steepest")
        return retrofit.apply(retrofit.variables, x)

    retrofit = retrofitted(case, start="steepest")
    np.testing.assert_allclose(f(case.variables, *case.args), retrofit.apply(retrofit.variables, *case.args), rtol=1e-5)


def test_settings_of_jax_are_not_mixed_up():
    case = of_functions.layers()
    retrofit = retrofitted(case)
    plain = retrofit.apply(retrofit.variables, *case.args)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), retrofit.variables)
        assert retrofit.apply(double, jnp.asarray(case.args[0], jnp.float64)).dtype == jnp.float64
    equal(retrofit.apply(retrofit.variables, *case.args), plain)


def test_changed_models_are_changed_no_further():
    case = of_nnx.inline()
    with pytest.raises(ValueError, match="trainable already"):
        parametrise(retrofitted(case).model, *case.args)
    layers = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), pa.nnx.Parametric("tanh", 3), nnx.relu)
    retrofit = parametrise(layers, jnp.ones((2, 4)))
    assert [change.function for change in retrofit.changed] == ["relu"]
    assert [(left.function, left.why) for left in retrofit.untouched] == [("tanh", "trainable already")]


# ---- the report, and what is refused


def test_the_report_names_everything():
    report = str(retrofitted(of_linen.generator()))
    assert "silu: silu at Generator, of_linen.py:" in report
    assert "input (8, 7), a and b of shape (7,)" in report
    assert "left: exp at Generator" in report
    assert "not known as an activation; if it is one here, name it in also=(...)" in report


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((of_nnx.Inline,), {}, TypeError, "expected an nnx module, a linen module or a function .* got Inline"),
        ((3,), {}, TypeError, "got int"),
        ((linen.Dense(3),), {}, TypeError, "expected the variables of the linen module after it.* got none"),
        ((lambda p: p,), {}, TypeError, "expected the params of the function after it, .* got none"),
        ((of_nnx.Inline(nnx.Rngs(0)),), {}, TypeError, "expected an example of what is called, parametrise.model, x.:"),
        (
            (jnp.tanh, jnp.ones(3)),
            {"sharing": "all"},
            ValueError,
            "expected sharing to be one of node, layer, .* 'all'",
        ),
        (
            (jnp.tanh, jnp.ones(3)),
            {"start": "flat"},
            ValueError,
            "expected start to be 'unchanged', 'steepest' or a dict",
        ),
        ((jnp.tanh, jnp.ones(3)), {"start": {"c": 1.0}}, ValueError, "expected start to be"),
        ((jnp.tanh, jnp.ones(3)), {"start": {"a": np.inf}}, ValueError, "expected finite start values"),
        (
            (jnp.tanh, jnp.ones(3)),
            {"trainable": ["c"]},
            ValueError,
            r"expected trainable to name some of a, b, got \['c'\]",
        ),
        ((jnp.tanh, jnp.ones(3)), {"param_dtype": int}, TypeError, "expected param_dtype to be a float dtype, got int"),
        ((jnp.tanh, jnp.ones(3)), {"also": ["tanh"]}, TypeError, "expected functions in also=.* got str"),
        ((jnp.tanh, jnp.ones(3)), {}, ValueError, "found to change: none; seen: left: tanh .* of parameters alone"),
    ],
)
def test_refusals(arguments, options, error, says):
    with pytest.raises(error, match=says):
        parametrise(*arguments, **options)


def test_variables_without_activations_are_refused():
    case = of_functions.layers()
    retrofit = retrofitted(case)
    with pytest.raises(ValueError, match=r"expected variables like those that parametrise returned, .*'params'"):
        retrofit.apply(case.variables, *case.args)
    wide = parametrise(lambda p, x: jax.nn.relu(x @ p), weight(40, 5, 4), *case.args)
    with pytest.raises(ValueError, match=r"relu: expected an input with features \(4,\), as in the example, got shape"):
        wide.apply({**wide.variables, "params": weight(40, 5, 6)}, *case.args)


# ---- what looked the same and was not


WRITTEN = {
    "where": lambda y: jnp.where(y > 0, y, 0.1 * y),
    "soft_sign": lambda y: y / (1 + jnp.abs(y)),
    "swish": lambda y: y * jax.nn.sigmoid(y),
    "softplus": lambda y: jnp.log1p(jnp.exp(y)),
}


@jax.custom_vjp
def own_tanh(y):
    return jnp.tanh(y)


own_tanh.defvjp(lambda y: (jnp.tanh(y), y), lambda y, g: (g * (1 - jnp.tanh(y) ** 2),))

CALLED = {name: jax.jit(f) for name, f in WRITTEN.items()} | {
    "gelu": jax.nn.gelu,
    "maximum": lambda y: jnp.maximum(y, 0),
    "logaddexp": lambda y: jnp.logaddexp(y, 0),
    "own_tanh": own_tanh,
    "scaled": lambda y: jnp.sin(3 * y),
}


def force(f):
    """A program that takes the derivative of a network with one hidden layer."""
    return lambda w, x: -jax.grad(lambda x: (f(x @ w["in"]) @ w["out"]).sum())(x)


W = {"in": weight(90, 3, 5), "out": weight(91, 5, 2)}


@pytest.mark.parametrize("name", CALLED)
def test_the_derivative_of_a_changed_function_is_its_own(name):
    f, x = CALLED[name], normal(92, 4, 3)
    retrofit = parametrise(force(f), W, x)
    assert len(retrofit.changed) == 1
    variables = moved(retrofit.variables)
    (own,) = variables["activations"].values()
    by_hand = force(lambda y: own["a"] * f(y - own["b"]))(W, x)
    np.testing.assert_allclose(retrofit.apply(variables, x), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_out_where_derivatives_are_taken_is_left(name):
    with pytest.raises(ValueError, match=r"put jax.jit around the function of y"):
        parametrise(force(WRITTEN[name]), W, normal(92, 4, 3))


def test_layers_of_different_width_in_a_program_that_takes_derivatives():
    def f(w, x):
        return jax.grad(lambda x: jnp.tanh(jnp.tanh(x @ w).sum(0)[:2]).sum())(x)

    retrofit = parametrise(f, weight(93, 3, 5), normal(92, 4, 3))
    assert [change.features for change in retrofit.changed] == [(5,), (2,)]
    equal(retrofit.apply(retrofit.variables, normal(92, 4, 3)), f(weight(93, 3, 5), normal(92, 4, 3)), 1e-6)


def test_numbers_among_the_params_and_arguments():
    def f(params, x, slope):
        y = jax.nn.relu(x @ params["w"])
        return jnp.where((z := y @ params["v"]) > 0, z, params["slope"] * z) * slope

    params = {"w": weight(94, 3, 4), "v": weight(95, 4, 2), "slope": 0.2}
    retrofit = parametrise(f, params, normal(92, 4, 3), 0.5)
    assert [change.function for change in retrofit.changed] == ["relu", "leaky_relu"]
    variables = moved(retrofit.variables)
    traced = jax.jit(retrofit.apply)(variables, normal(92, 4, 3), 0.5)
    np.testing.assert_allclose(traced, retrofit.apply(variables, normal(92, 4, 3), 0.5), rtol=1e-5)


def test_a_number_is_the_same_function_when_it_is_traced():
    def f(w, x, slope):
        return jnp.where((y := x @ w) > 0, y, slope * y)

    retrofit = parametrise(f, weight(94, 3, 4), normal(92, 4, 3), 0.2)
    variables = moved(retrofit.variables)
    traced = jax.jit(retrofit.apply)(variables, normal(92, 4, 3), 0.2)
    np.testing.assert_allclose(traced, retrofit.apply(variables, normal(92, 4, 3), 0.2), rtol=1e-5)


def test_a_flag_that_turns_one_function_into_another_is_noticed():
    def f(w, x, power):
        return (x @ w) ** power if power != 1 else jax.nn.relu(x @ w)

    retrofit = parametrise(f, weight(94, 3, 4), normal(92, 4, 3), 1)
    with pytest.raises(ValueError, match="reaches integer_pow at"):
        retrofit.apply(retrofit.variables, normal(92, 4, 3), 3)


class Dropping(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 8, rngs=rngs)

    def __call__(self, x, *, rngs):
        return nnx.Dropout(0.5, deterministic=False)(nnx.relu(self.linear(x)), rngs=rngs)


def test_a_random_stream_among_the_arguments_moves_on():
    model, x = Dropping(nnx.Rngs(0)), normal(92, 4, 3)
    changed = parametrise(model, x, rngs=nnx.Rngs(dropout=1)).model
    ours, plain = nnx.Rngs(dropout=2), nnx.Rngs(dropout=2)
    for _ in range(3):
        equal(changed(x, rngs=ours), model(x, rngs=plain))


def test_a_rule_of_its_own_is_not_taken_away():
    @jax.custom_vjp
    def solve(w, x):
        return jax.lax.while_loop(lambda y: y.sum() < 0, lambda y: jnp.tanh(y @ w) + x, x)

    solve.defvjp(lambda w, x: (solve(w, x), (w, x)), lambda held, g: (held[0] * 0 + g.sum(), g))

    def f(w, x):
        return jax.nn.relu(solve(w, x))

    retrofit = parametrise(f, weight(96, 3, 3), normal(92, 4, 3))
    assert [change.function for change in retrofit.changed] == ["relu"]
    assert [left.why for left in retrofit.untouched if left.function == "tanh"] == [
        "within a function with a derivative rule of its own, which would be lost"
    ]
    assert jax.grad(lambda v: retrofit.apply(v, normal(92, 4, 3)).sum())(retrofit.variables)["params"].any()


def helper(w, x):
    return jax.nn.relu(x @ w)


def test_a_helper_that_was_called_before():
    inner = jax.jit(helper)
    model = lambda w, x: jax.checkpoint(lambda x: inner(w, x))(x) + inner(w, 2 * x)  # noqa: E731
    w = weight(97, 3, 4)
    model(w, normal(92, 8, 3))
    retrofit = parametrise(model, w, normal(92, 8, 3))
    assert len(retrofit.changed) == 2
    equal(retrofit.apply(retrofit.variables, normal(92, 5, 3)), model(w, normal(92, 5, 3)), 1e-6)


def test_shapes_are_an_example_too():
    shape = jax.ShapeDtypeStruct((4, 3), jnp.float32)
    assert [c.features for c in parametrise(helper, weight(97, 3, 4), shape).changed] == [(4,)]


@pytest.mark.parametrize("name", ["classifier", "resnet", "layers"])
def test_labels_and_the_decay_mask_know_what_became_trainable(name):
    retrofit = retrofitted(ZOO[name]())
    tree = retrofit.model if retrofit.model is not None else retrofit.variables
    labels = pa.layers.parameter_labels(tree, separate=True)
    ours = own(nnx.to_pure_dict(labels) if retrofit.model is not None else labels)
    assert sorted(set(ours.values())) == ["a", "b"]
    assert len(ours) == 2 * len(retrofit.changed)
    mask = pa.layers.weight_decay_mask(tree)
    mask = nnx.to_pure_dict(mask) if retrofit.model is not None else mask
    assert not any(own(mask).values())
    assert sum(jax.tree.leaves(mask)) == len(jax.tree.leaves(mask)) - len(ours)
