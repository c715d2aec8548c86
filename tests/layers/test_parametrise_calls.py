"""parametrise: modules with state, collections, transformations and copies."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax.experimental.jet import jet

import paramact_jax as pa
from paramact_jax.gradients import attribute
from paramact_jax.layers import parametrise
from tests.layers.changed import equal, retrofitted
from tests.zoo import of_functions, of_linen, of_nnx
from tests.zoo.case import normal, weight

pytestmark = pytest.mark.usefixtures("ranks_as_users_have_them")


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


class TwoStreams(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.dropout = nnx.Linear(3, 4, rngs=rngs), nnx.Dropout(0.5)

    def __call__(self, x, first, second):
        return self.dropout(self.dropout(nnx.relu(self.linear(x)), rngs=first), rngs=second)


def test_one_object_as_two_arguments_is_still_one():
    model, x = TwoStreams(nnx.Rngs(0)), normal(1, 5, 3)
    ours, theirs = nnx.Rngs(dropout=1), nnx.Rngs(dropout=1)
    changed = parametrise(model, x, ours, ours).model
    equal(changed(x, ours, second=ours), model(x, theirs, second=theirs))
    equal(nnx.state(ours), nnx.state(theirs))
    others = [nnx.Rngs(dropout=seed) for seed in (1, 2)]
    equal(changed(x, *others), model(x, *(nnx.Rngs(dropout=seed) for seed in (1, 2))))


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


def test_a_changed_sequential_can_be_attributed_as_it_was_before():
    rngs, x = nnx.Rngs(0), jnp.ones((2, 4))
    net = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), jax.nn.relu, nnx.Linear(8, 1, rngs=rngs))
    found, before = (
        attribute(model, x, loss=lambda outputs: (outputs**2).mean()).by_kind()
        for model in (parametrise(net, x).model, net)
    )
    assert {str(kind): pytest.approx(float(share), abs=1e-6) for kind, share in before.items()} == {
        str(kind): float(share) for kind, share in found.items()
    }
    assert net.layers[1] is jax.nn.relu


def test_a_call_that_reaches_other_activations():
    case = of_nnx.coder()
    model = parametrise(case.model, *case.args, method="encode", scale=1.0).model
    with pytest.raises(ValueError, match=r"expected a call that reaches only activations of the example, .* of_nnx"):
        model(*case.args)
    both = parametrise(case.model, *case.args).model
    equal(both(*case.args, method="encode", scale=0.5)["code"], case.run()["code"])


def in_turn(layers, x):
    for layer in layers:
        x = nnx.tanh(layer(x))
    return x


class OfOneHelper(nnx.Module):
    """Its encoder and its decoder apply tanh at one line; `encode` and `decode` reach one of them."""

    def __init__(self, rngs):
        self.first, self.second = (nnx.List([nnx.Linear(4, 4, rngs=rngs)]) for _ in range(2))

    def encode(self, x):
        return in_turn(self.first, x)

    def decode(self, z):
        return in_turn(self.second, z)

    def __call__(self, x, skip=()):
        for number, part in enumerate((self.first, self.second)):
            if number not in skip:
                x = in_turn(part, x)
        return x


class OfOneHelperInLinen(linen.Module):
    def setup(self):
        self.first, self.second = [linen.Dense(4)], [linen.Dense(4)]

    def run(self, layers, x):
        return in_turn(layers, x)

    def decode(self, z):
        return self.run(self.second, z)

    def __call__(self, x):
        return self.decode(self.run(self.first, x))


def with_a(tree, numbers):
    """The variables with these numbers as the a of one activation after the other."""
    number = iter(numbers)
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.full_like(x, next(number)) if jax.tree_util.keystr(path).endswith("['a']") else x, tree
    )


def test_activations_of_one_line_are_told_by_their_parameters_whatever_the_call_reaches():
    x = normal(1, 3, 4)
    model = OfOneHelper(nnx.Rngs(0))
    for example in ("__call__", "decode"):
        changed = parametrise(model, x, method=example).model
        names = ["tanh", "tanh_1"] if example == "__call__" else ["tanh"]
        for name, a in zip(reversed(names), (7.0, 5.0), strict=False):
            changed.activations[name]["a"][...] = jnp.full(4, a)
        equal(changed(x, method="decode"), 7 * model.decode(x), 1e-6)
        if example == "__call__":
            equal(changed(x, method="encode"), 5 * model.encode(x), 1e-6)
            equal(changed(x, skip=(0,)), 7 * model.decode(x), 1e-6)
            equal(changed(5 * model.encode(x), skip=(0,)), changed(x), 1e-6)
        else:
            with pytest.raises(ValueError, match="expected a call that reaches only activations of the example"):
                changed(x, method="encode")
    module = OfOneHelperInLinen()
    variables = module.init(jax.random.key(0), x)
    retrofit = parametrise(module, variables, x)
    moved = {**retrofit.variables, "params": with_a(retrofit.variables["params"], (7.0, 5.0))}
    named = {name: float(own["a"][0]) for name, own in moved["params"]["activations"].items()}
    last = named[retrofit.changed[1].name]
    equal(retrofit.apply(moved, x, method="decode"), last * module.apply(variables, x, method="decode"), 1e-6)


def adapted(p, x, *, bias=True, adapter=True, skip=()):
    for number in range(3):
        if number not in skip:
            own = p[number]
            y = x @ own["w"] + (x @ own["u"] @ own["v"] if adapter else 0)
            x = jnp.tanh(y + own["b"] if bias else y)
    return x


@pytest.mark.parametrize("flags", [{}, {"bias": False}, {"adapter": False}, {"bias": False, "adapter": False}])
def test_flags_that_change_the_parameters_before_an_activation(flags):
    sizes = {"w": (4, 4), "u": (4, 2), "v": (2, 4), "b": (4,)}
    params = [{name: normal(7 * n + i, *size) for i, (name, size) in enumerate(sizes.items())} for n in range(3)]
    x = normal(50, 3, 4)
    retrofit = parametrise(adapted, params, x, **flags)
    moved = {**retrofit.variables, "activations": with_a(retrofit.variables["activations"], (2.0, 3.0, 5.0))}
    for others in ({}, {"bias": False}, {"adapter": False}, {"bias": False, "adapter": False}):
        own = [{**p, "b": p["b"] * others.get("bias", True)} for p in params]
        expected = x
        for p, a in zip(own, (2.0, 3.0, 5.0), strict=True):
            expected = a * adapted([p], expected, **others, skip=(1, 2))
        equal(retrofit.apply(moved, x, **others), expected, 1e-5)
    short = parametrise(adapted, params, x, skip=(2,), **flags)
    with pytest.raises(ValueError, match="which is none of them or one of several"):
        short.apply(short.variables, x, skip=(1,), **flags)


class Physical(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(2, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)
        self.out = nnx.Linear(5, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.gelu(self.second(nnx.tanh(self.first(x)))))

    def laplacian(self, x):
        return jax.vmap(lambda p: jnp.trace(jax.hessian(lambda p: self(p)[0])(p)))(x)

    def taylor(self, x):
        """The value and two derivatives along (1, 1), by Taylor series."""
        return jet(self, (x,), ((jnp.ones_like(x), jnp.zeros_like(x)),))


def test_a_network_and_its_derivatives_share_activations_whichever_was_the_example():
    x = normal(1, 3, 2)
    calls = ("__call__", "laplacian", "taylor")
    changed = [parametrise(Physical(nnx.Rngs(0)), x, method=example).model for example in calls]
    for model in changed:
        for name in model.activations:
            model.activations[name]["a"][...] = jnp.full(5, 2.0 if name == "tanh" else 3.0)
            model.activations[name]["b"][...] = jnp.full(5, 0.3)
    for method in calls:
        first, *others = (model(x, method=method) for model in changed)
        for other in others:
            equal(other, first, 1e-6)
    line = lambda t: changed[0](x + t)  # noqa: E731
    value, (slope, curvature) = changed[2](x, method="taylor")
    equal((value, slope), (line(0.0), jax.jacfwd(line)(0.0)), 1e-5)
    equal(curvature, jax.jacfwd(jax.jacfwd(line))(0.0), 1e-5)
    by_hand = jax.vmap(lambda p: jnp.trace(jax.hessian(lambda p: changed[0](p[None])[0, 0])(p)))(x)
    equal(changed[1](x, method="laplacian"), by_hand, 1e-5)


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
