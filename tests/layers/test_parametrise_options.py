"""parametrise: its options, its report, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from paramact_jax.layers import parametrise
from tests.layers.changed import equal, own, retrofitted
from tests.zoo import of_functions, of_linen, of_nnx
from tests.zoo.case import normal, weight

pytestmark = pytest.mark.usefixtures("ranks_as_users_have_them")


def test_starts():
    case = of_functions.written_out()
    steepest = retrofitted(case, start="steepest")
    a = {change.function: change.a for change in steepest.changed}
    expected = {"gelu": 1.5 / 1.128993, "softplus": 1.5, "leaky_relu": 1.5, "soft_sign": 1.5, "elu": 1.5}
    for name, value in expected.items():
        assert a[name] == pytest.approx(value, rel=1e-3)
    assert a["function of sin"] == 1
    assert "a starts at 1: its steepest slope depends on parameters" in str(steepest)
    critical = retrofitted(case, start="critical")
    a = {change.function: change.a for change in critical.changed}
    assert a["gelu"] == pytest.approx(2, rel=1e-6)
    assert a["elu"] == pytest.approx(1, rel=1e-6)
    assert a["softplus"] == 1
    assert "a starts at 1: no gain has a fixed point of the variance with chi = 1" in str(critical)
    assert "a starts at 1: the critical gain is known only for functions of the catalogue" in str(critical)
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
    assert ", a of shape (" in str(only_a)
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

    with pytest.raises(ValueError, match=r"got none; seen: left: .*name your own in also=\(...\)"):
        parametrise(f, weight(0, 4, 3), normal(1, 5, 4))

    def bump(y):
        return jnp.exp(-(y**4))

    retrofit = parametrise(f, weight(0, 4, 3), normal(1, 5, 4), also=[bump])
    assert [(change.function, change.features) for change in retrofit.changed] == [("bump", (3,))]


def test_param_dtype():
    retrofit = retrofitted(of_nnx.attention(), param_dtype=jnp.bfloat16)
    assert retrofit.model.activations["silu"]["a"].dtype == jnp.bfloat16


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
        ((linen.Dense(3),), {}, TypeError, "expected variables .* after a linen module, got none"),
        ((lambda p: p,), {}, TypeError, "expected params after a function, got none"),
        ((of_nnx.Inline(nnx.Rngs(0)),), {}, TypeError, "expected an example call, model, x, got no arguments:"),
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
            "expected start to be 'unchanged', 'steepest', 'critical' or a dict",
        ),
        ((jnp.tanh, jnp.ones(3)), {"start": {"c": 1.0}}, ValueError, "expected start to be"),
        ((jnp.tanh, jnp.ones(3)), {"start": {"a": np.inf}}, ValueError, "expected finite numbers as start values"),
        ((jnp.tanh, jnp.ones(3)), {"start": {"a": "x"}}, ValueError, "expected finite numbers as start values"),
        ((jnp.tanh, jnp.ones(3)), {"only": 3}, TypeError, "expected only to be a pattern or several, got 3"),
        ((jnp.tanh, jnp.ones(3)), {"also": 3}, TypeError, "expected functions in also=.* got int"),
        (
            (lambda p, x: {"z": jnp.tanh(p * x), "name": "net"}, jnp.ones(3), jnp.ones(3)),
            {},
            TypeError,
            r"expected a model that returns arrays, got str at \['name'\] of its result",
        ),
        (
            (jnp.tanh, jnp.ones(3)),
            {"trainable": ["c"]},
            ValueError,
            r"expected trainable to name some of a, b, got \['c'\]",
        ),
        ((jnp.tanh, jnp.ones(3)), {"param_dtype": int}, TypeError, "expected param_dtype to be a float dtype, got int"),
        ((jnp.tanh, jnp.ones(3)), {"also": ["tanh"]}, TypeError, "expected functions in also=.* got str"),
        ((jnp.tanh, jnp.ones(3)), {}, ValueError, "got none; seen: left: tanh .* of parameters alone"),
    ],
)
def test_refusals(arguments, options, error, says):
    with pytest.raises(error, match=says):
        parametrise(*arguments, **options)


def test_variables_without_activations_are_refused():
    case = of_functions.layers()
    retrofit = retrofitted(case)
    with pytest.raises(ValueError, match=r"expected the variables that parametrise returned, .*'params'"):
        retrofit.apply(case.variables, *case.args)
    wide = parametrise(lambda p, x: jax.nn.relu(x @ p), weight(40, 5, 4), *case.args)
    with pytest.raises(ValueError, match=r"relu: expected an input with features \(4,\), as in the example, got shape"):
        wide.apply({**wide.variables, "params": weight(40, 5, 6)}, *case.args)
