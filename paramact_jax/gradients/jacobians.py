"""The factors of the chain rule through a network, and their products [P, eq. 6, 13-17].

Notation of [P]: layer l computes y^(l) = W^(l) z^(l) + w0^(l) from its input z^(l), l = 1 .. K+1, and hidden layers
compute z^(l+1) = f(y^(l)). So y are pre-activations, and z are activations, the outputs of a layer; z^(1) is the input
of the network. W is the transpose of Flax's kernel. The factors of the chain rule are dy^(m)/dz^(m) = W^(m) (type 1,
the linear part) and dz^(m)/dy^(m-1) = diag(f'(y^(m-1))) (type 2, the activation).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx

from paramact_jax.activations import Activation, catalogue
from paramact_jax.activations.precision import float32_products
from paramact_jax.gradients.elementwise import Dependence, dependences
from paramact_jax.gradients.layers import Layer, find_layers
from paramact_jax.layers.nnx import Parametric
from paramact_jax.programs.recognition import Known, Records, recognise
from paramact_jax.programs.steps import FlatProgram, between, run_steps, trace_flat

Model = nnx.Module | linen.Module
Partials = dict[str, jax.Array]


class LayerJacobians(NamedTuple):
    """The factors of the chain rule at every sample; entry l - 1 of each tuple belongs to layer l = 1 .. K+1.

    Attributes:
      z: inputs z^(l) of the affine maps, (samples, n_{l-1}). The first is the network's input, or an elementwise
        function of it if the network applies one before the first affine map.
      y: outputs y^(l) of the affine maps, (samples, n_l).
      linear: dy^(l)/dz^(l) = W^(l) [P, eq. 16], (n_l, n_{l-1}), the same for all samples: the transposed kernel.
      slopes: the diagonals of dz^(l+1)/dy^(l) [P, eq. 14, 15], (samples, n_l), one for each hidden layer, and one more
        if the model applies a function to its last affine map.
      partials: for each of the `slopes`, dz/dp by name of the activation's parameter p [P, eq. 8, 9], (samples, n_l).
        Empty if the function is not recognised, see `layer_jacobians`.
      output: what the network returns, (samples, n_{K+1}).
    """

    z: tuple[jax.Array, ...]
    y: tuple[jax.Array, ...]
    linear: tuple[jax.Array, ...]
    slopes: tuple[jax.Array, ...]
    partials: tuple[Partials, ...]
    output: jax.Array


class Chain(NamedTuple):
    """Running products of the factors, from the output down to each layer.

    `outputs` stands for the axis of the network's outputs. A chain that started from a gradient dL/d output does not
    have this axis.

    Attributes:
      to_y: d output / dy^(l), l = 1 .. K+1, (samples, [outputs,] n_l); the first of dL/dy^(l) is [P, eq. 17].
      to_z: d output / dz^(l), l = 1 .. K+1, (samples, [outputs,] n_{l-1}); the first is with respect to the input of
        the first affine map.
    """

    to_y: tuple[jax.Array, ...]
    to_z: tuple[jax.Array, ...]


@float32_products()
def layer_jacobians(model: Model, x: jax.Array) -> LayerJacobians:
    """Returns the factors of the chain rule through a Flax model.

    The model has to be a chain of affine maps and elementwise functions. They are found in the program that JAX traces
    of the model. So the model may be written in any way: as modules or plain arrays, with functions that it holds or
    names, with jitted or rematerialised parts. A product of data with a matrix is an affine map, and a constant that is
    added to it directly is its bias. Any elementwise function may be between two affine maps, and after the last one.
    If this function has the same operations as a record of the catalogue, or as a record that an nnx model holds (in an
    attribute, or in a `Parametric`), its slope is the record's closed form, which does not underflow where autodiff
    does. Otherwise its slope is JAX's derivative. An operation of JAX that is not known here is tested: it counts as
    elementwise if its derivative is elementwise, and if a change of some elements leaves the others as they were.

    This is a pure function of the model's params. It can be jitted, and vmapped over the params of many trials or
    checkpoints, as in `jax.vmap(lambda p: layer_jacobians(with_params(model, p), x))(params)`.

    Args:
      model: an nnx module, which is not changed, or a linen module bound to its variables (`model.bind(variables)`).
      x: inputs, (samples, in_features).

    Raises:
      TypeError: if the model is no such module, or x is not of a float dtype.
      ValueError: if x does not have two axes, if there is no affine map, or if the model is not such a chain: an affine
        map reads more than the one before it (a skip connection), or an operation that is not elementwise comes before
        or between them (a normalisation over the features, a convolution). The message names the place and the
        operation.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model = MLP(2, [3, 4], 1, "sigmoid", rngs=nnx.Rngs(0))
      >>> jacobians = layer_jacobians(model, jnp.ones((5, 2)))
      >>> [w.shape for w in jacobians.linear], [s.shape for s in jacobians.slopes]
      ([(3, 2), (4, 3), (1, 4)], [(5, 3), (5, 4)])
      >>> bool(max(s.max() for s in jacobians.slopes) <= 0.25)
      True
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"layer_jacobians: expected inputs of a float dtype, got {x.dtype}; cast them first")
    if x.ndim != 2:
        raise ValueError(f"layer_jacobians: expected inputs of shape (samples, in_features), got {x.shape}")
    program = trace_flat(_function(model), x)
    layers = find_layers(program)
    values, records = program.run(x), records_of(model)
    behind = [*(layer.z for layer in layers[1:]), program.outputs[0]]
    factors = [
        _factor(program, layer, z, values, records)
        for layer, z in zip(layers, behind, strict=True)
        if z != layer.y or layer is not layers[-1]
    ]
    return LayerJacobians(
        z=tuple(values[layer.z] for layer in layers),
        y=tuple(values[layer.y] for layer in layers),
        linear=tuple(
            jnp.moveaxis(values[layer.kernel], layer.fan_in_axis, 1).astype(values[layer.product].dtype)
            for layer in layers
        ),
        slopes=tuple(slopes for slopes, _ in factors),
        partials=tuple(partials for _, partials in factors),
        output=values[program.outputs[0]],
    )


def _function(model: Model) -> Callable[[jax.Array], Any]:
    if isinstance(model, nnx.Module):

        def run_a_copy(x: jax.Array) -> Any:
            copy: Any = nnx.clone(model)  # made inside the trace, in which its state may change
            return copy(x)

        return run_a_copy
    if isinstance(model, linen.Module) and model.scope is not None:
        bound: Any = model
        return lambda x: bound(x)  # noqa: PLW0108 - JAX would call a module's own attributes by its function's names
    kind = type(model).__name__
    if isinstance(model, linen.Module):
        raise TypeError(f"expected a bound linen module, got {kind} without variables; pass model.bind(variables)")
    raise TypeError(f"expected a flax.nnx module or a bound linen module, got {kind}")


def records_of(model: Any) -> Records:
    """Returns the records that an nnx model holds, and those of the catalogue as `jax.nn` computes them."""
    if not isinstance(model, nnx.Module):
        return _of_jax_nn()
    found = []
    for _, node in nnx.iter_graph(model):
        if isinstance(node, Parametric):
            found.append(node.activation)
        elif isinstance(node, nnx.Module):
            found += [value for value in vars(node).values() if isinstance(value, Activation)]
    return (*dict.fromkeys(found), *_of_jax_nn())


@functools.cache
def _of_jax_nn() -> Records:
    records = map(catalogue.get, catalogue.names())
    return tuple(dataclasses.replace(r, fn=r.jax_nn) for r in records if r.jax_nn not in (None, r.fn) and not r.params)


def _factor(
    program: FlatProgram, layer: Layer, z: int, values: Mapping[int, Any], records: Records
) -> tuple[jax.Array, Partials]:
    """Returns the slopes dz/dy, and the partials dz/dp if the function is recognised."""
    y = values[layer.y]
    known = recognise(program, layer.y, z, y.dtype, records) if values[z].dtype == y.dtype else None
    if known is None:
        return _derivative(program, layer.product, z, values), {}
    return _closed_forms(known, y, values)


def _closed_forms(known: Known, y: jax.Array, values: Mapping[int, Any]) -> tuple[jax.Array, Partials]:
    params = {name: values[number] for name, number in known.params.items()}
    slopes = known.record.derivative(y, **params)
    partials = {name: partial(y, **params) for name, partial in known.record.partials.items()}
    return jnp.broadcast_to(slopes, y.shape), {name: jnp.broadcast_to(p, y.shape) for name, p in partials.items()}


def _derivative(program: FlatProgram, start: int, end: int, values: Mapping[int, Any]) -> jax.Array:
    """Returns the slopes by reverse mode, which every function has. For an elementwise function they are J^T 1."""
    steps = between(program, start, end)

    def function(x: jax.Array) -> jax.Array:
        return (run_steps(steps, {**values, start: x}) | ({end: x} if end == start else {}))[end]

    def slopes(x: jax.Array, ones: jax.Array) -> jax.Array:
        return jax.vjp(function, x)[1](ones)[0]

    arguments = values[start], jnp.ones_like(values[end])
    if any(step.custom_body is not None for step in steps):  # its derivative rule is a user's own
        derived = trace_flat(slopes, *arguments)
        own = {number: Dependence(frozenset({number})) for number in derived.inputs}
        found = dependences(derived, own).get(derived.outputs[0], Dependence())
        if found.obstacle:
            raise ValueError(
                f"layer_jacobians: expected an elementwise derivative of the functions between affine maps, got one "
                f"that goes through the operation {found.obstacle}"
            )
    return slopes(*arguments)


@float32_products()
def chain(jacobians: LayerJacobians, gradient: jax.Array | None = None) -> Chain:
    """Returns the running product of the factors from the output to every layer [P, eq. 6, 13, 17].

    d output / dz^(l) = d output / dy^(l) . W^(l) and d output / dy^(l) = d output / dz^(l+1) . diag(f'(y^(l))), from
    the last layer down. Products with the diagonals are elementwise; no diagonal is written out as a matrix.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}), to get the gradients of L; None: the Jacobians of the outputs.

    Raises:
      ValueError: if the gradient is not of the output's shape.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model, x = MLP(2, [3, 4], 1, "tanh", rngs=nnx.Rngs(0)), jnp.ones((5, 2))
      >>> to_input = chain(layer_jacobians(model, x)).to_z[0]
      >>> expected = jax.vmap(jax.jacrev(lambda x: model(x)))(x)
      >>> to_input.shape, bool(jnp.allclose(to_input, expected, atol=1e-6))
      ((5, 1, 2), True)
    """
    product = _start(jacobians, gradient)

    def times(slopes: jax.Array, product: jax.Array) -> jax.Array:
        return product * (slopes[:, None] if gradient is None else slopes)

    layers = len(jacobians.linear)
    to_y: list[jax.Array] = []
    to_z: list[jax.Array] = []
    for i in reversed(range(layers)):
        if i < len(jacobians.slopes):
            product = times(jacobians.slopes[i], product)
        to_y.append(product)
        product = product @ jacobians.linear[i]
        to_z.append(product)
    return Chain(tuple(reversed(to_y)), tuple(reversed(to_z)))


class LayerGradients(NamedTuple):
    """Gradients of one layer's parameters at every sample, with an axis of outputs as in `Chain`.

    Attributes:
      kernel: dL/d kernel = (dL/dW)^T, (samples, [outputs,] fan_in, fan_out).
      bias: dL/dw0, (samples, [outputs,] fan_out), whether or not the layer has one.
      activation: dL/dp by name of the parameter, (samples, [outputs,] fan_out): the contribution of each node.
    """

    kernel: jax.Array
    bias: jax.Array
    activation: Partials


def parameter_gradients(jacobians: LayerJacobians, gradient: jax.Array | None = None) -> list[LayerGradients]:
    """Returns the gradient of every parameter at every sample, from the chain of factors [P, eq. 6-9, 13].

    The last factor of the chain is dL/dw_ij = z_i dL/dy_j with w_ij = kernel[i, j], dL/dw0_j = dL/dy_j,
    dL/da_j = dz_j/da_j dL/dz_j, and likewise for b. The gradient of a parameter that several nodes share is the sum of
    their entries.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}), to get the gradients of L; None: the Jacobians of the outputs.

    Returns:
      One entry for each layer, l = 1 .. K+1.

    Raises:
      ValueError: if the gradient is not of the output's shape.
    """
    products = chain(jacobians, gradient)
    behind = [*products.to_z[1:], _start(jacobians, gradient)]
    partials = [*jacobians.partials, *[{}] * (len(jacobians.linear) - len(jacobians.partials))]

    def with_outputs(of_sample: jax.Array) -> jax.Array:
        return of_sample[:, None] if gradient is None else of_sample

    return [
        LayerGradients(
            kernel=with_outputs(z)[..., :, None] * to_y[..., None, :],
            bias=to_y,
            activation={name: with_outputs(partial) * to_z for name, partial in own.items()},
        )
        for z, to_y, to_z, own in zip(jacobians.z, products.to_y, behind, partials, strict=True)
    ]


def _start(jacobians: LayerJacobians, gradient: jax.Array | None) -> jax.Array:
    """Returns the array that a chain starts from."""
    samples, outputs = jacobians.output.shape
    if gradient is None:
        eye = jnp.eye(outputs, dtype=jacobians.output.dtype)
        return jnp.broadcast_to(eye[None], (samples, outputs, outputs))
    if gradient.shape != jacobians.output.shape:
        raise ValueError(
            f"chain: expected a gradient of the output's shape {jacobians.output.shape}, got {gradient.shape}"
        )
    return gradient
