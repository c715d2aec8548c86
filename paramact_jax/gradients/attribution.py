"""How much of a gradient's decay is due to the linear maps, how much to the activations [P, section 3.1]."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.gradients import units
from paramact_jax.gradients.jacobians import LayerJacobians, Model, layer_jacobians
from paramact_jax.gradients.scaling import in_full_precision, normalised
from paramact_jax.gradients.spectra import Spectra, spectra

MINOR_SHARE = 0.1
"""A factor that makes up less than this share of a decay is not among its causes."""


class Cause(enum.IntEnum):
    """Why a gradient became smaller: the types of [P, section 3.1]."""

    UNDEFINED = -1
    """The gradient was exactly 0 before this layer already, or it is not finite before it or behind it."""
    NONE = 0
    """It did not become smaller."""
    LINEAR = 1
    """Type 1: the linear factor dy/dz = W."""
    ACTIVATION = 2
    """Type 2: the activation's factor dz/dy."""
    BOTH = 3
    """Type 3: both."""


class Decay(NamedTuple):
    """What happens to the gradient on its way down, per layer.

    Norms are taken over all samples and nodes together. Between layers l and l+1 lie the factors W^(l+1) and
    diag(f'(y^(l))); entry l - 1 of `linear`, `activation` and `cause` is about these two, l = 1 .. K.

    Attributes:
      log_norm: log ||dL/dy^(l)||, l = 1 .. K+1; -inf where the gradient is exactly 0. All logarithms are natural.
      linear: log(||dL/dz^(l+1)|| / ||dL/dy^(l+1)||): type 1.
      activation: log(||dL/dy^(l)|| / ||dL/dz^(l+1)||): type 2. The two add up to log_norm[l - 1] - log_norm[l]. The
        first factor that makes the gradient exactly 0 has -inf; those behind it are NaN, having nothing to act on.
      cause: `Cause` of every layer, int32.
      total_cause: `Cause` of the decay from the last affine map to the first, from the sums of both.
      non_finite: how many entries of dL/dy^(l) are infinite or NaN, or beyond the largest number of the model's dtype,
        l = 1 .. K+1, int32.
    """

    log_norm: jax.Array
    linear: jax.Array
    activation: jax.Array
    cause: jax.Array
    total_cause: jax.Array
    non_finite: jax.Array


class Units(NamedTuple):
    """The state of the units, one entry per hidden layer l = 1 .. K; see `gradients.units`.

    Attributes:
      slope_at_least_one: share of |dz/dy| >= 1 [P, Fig. 14].
      saturated: share of |dz/dy| < `units.SATURATED_BELOW`.
      dead: share of nodes with slope 0 at every sample.
      one_sign: share of neurons whose weight gradients, added over the samples, have one sign.
      one_sign_of_sample: the same for the gradients of single samples, averaged over these.
      histograms: counts of the activations' values z, (K, bins + 3), as `units.histogram` returns them; None if no
        edges were given.
    """

    slope_at_least_one: jax.Array
    saturated: jax.Array
    dead: jax.Array
    one_sign: jax.Array
    one_sign_of_sample: jax.Array
    histograms: jax.Array | None


class Attribution(NamedTuple):
    """Where and why the gradient vanishes.

    Attributes:
      decay: the gradient's norm at every layer and the two factors between layers.
      units: the state of the units that it passes.
      spectra: singular values of the factors and of their product; None if they were not asked for.
    """

    decay: Decay
    units: Units
    spectra: Spectra | None


def attribute(
    model: Model,
    x: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
    *,
    edges: jax.Array | None = None,
    singular_values: bool = False,
) -> Attribution:
    """Split the gradient's decay from the last affine map to the first into its two causes, layer by layer.

    A pure function of the model's params, to be jitted, and vmapped over trials and checkpoints.

    Args:
      model: as in `layer_jacobians`.
      x: inputs, (samples, in_features).
      loss: the scalar loss of the model's outputs (samples, n_{K+1}).
      edges: bin edges of histograms of the hidden layers' values z; None: no histograms.
      singular_values: whether to compute them; they cost more than all the rest.

    Returns:
      An `Attribution` for K hidden layers. Of its decay `log_norm` and `non_finite` have shape (K+1,), `linear`,
      `activation` and `cause` (K,), `total_cause` (); all logarithms are natural. The fields of its units have shape
      (K,), `histograms` (K, bins + 3). Histograms and spectra are None unless asked for.

    Raises:
      TypeError: if the model is no Flax module, or x is not of a float dtype.
      ValueError: if the model is no chain (see `layer_jacobians`) or has no hidden layer.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> x = jax.random.normal(jax.random.key(0), (8, 16))
      >>> deep = MLP(16, [16] * 10, 1, "sigmoid", rngs=nnx.Rngs(0))
      >>> decay = attribute(deep, x, lambda outputs: (outputs**2).mean()).decay
      >>> Cause(int(decay.total_cause)).name
      'ACTIVATION'
      >>> bool(jnp.allclose(decay.linear + decay.activation, -jnp.diff(decay.log_norm), atol=1e-4))
      True
    """
    jacobians = layer_jacobians(model, x)
    gradient = jax.grad(loss)(jacobians.output)
    return Attribution(
        decay(jacobians, gradient),
        state_of_units(jacobians, gradient, edges),
        spectra(jacobians) if singular_values else None,
    )


def decay(jacobians: LayerJacobians, gradient: jax.Array) -> Decay:
    """The gradient's norm at every layer, and the two factors between layers.

    The gradient is brought back to norm 1 after every factor and the logarithms are added, in float32 at least, so that
    products that would underflow or overflow in the model's dtype keep their norms.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}).

    Raises:
      ValueError: if the network has no hidden layer, or the gradient is not of the output's shape.
    """
    log_largest = math.log(float(jnp.finfo(jacobians.output.dtype).max))
    last, *others = _descend(jacobians, gradient)
    linear, activation = jnp.stack([s.linear for s in others]), jnp.stack([s.activation for s in others])
    log_norm = last.activation + jnp.concatenate([jnp.zeros_like(linear[:1]), jnp.cumsum(linear + activation)])
    # What a gradient of 0 is multiplied by does not show; it stays 0.
    before = jnp.concatenate([jnp.isneginf(last.activation)[None], jnp.isneginf(linear + activation)[:-1]])
    vanished = jnp.cumsum(before) > 0
    linear = jnp.where(vanished, jnp.nan, linear)
    activation = jnp.where(vanished | jnp.isneginf(linear), jnp.nan, activation)
    killed = jnp.any(jnp.isneginf(linear) | jnp.isneginf(activation))
    acting = (jnp.where(killed & jnp.isnan(factors), 0, factors).sum() for factors in (linear, activation))
    return Decay(
        log_norm=log_norm[::-1],
        linear=linear[::-1],
        activation=activation[::-1],
        cause=cause(linear, activation)[::-1],
        total_cause=cause(*acting),
        non_finite=jnp.stack(
            [
                _count_non_finite(step.to_y, log, log_largest)
                for step, log in zip((last, *others), log_norm, strict=True)
            ][::-1]
        ),
    )


def _count_non_finite(unit: jax.Array, log_norm: jax.Array, log_largest: float) -> jax.Array:
    """Entries of a gradient, given at norm 1 unless that is not finite, that its dtype could not hold."""
    scale = jnp.where(jnp.isfinite(log_norm), log_norm, 0)
    return jnp.sum(~(jnp.log(jnp.abs(unit)) + scale <= log_largest), dtype=jnp.int32)


class _Step(NamedTuple):
    """The gradient of norm 1 at one y^(l), and the logarithms of the two factors just applied."""

    to_y: jax.Array
    linear: jax.Array
    activation: jax.Array


def _descend(jacobians: LayerJacobians, gradient: jax.Array) -> list[_Step]:
    """From y^(K+1) down to y^(1). The first step holds the norm at y^(K+1) in place of a factor."""
    layers = len(jacobians.linear)
    if layers < 2:
        raise ValueError("attribute: expected a network with a hidden layer, got a single affine map")
    if gradient.shape != jacobians.output.shape:
        raise ValueError(
            f"attribute: expected a gradient of the output's shape {jacobians.output.shape}, got {gradient.shape}"
        )
    jacobians, gradient = in_full_precision((jacobians, gradient))
    to_y = gradient * jacobians.slopes[-1] if len(jacobians.slopes) == layers else gradient
    to_y, log_norm = normalised(to_y)
    steps = [_Step(to_y, jnp.zeros_like(log_norm), log_norm)]
    for w, slopes in zip(reversed(jacobians.linear[1:]), reversed(jacobians.slopes[: layers - 1]), strict=True):
        to_z, log_linear = normalised(to_y @ w)
        to_y, log_activation = normalised(to_z * slopes)
        steps.append(_Step(to_y, log_linear, log_activation))
    return steps


def cause(linear: jax.Array, activation: jax.Array) -> jax.Array:
    """The `Cause` of a change by two logarithmic factors.

    None if their sum is not negative. Otherwise each factor that is negative is a cause, unless it makes up less than a
    tenth of the negative ones.

    Args:
      linear: logarithms of the linear factor.
      activation: logarithms of the activation's factor, of the same shape. NaN: it has nothing to act on. inf: the
        gradient is not finite, and its change undefined.

    Examples:
      >>> [Cause(int(c)).name for c in cause(jnp.array([-1.0, 0.5, -2.0]), jnp.array([-1.5, -0.4, -0.1]))]
      ['BOTH', 'NONE', 'LINEAR']
    """
    both = linear + activation
    decays = both < 0
    undefined = jnp.isnan(both) | jnp.isposinf(linear) | jnp.isposinf(activation)
    lost = jnp.minimum(linear, 0) + jnp.minimum(activation, 0)

    def is_cause(factor: jax.Array) -> jax.Array:
        return decays & (factor < 0) & ((factor <= MINOR_SHARE * lost) | jnp.isneginf(factor))

    found = int(Cause.LINEAR) * is_cause(linear) + int(Cause.ACTIVATION) * is_cause(activation)
    # A linear factor of -inf leaves the activation nothing to act on, and is the cause alone.
    alone = jnp.where(jnp.isneginf(linear), int(Cause.LINEAR), int(Cause.UNDEFINED))
    return jnp.where(undefined, alone, found).astype(jnp.int32)


def state_of_units(jacobians: LayerJacobians, gradient: jax.Array, edges: jax.Array | None = None) -> Units:
    """Slopes, saturation, death and signs of the weight gradients, of every hidden layer; see `Units`.

    Args:
      jacobians: the factors.
      gradient: dL/d output, (samples, n_{K+1}).
      edges: bin edges of histograms of the hidden layers' values z; None: no histograms.

    Raises:
      ValueError: if the network has no hidden layer, or the gradient is not of the output's shape.
    """
    hidden = len(jacobians.linear) - 1
    to_y = [step.to_y for step in _descend(jacobians, gradient)[:0:-1]]  # their scale does not matter here
    jacobians = in_full_precision(jacobians)
    slopes, z = jacobians.slopes[:hidden], jacobians.z[:hidden]
    return Units(
        slope_at_least_one=jnp.stack([units.share_at_least_one(s) for s in slopes]),
        saturated=jnp.stack([units.saturated_share(s) for s in slopes]),
        dead=jnp.stack([units.dead_share(s) for s in slopes]),
        one_sign=jnp.stack([units.one_sign_share(z.T @ to_y) for z, to_y in zip(z, to_y, strict=True)]),
        one_sign_of_sample=jnp.stack([_one_sign_of_sample(*pair) for pair in zip(z, to_y, strict=True)]),
        histograms=None if edges is None else jnp.stack([units.histogram(z, edges) for z in jacobians.z[1:]]),
    )


def _one_sign_of_sample(z: jax.Array, to_y: jax.Array) -> jax.Array:
    """Of one sample the weight gradients are z_i dL/dy_j: they have one sign if the z_i do."""
    one = (jnp.all(z >= 0, axis=1) | jnp.all(z <= 0, axis=1)) & jnp.any(z != 0, axis=1)
    return jnp.mean(one[:, None] & (to_y != 0))
