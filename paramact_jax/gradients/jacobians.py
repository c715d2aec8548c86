"""The factors of the chain rule through a network, and their products [P, eq. 6, 13-17].

Notation of [P]: layer l makes y^(l) = W^(l) z^(l) + w0^(l) of its input z^(l), l = 1 .. K+1, and hidden layers make
z^(l+1) = f(y^(l)) of that. The factors of the chain rule are dy^(m)/dz^(m) = W^(m) (type 1, the linear part) and
dz^(m)/dy^(m-1) = diag(f'(y^(m-1))) (type 2, the activation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.gradients.observation import Applied, Model, observe
from paramact_jax.gradients.segments import Dependence, dependences

Partials = dict[str, jax.Array]


class LayerJacobians(NamedTuple):
    """The factors of the chain rule at every sample; entry l - 1 of each tuple belongs to layer l = 1 .. K+1.

    Attributes:
      z: inputs z^(l) of the affine maps, (samples, n_{l-1}); the first is the network's input.
      y: outputs y^(l) of the affine maps, (samples, n_l).
      linear: dy^(l)/dz^(l) = W^(l) [P, eq. 16], (n_l, n_{l-1}), the same for all samples: the transposed kernel.
      slopes: the diagonals of dz^(l+1)/dy^(l) [P, eq. 14, 15], (samples, n_l). As many as hidden layers; one more if
        the model applies a function to its last affine map.
      partials: for each of the `slopes`, dz/dp by name of the activation's parameter p [P, eq. 8, 9], (samples, n_l).
        Empty where the function is not a record of the catalogue or of `parametric`.
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

    With `outputs` standing for the axis of the network's outputs, or for nothing where the chain started from a
    gradient dL/d output:

    Attributes:
      to_y: d output / dy^(l), l = 1 .. K+1, (samples, [outputs,] n_l); the first of dL/dy^(l) is [P, eq. 17].
      to_z: d output / dz^(l), l = 1 .. K+1, (samples, [outputs,] n_{l-1}); the first is with respect to the input.
    """

    to_y: tuple[jax.Array, ...]
    to_z: tuple[jax.Array, ...]


def layer_jacobians(model: Model, x: jax.Array) -> LayerJacobians:
    """The factors of the chain rule through a Flax model that is a chain of affine maps and elementwise functions.

    Affine maps are `nnx.Linear` and linen `Dense`. Between two of them there may be any elementwise function, written
    out in the model's `__call__` or held by it; that it is one is checked on the model's jaxpr. Where it is a record of
    this package, or a function of `jax.nn` or `Parametric` that an nnx model holds, its slope is the record's closed
    form, elsewhere it is JAX's derivative. What happens before the first affine map is part of its input.

    A pure function of the model's params: it can be jitted, and vmapped over the params of many trials or
    checkpoints, as in `jax.vmap(lambda p: layer_jacobians(with_params(model, p), x))(params)`.

    Args:
      model: an nnx module, or a linen module bound to its variables (`model.bind(variables)`).
      x: inputs, (samples, in_features).

    Raises:
      TypeError: if the model is no such module, or x is not of a float dtype.
      ValueError: if x does not have two axes; if the model has no affine map; if it is no chain, because an affine map
        reads more than the one before it (a skip connection), or something other than an elementwise function lies
        between two of them (a normalisation over the features, a convolution). The message names the place.

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
    observed = observe(model, x)
    affine = observed.affine
    if not affine:
        raise ValueError("layer_jacobians: expected a model with an nnx.Linear or a linen Dense, found none in it")
    y = tuple(call.y for call in affine)

    def between(x: jax.Array, *replaced: jax.Array) -> list[jax.Array]:
        again = observe(model, x, replaced)
        return [call.z for call in again.affine] + [again.output]

    behind = [*(call.z for call in affine[1:]), observed.output]
    ends_affine = behind[-1] is y[-1]
    _refuse_unless_chain([call.name or "the model" for call in affine], dependences(between, (x, *y)))
    known = {id(applied.y): applied for applied in observed.applied}
    records = [_exactly(known.get(id(before)), after) for before, after in zip(y, behind, strict=True)]
    if ends_affine:
        records.pop()
    derived: Sequence[jax.Array] = [None] * len(y)  # type: ignore[list-item]  # each is used where no record is
    if None in records:
        derived = jax.jvp(lambda ys: between(x, *ys), (y,), (tuple(map(jnp.ones_like, y)),))[1][1:]
    return LayerJacobians(
        z=tuple(call.z for call in affine),
        y=y,
        linear=tuple(call.kernel.T.astype(call.y.dtype) for call in affine),
        slopes=tuple(
            jnp.broadcast_to(applied.record.derivative(applied.y, **applied.params), applied.y.shape)
            if applied
            else slope
            for applied, slope in zip(records, derived, strict=False)
        ),
        partials=tuple(_partials(applied) if applied else {} for applied in records),
        output=observed.output,
    )


def chain(jacobians: LayerJacobians, gradient: jax.Array | None = None) -> Chain:
    """The running product of the factors from the output to every layer [P, eq. 6, 13, 17].

    d output / dz^(l) = d output / dy^(l) . W^(l) and d output / dy^(l) = d output / dz^(l+1) . diag(f'(y^(l))), from
    the last layer down. Products with the diagonals are elementwise; none is ever written out as a matrix.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}), to get the gradients of L; None: the Jacobians of the outputs.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model, x = MLP(2, [3, 4], 1, "tanh", rngs=nnx.Rngs(0)), jnp.ones((5, 2))
      >>> to_input = chain(layer_jacobians(model, x)).to_z[0]
      >>> expected = jax.vmap(jax.jacrev(lambda x: model(x)))(x)
      >>> to_input.shape, bool(jnp.allclose(to_input, expected, atol=1e-6))
      ((5, 1, 2), True)
    """
    samples, outputs = jacobians.output.shape
    if gradient is None:
        eye = jnp.eye(outputs, dtype=jacobians.output.dtype)
        product = jnp.broadcast_to(eye[None], (samples, outputs, outputs))
    elif gradient.shape == jacobians.output.shape:
        product = gradient
    else:
        raise ValueError(
            f"chain: expected a gradient of the output's shape {jacobians.output.shape}, got {gradient.shape}"
        )

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
    """Gradients of one layer's parameters at every sample.

    Attributes:
      kernel: dL/dW, (samples, fan_in, fan_out), as Flax holds a kernel.
      bias: dL/dw0, (samples, fan_out), whether or not the layer has one.
      activation: dL/dp by name of the parameter, (samples, fan_out): the contribution of each node.
    """

    kernel: jax.Array
    bias: jax.Array
    activation: Partials


def parameter_gradients(jacobians: LayerJacobians, gradient: jax.Array) -> list[LayerGradients]:
    """The gradient of every parameter at every sample, from the chain of factors [P, eq. 6-9, 13].

    dL/dw_ij = z_i dL/dy_j, dL/dw0_j = dL/dy_j, dL/da_j = dz_j/da_j dL/dz_j, and likewise b: the chain's last link. A
    parameter that several nodes share has the sum of their entries.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}).

    Returns:
      One entry a layer, l = 1 .. K+1.
    """
    products = chain(jacobians, gradient)
    behind = [*products.to_z[1:], gradient]
    return [
        LayerGradients(
            kernel=z[:, :, None] * to_y[:, None, :],
            bias=to_y,
            activation={name: partial * to_z_behind for name, partial in partials.items()},
        )
        for z, to_y, to_z_behind, partials in zip(
            jacobians.z,
            products.to_y,
            behind,
            (*jacobians.partials, *[{}] * (len(jacobians.linear) - len(jacobians.partials))),
            strict=True,
        )
    ]


def _exactly(applied: Applied | None, z: jax.Array) -> Applied | None:
    """The activation, if its result and nothing else is what goes on."""
    exact = applied is not None and applied.z is z and applied.z.dtype == applied.y.dtype
    return applied if exact else None


def _partials(applied: Applied) -> Partials:
    return {
        name: jnp.broadcast_to(partial(applied.y, **applied.params), applied.y.shape)
        for name, partial in applied.record.partials.items()
    }


def _refuse_unless_chain(names: list[str], found: list[Dependence]) -> None:
    """Source 0 is the model's input, source l the output of affine map l = 1 .. K+1, whose names these are."""
    sources = ["the model's input", *(f"the output of {name}" for name in names)]
    places = [*(f"the input of {name}" for name in names), "the model's output"]
    for i, (place, dependence) in enumerate(zip(places, found, strict=True)):
        if dependence.sources != {i}:
            reads = " and ".join(sources[source] for source in sorted(dependence.sources)) or "nothing"
            raise ValueError(
                f"layer_jacobians: expected a chain of layers, where {place} depends on {sources[i]} alone, got one "
                f"where it depends on {reads}; skip connections and branches are no chain of factors"
            )
        if i and dependence.obstacle:
            raise ValueError(
                f"layer_jacobians: expected an elementwise function from {sources[i]} to {place}, got one where "
                f"{dependence.obstacle}"
            )
