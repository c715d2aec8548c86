"""The two causes of a perceptron's decay from its factors, layer by layer: what `attribute` has to agree with."""

import jax
import jax.numpy as jnp

from paramact_jax.gradients import layer_jacobians, units
from paramact_jax.gradients.scaling import in_full_precision, normalised


def causes_and_units(model, x, loss):
    """Computes the two causes and the state of the units, as `LayerDecay` and `UnitState` have them."""
    jacobians = layer_jacobians(model, x)
    causes, gradients = of_chain(jacobians, loss)
    return causes, state_of_units(jacobians, gradients)


def of_chain(jacobians, loss):
    """log ||dL/dy^(l)||, both factors' logarithms, and dL/dy^(l) at norm 1, from the first layer to the last."""
    gradient = jax.grad(loss)(jacobians.output)
    jacobians, gradient = in_full_precision((jacobians, gradient))
    hidden = len(jacobians.linear) - 1
    to_y, log_norm = normalised(gradient * jacobians.slopes[hidden] if len(jacobians.slopes) > hidden else gradient)
    norms, linear, activation, gradients = [log_norm], [], [], [to_y]
    for layer in reversed(range(hidden)):
        to_z, by_linear = normalised(to_y @ jacobians.linear[layer + 1])
        to_y, by_activation = normalised(to_z * jacobians.slopes[layer])
        norms.append(norms[-1] + by_linear + by_activation)
        linear.append(by_linear)
        activation.append(by_activation)
        gradients.append(to_y)
    return tuple(jnp.stack(column[::-1]) for column in (norms, linear, activation)), gradients[::-1]


def state_of_units(jacobians, gradients):
    """Slopes and signs of the hidden layers, as `UnitState` has them."""
    jacobians = in_full_precision(jacobians)
    of_layers = []
    for z, slopes, to_y in zip(jacobians.z, jacobians.slopes, gradients[:-1], strict=False):
        one = (jnp.all(z >= 0, axis=1) | jnp.all(z <= 0, axis=1)) & jnp.any(z != 0, axis=1)
        of_layers.append(
            (
                units.share_at_least_one(slopes),
                units.saturated_share(slopes),
                units.dead_share(slopes),
                units.one_sign_share(z.T @ to_y),
                jnp.mean(one[:, None] & (to_y != 0)),
            )
        )
    return tuple(map(jnp.stack, zip(*of_layers, strict=True)))
