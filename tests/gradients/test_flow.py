"""Branches, loops and points: what each has to do with the change of a gradient's norm."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.experimental.ode import odeint

from paramact_jax.gradients import Kind, attribute
from tests.zoo.case import normal, to_ones, weight

pytestmark = pytest.mark.usefixtures("unoptimised")

X = normal(0, 6, 8)
KERNELS = jnp.stack([weight(i, 8, 8) for i in range(4)])


def compiled(f, *args, **options):
    """Attributes in one compiled call."""
    return jax.jit(lambda args: attribute(f, *args, **options))(args)


@jax.jit
def by_kind(found):
    return found.by_kind()


def shares(found):
    return {kind: float(share) for kind, share in by_kind(found).items() if abs(share) > 1e-6}


@jax.jit
def sums(found):
    """Adds up the shares: of all kinds, of all places, and between the points that all paths pass."""
    segments = range(sum(point.on_all_paths for point in found.points) - 1)
    return [sum(of.values()) for of in (found.by_kind(), found.by_place(), *map(found.by_kind, segments))]


def assert_adds_up(found, found_sums=None, atol=2e-6):
    of_kinds, of_places, *of_segments = found_sums or sums(found)
    total = found.log_norm[0] - found.log_norm[-1]
    np.testing.assert_allclose([of_kinds, of_places], [total, total], atol=atol)
    norms = np.asarray(found.log_norm)[[point.on_all_paths for point in found.points]]
    np.testing.assert_allclose(of_segments, norms[:-1] - norms[1:], atol=atol)


@pytest.mark.parametrize("c", [0.5, -0.9, 1e-20, pytest.param(1e3, marks=pytest.mark.slow)])
def test_a_skip_and_a_branch_by_hand(c):
    """y = x + c x: the branch has the part c^2 / (1 + c^2) of what comes together at x."""
    found = compiled(lambda p, x: x + c * x, (), X, loss=jnp.sum)
    part = c**2 / (1 + c**2)
    assert found.total == pytest.approx(np.log(1 + c), abs=1e-6)
    of_kinds = by_kind(found)
    assert of_kinds[Kind.SCALE] == pytest.approx(part * np.log(abs(c)), rel=1e-5, abs=1e-12)
    assert of_kinds[Kind.RESIDUAL] == pytest.approx(np.log(1 + c) - part * np.log(abs(c)), rel=1e-4, abs=1e-6)
    assert [branch.name.split(": ")[-1] for branch in found.branches] == ["mul", "skip"]
    np.testing.assert_allclose(found.branch_part, [part, 1 - part], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.branch_change, [np.log(abs(c)), 0], rtol=1e-5, atol=1e-6)


def test_branches_that_cancel_are_the_sums_doing():
    found = by_kind(compiled(lambda p, x: x @ p - (1 - 1e-3) * (x @ p), KERNELS[0], X, loss=jnp.sum))
    assert found[Kind.RESIDUAL] == pytest.approx(np.log(1e-3), abs=0.8)
    assert abs(found[Kind.SCALE]) < 1e-2


def test_independent_branches_may_be_written_in_any_order():
    def one(p, x):
        left = jnp.tanh(x @ p[0]) @ p[1]
        right = jax.nn.relu(x @ p[2]) @ p[3]
        return jnp.concatenate([left + x, right], axis=1)

    def other(p, x):
        hidden, wide = x @ p[2], x @ p[0]
        wide = jnp.tanh(wide)
        right = jax.nn.relu(hidden) @ p[3]
        return jnp.concatenate([x + wide @ p[1], right], axis=1)

    first, second = (compiled(f, KERNELS, X, loss=to_ones) for f in (one, other))
    chex.assert_trees_all_close(shares(first), shares(second), atol=1e-6)
    assert_adds_up(first)
    assert sum(first.branch_part) == pytest.approx(1)


def block(x, w):
    return x + jnp.tanh(x @ w)


def unrolled(kernels, x):
    for w in kernels:
        x = block(x, w)
    return x


def scanned(kernels, x):
    return lax.scan(lambda x, w: (block(x, w), None), x, kernels)[0]


def test_layers_in_a_scan_have_rows_and_points_as_those_of_a_loop():
    expected = compiled(unrolled, list(KERNELS), X, loss=to_ones)
    found = compiled(scanned, KERNELS, X, loss=to_ones)
    chex.assert_trees_all_close(shares(found), shares(expected), atol=1e-6)
    np.testing.assert_allclose(found.log_norm, expected.log_norm, atol=1e-6)
    np.testing.assert_allclose(found.branch_part, expected.branch_part, atol=1e-6)
    assert [point.step for point in found.points] == [(), (0,), (1,), (2,), (3,)]
    assert [operation.step for operation in found.operations if operation.kind is Kind.ACTIVATION] == [
        (0,), (1,), (2,), (3,)
    ]  # fmt: skip
    again = compiled(jax.checkpoint(scanned), KERNELS, X, loss=to_ones)
    chex.assert_trees_all_close(shares(again), shares(expected), atol=1e-6)
    nested = compiled(
        lambda k, x: lax.scan(lambda x, k: (scanned(k, x), None), x, k)[0], KERNELS[None], X, loss=to_ones
    )
    np.testing.assert_allclose(nested.log_norm, expected.log_norm, atol=1e-6)
    assert nested.points[2].step == (0, 1)


@pytest.mark.parametrize("reverse", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_recurrent_network_is_split_as_if_it_were_written_out(reverse):
    series = normal(3, 5, 6, 8)

    def cell(p, h, x):
        return jnp.tanh(h @ p[0] + x @ p[1])

    def by_scan(p, series):
        h, out = lax.scan(lambda h, x: (cell(p, h, x),) * 2, jnp.zeros((6, 8)), series, reverse=reverse)
        return out + h[None]

    def by_hand(p, series):
        h, out = jnp.zeros((6, 8)), []
        for x in series[::-1] if reverse else series:
            h = cell(p, h, x)
            out.append(h)
        return jnp.stack(out[::-1] if reverse else out) + h[None]

    params = 0.1 * KERNELS
    found, expected = (compiled(f, params, series, loss=to_ones) for f in (by_scan, by_hand))
    assert_adds_up(found)
    np.testing.assert_allclose(found.total, expected.total, atol=1e-6)
    np.testing.assert_allclose(found.gradient_log_norm, expected.gradient_log_norm, atol=1e-5)
    for kind in (Kind.LINEAR, Kind.ACTIVATION):
        np.testing.assert_allclose(by_kind(found)[kind], by_kind(expected)[kind], atol=1e-5)
    states = [i for i, point in enumerate(found.points) if not point.on_all_paths]
    assert [found.points[i].step for i in states] == [(t,) for t in (range(4, -1, -1) if reverse else range(5))]
    assert np.isfinite(found.log_norm)[states].all()


def test_a_gradient_of_a_thousand_steps_keeps_its_norm():
    x = normal(4, 3, 8)

    def run(w, x):
        return lax.scan(lambda h, _: (0.1 * jnp.tanh(h @ w), None), x, None, length=1000)[0]

    found = jax.jit(lambda w: attribute(run, w, x, loss=jnp.sum))(KERNELS[0])
    assert float(found.total) < -2000
    assert np.isfinite(found.share).all()
    of_kinds = by_kind(found)
    np.testing.assert_allclose(sum(of_kinds.values()), found.total, rtol=1e-5)
    assert of_kinds[Kind.SCALE] == pytest.approx(1000 * np.log(0.1), rel=1e-5)
    assert int(found.first_zero) == int(found.first_non_finite) == -1


def test_two_inputs_and_two_outputs():
    def f(p, x, y):
        return {"a": jnp.tanh(x @ p[0]), "b": (y @ p[1], jnp.arange(3)), "c": x @ p[2]}

    def loss(out):
        return out["a"].sum() + (out["b"][0] ** 2).sum()

    y = normal(1, 4, 8)
    found = compiled(f, KERNELS, X, y, loss=loss)
    by_x, by_y = jax.jit(jax.grad(lambda x, y: loss(f(KERNELS, x, y)), argnums=(0, 1)))(X, y)
    by_a, by_b = np.ones((6, 8)), 2 * np.asarray(y) @ np.asarray(KERNELS[1])
    expected = [0.5 * np.log(sum(float((g**2).sum()) for g in pair)) for pair in ((by_x, by_y), (by_a, by_b))]
    np.testing.assert_allclose(found.log_norm, expected, rtol=1e-6)
    assert [point.name for point in found.points] == ["inputs", "outputs"]
    assert_adds_up(found)


def test_a_while_loop_beside_the_way_is_no_obstacle():
    def f(p, x, n):
        steps = lax.while_loop(lambda i: i < n, lambda i: i + 2, 0)
        return (x + steps) @ p[0]

    assert_adds_up(compiled(f, KERNELS, X, jnp.array(3), loss=to_ones))


class Tokens(nnx.Module):
    def __init__(self, rngs):
        self.embed, self.block = nnx.Embed(11, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, tokens, *, scale=1.0, flip=False):
        z = self.embed(tokens)
        z = z + nnx.relu(self.block(z))
        return self.embed.attend(z[:, ::-1] if flip else z) * scale

    def twice(self, tokens):
        return 2 * self(tokens)


def test_token_ids_end_at_the_embeddings():
    model, tokens = Tokens(nnx.Rngs(0)), jnp.arange(12).reshape(2, 6) % 11
    found = attribute(model, tokens, loss=to_ones, method="twice")
    table = model.embed.embedding[...]

    def after(z):
        z = z + nnx.relu(model.block(z))
        return to_ones(2 * z @ table.T)

    embedded = table[tokens]
    assert found.log_norm[0] == pytest.approx(np.log(np.linalg.norm(jax.jit(jax.grad(after))(embedded))), abs=1e-5)
    assert found.points[0].name == "embed gather"
    assert_adds_up(found)
    flipped = attribute(model, tokens, loss=to_ones, scale=2.0, flip=True)
    assert_adds_up(flipped)
    by_table = nnx.jit(nnx.grad(lambda model: to_ones(model.twice(tokens))))(model)["embed"]["embedding"][...]
    at = found.parameters.index("embed.embedding")
    assert found.gradient_log_norm[at] == pytest.approx(np.log(np.linalg.norm(by_table)), abs=1e-5)
    ratio = np.linalg.norm(by_table) / np.linalg.norm(table)
    assert found.ratio[at] == pytest.approx(np.log(ratio), abs=1e-5)


def test_tokens_that_are_embedded_within_a_scan():
    table, tokens = normal(5, 11, 8), jnp.arange(5)

    def f(p, tokens):
        return lax.scan(lambda h, t: (jnp.tanh(h @ p["w"] + p["table"][t]), None), jnp.zeros(8), tokens)[0]

    found = compiled(f, {"w": KERNELS[0], "table": table}, tokens, loss=jnp.sum)
    rows = jax.jit(
        jax.grad(lambda rows: lax.scan(lambda h, x: (jnp.tanh(h @ KERNELS[0] + x), None), jnp.zeros(8), rows)[0].sum())
    )
    expected = np.log(np.linalg.norm(rows(np.asarray(table)[tokens])))
    assert found.log_norm[0] == pytest.approx(expected, abs=1e-5)
    assert_adds_up(found)


def test_the_first_that_makes_a_zero_a_nan_or_an_infinity_is_named():
    def f(p, x):
        y = jax.nn.relu(x @ p[0] - 100)
        return (y @ p[1]) @ p[2]

    found = attribute(f, KERNELS, X, loss=to_ones)
    dead = found.operations[int(found.first_zero)]
    assert (dead.kind, dead.function) == (Kind.ACTIVATION, "relu")
    assert float(found.units.dead[0]) == 1
    assert "makes a gradient exactly 0: relu (activation)" in str(found)
    steep = attribute(lambda p, x: jnp.sqrt(jnp.abs(x - x)).sum() + (x @ p[0]).sum(), KERNELS, X)
    assert "not finite" in str(steep)
    assert steep.operations[int(steep.first_non_finite)].function == "sqrt"
    broken = attribute(lambda p, x: jnp.log(x @ p[0]) @ p[1], KERNELS, X, loss=jnp.sum)
    assert broken.operations[int(broken.first_nan)].function == "log"
    assert int(found.first_nan) == int(found.first_non_finite) == int(broken.first_non_finite) == -1
    assert int(steep.non_finite[0]) == X.size


def test_trials_and_settings_are_vmapped_together():
    def one(scale):
        found = attribute(scanned, scale * KERNELS, X, loss=to_ones)
        return found, found.by_kind()

    scales = np.array([0.5, 1.0, 2.0], np.float32)
    found, of_kinds = jax.jit(jax.vmap(one))(scales)
    together, one = jax.tree.map(np.asarray, (found, of_kinds)), jax.jit(one)
    for i, scale in enumerate(scales):
        alone = one(scale)
        picked = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(picked, alone, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(found.by_kind(), of_kinds, rtol=1e-4, atol=1e-5)
    assert "of (3,) networks" in str(found)
    assert found.decay.log_norm.shape == (3, 0)


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, gradient: (jnp.clip(gradient, -0.01, 0.01),))


def printing(p, x):
    jax.debug.print("{}", x.sum())
    return jnp.tanh(x @ p)


def counted(p, x):
    end = lax.while_loop(lambda state: state[1] < 3, lambda state: (2 * state[0], state[1] + 1), (1.0, 0))
    return jnp.tanh(x @ p) * end[0]


@pytest.mark.parametrize(
    ("f", "loss"),
    [
        pytest.param(lambda p, x: clipped(x @ p), to_ones, id="a rule that is not linear"),
        pytest.param(lambda p, x: jnp.abs((x + 0j) @ (p + 1j * p.T)), to_ones, id="complex numbers"),
        pytest.param(lambda p, x: (h := x @ p) * jnp.where(h > 0, 1.0, p[0, 0]), to_ones, id="a learned slope"),
        pytest.param(lambda p, x: jnp.tanh(x @ p) + lax.stop_gradient(x) @ p, to_ones, id="a stopped gradient"),
        pytest.param(lambda p, x: (x @ p, p.sum()), lambda out: (out[0] * out[1]).sum(), id="a result of params"),
        pytest.param(printing, to_ones, id="a debug print"),
        pytest.param(lambda p, x: jnp.tanh(x @ p[:, :1] - p[:1]), to_ones, id="a shift that repeats"),
        pytest.param(lambda p, x: odeint(lambda y, t: jnp.tanh(y @ p), x, jnp.arange(2.0))[-1], to_ones, id="a solver"),
        pytest.param(lambda p, x: sum(lax.optimization_barrier((x @ p, x))), to_ones, id="a barrier"),
        pytest.param(
            lambda p, x: lax.scan(lambda c, _: (c @ p, None), x, None, length=0)[0] @ p, to_ones, id="no step"
        ),
        pytest.param(counted, to_ones, id="a while loop beside the way"),
    ],
)
def test_what_other_people_write_is_as_jaxs_gradient_has_it(f, loss):
    @jax.jit
    def run(p, x):
        found = attribute(f, p, x, loss=loss)
        return found, sums(found), jax.grad(lambda p, x: loss(f(p, x)), argnums=(0, 1))(p, x)

    found, found_sums, (by_params, by_x) = run(KERNELS[0], X)
    assert found.log_norm[0] == pytest.approx(np.log(np.linalg.norm(by_x)), abs=2e-5)
    assert found.gradient_log_norm[0] == pytest.approx(np.log(np.linalg.norm(by_params)), abs=2e-5)
    assert_adds_up(found, found_sums)


def test_what_has_no_derivative_is_refused_with_its_place():
    def loop(p, x):
        return lax.while_loop(lambda x: x.sum() < 9, lambda x: x + jnp.abs(x), x) @ p[0]

    def host(p, x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x @ p[0])

    with pytest.raises(ValueError, match=r"no reverse mode; use jax.lax.scan.*test_flow.py:\d+ in .*loop") as error:
        attribute(loop, KERNELS, X, loss=jnp.sum)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"call of the host without a derivative.*test_flow.py:\d+ in .*host"):
        attribute(host, KERNELS, X, loss=jnp.sum)


@pytest.mark.parametrize(
    ("arguments", "loss", "error", "message"),
    [
        ((lambda p, x: x @ p, KERNELS[0], X), None, TypeError, r"expected a loss, as the model returns no scalar, got"),
        ((lambda p, x: x @ p, KERNELS[0], X), lambda y: y, TypeError, r"one float number, got float32\[6, 8\]"),
        (
            (lambda p, x: x @ p, KERNELS[0], X),
            lambda y: 1.0,
            ValueError,
            "depends on an argument that is an array of a float dtype",
        ),
        ((lambda p: p.sum(), KERNELS[0]), None, ValueError, "depends on an argument that is an array of a float dtype"),
        ((lambda p, x: x.sum(), KERNELS[0]), None, TypeError, "expected an example call, f, params, x"),
        ((3, X), jnp.sum, TypeError, "expected an nnx module, a linen module or a function .*, got int"),
        ((nnx.Linear(8, 8, rngs=nnx.Rngs(0)),), jnp.sum, TypeError, "expected an example call, model, x"),
    ],
    ids=["no loss", "no scalar", "constant loss", "no input", "no argument", "no model", "no x"],
)
def test_bad_input_is_refused_in_one_line(arguments, loss, error, message):
    with pytest.raises(error, match=message) as raised:
        attribute(*arguments, loss=loss)
    assert "\n" not in str(raised.value)
