"""Networks written as plain functions of their params."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from tests.zoo.case import Case, mean_square, normal, to_ones, weight


def layers():
    """A scan over stacked layers after a first one that is written out."""

    def f(params, x):
        def layer(x, p):
            return x + 0.5 * jnp.tanh(x @ p["w"] + p["b"]), None

        x, _ = lax.scan(layer, jax.nn.relu(x @ params["first"]), params["layers"])
        return x @ params["last"]

    stack = {"w": jnp.stack([weight(i, 6, 6) for i in range(4)]), "b": jnp.zeros((4, 6))}
    variables = {"first": weight(40, 5, 6), "layers": stack, "last": weight(41, 6, 2)}
    return Case(model=f, variables=variables, args=(normal(42, 8, 5),), activations=["relu", "tanh"], loss=to_ones)


def own_cell():
    """A recurrent cell by hand."""

    def f(params, series):
        def step(h, x):
            update, candidate = jnp.split(jnp.concatenate([h, x], -1) @ params["w"], 2, axis=-1)
            z = jax.nn.sigmoid(update)
            h = (1 - z) * h + z * jnp.tanh(candidate)
            return h, h

        _, states = lax.scan(step, jnp.zeros((series.shape[0], 6)), jnp.swapaxes(series, 0, 1))
        return jax.nn.relu(states[-1] @ params["out"]) @ params["last"]

    variables = {"w": weight(43, 9, 12), "out": weight(44, 6, 5), "last": weight(45, 5, 1)}
    return Case(
        model=f,
        variables=variables,
        args=(normal(46, 8, 4, 3),),
        activations=["tanh", "relu"],
        gates=1,
        loss=to_ones,
    )


def graph():
    """Messages along edges: no batch, and integers among the inputs."""

    def f(params, nodes, senders, receivers):
        for p in params["rounds"]:
            messages = jax.nn.leaky_relu(nodes[senders] @ p["message"], 0.1)
            nodes = jnp.tanh(jax.ops.segment_sum(messages, receivers, nodes.shape[0]) @ p["update"])
        return nodes.mean(0) @ params["out"]

    rounds = [{"message": weight(47 + i, 4, 5), "update": weight(49 + i, 5, 4)} for i in range(2)]
    senders = jnp.arange(12) % 6
    return Case(
        model=f,
        variables={"rounds": rounds, "out": weight(51, 4, 2)},
        args=(normal(52, 6, 4), senders, (2 * senders + 1) % 6),
        activations=["leaky_relu", "tanh"] * 2,
        loss=to_ones,
        batched=False,
    )


def physics():
    """A network and its derivatives of first and second order: one activation a layer, in all of them."""

    def network(params, x):
        for w, b in params[:-1]:
            x = jnp.tanh(w @ x + b)
        return (params[-1][0] @ x + params[-1][1])[0]

    def f(params, points):
        def residual(point):
            u = functools.partial(network, params)
            return jax.grad(u)(point)[0] + u(point) - 0.1 * jax.hessian(u)(point)[1, 1]

        return jax.vmap(residual)(points)

    sizes = [(7, 2), (6, 7), (1, 6)]
    variables = [(weight(53 + i, m, n).T.reshape(n, m), jnp.zeros(n)) for i, (n, m) in enumerate(sizes)]
    return Case(model=f, variables=variables, args=(normal(56, 8, 2),), activations=["tanh", "tanh"], loss=mean_square)


def energy():
    """The force of a learned energy: the gradient of a network is the result."""

    def f(params, x):
        def energy(x):
            return (jax.nn.softplus(jax.nn.silu(x @ params["a"]) @ params["b"])).sum()

        return -jax.grad(energy)(x)

    variables = {"a": weight(57, 4, 6), "b": weight(58, 6, 5)}
    return Case(model=f, variables=variables, args=(normal(59, 8, 4),), activations=["silu", "softplus"], loss=to_ones)


def columns():
    """The weight on the left, one sample a column; a sine with its frequency."""

    def f(params, x):
        for w in params[:-1]:
            x = jnp.sin(20 * (w @ x))
        return params[-1] @ x

    variables = [normal(60, 7, 2) / 20, normal(61, 6, 7) / 40, normal(62, 1, 6)]
    model = jax.vmap(f, in_axes=(None, 0))
    return Case(model=model, variables=variables, args=(normal(63, 8, 2),), activations=["sin", "sin"], loss=to_ones)


def images():
    """Convolutions with the channels in front."""

    def f(params, x):
        x = jax.nn.selu(lax.conv(x, params["kernel"], (1, 1), "SAME"))
        return jax.nn.log_sigmoid(jnp.einsum("bchw,cd->bd", x, params["out"]))

    variables = {"kernel": normal(64, 5, 2, 3, 3) / 4, "out": weight(65, 5, 3)}
    return Case(
        model=f,
        variables=variables,
        args=(normal(66, 8, 2, 4, 4),),
        activations=["selu", "log_sigmoid"],
        loss=to_ones,
    )


@jax.custom_jvp
def own_rule(y):
    return jnp.where(y > 0, y, jnp.exp(jnp.minimum(y, 0)) - 1)


own_rule.defjvp(lambda p, t: (own_rule(*p), t[0] * jnp.where(p[0] > 0, 1.0, jnp.exp(jnp.minimum(p[0], 0)))))


def written_out():
    """Activations that are written out: GELU, softplus, softsign, snake, a leaky one, one with a rule of its own."""

    def own_gelu(y):
        return 0.5 * y * (1 + jnp.tanh((2 / jnp.pi) ** 0.5 * (y + 0.044715 * y**3)))

    def snake(y, alpha):
        return y + jnp.sin(alpha * y) ** 2 / alpha

    def f(params, x):
        ws, alpha = params
        x = own_gelu(x @ ws[0])
        x = jnp.log(1 + jnp.exp(x @ ws[1]))
        x = snake(x @ ws[2], alpha)
        x = jnp.where((y := x @ ws[3]) > 0, y, 0.3 * y)
        y = x @ ws[4]
        x = y / (1 + jnp.abs(y))
        return own_rule(x @ ws[5]) @ ws[6]

    ws = [
        weight(70 + i, n, m) for i, (n, m) in enumerate(zip([4, 9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4, 2], strict=True))
    ]
    names = ["gelu", "softplus", "function of sin", "leaky_relu", "soft_sign", "elu"]
    return Case(model=f, variables=(ws, jnp.full(7, 1.5)), args=(normal(77, 8, 4),), activations=names, loss=to_ones)


def branches():
    """Branches and a loop, each with an activation."""

    def f(params, x):
        x = lax.cond(x.sum() > 1e6, lambda x: jax.nn.relu6(x @ params["a"]), lambda x: jnp.cos(x @ params["a"]), x)
        return lax.fori_loop(0, 3, lambda i, x: jnp.tanh(x @ params["b"]), x) @ params["c"]

    variables = {"a": weight(78, 4, 6), "b": weight(79, 6, 6), "c": weight(80, 6, 2)}
    return Case(
        model=f, variables=variables, args=(normal(81, 8, 4),), activations=["cos", "relu6", "tanh"], loss=to_ones
    )


CASES = [layers, own_cell, graph, physics, energy, columns, images, written_out, branches]
