"""Finds the layers of a model in its program: matrix products, and elementwise functions between them."""

from __future__ import annotations

from typing import Any, NamedTuple

from paramact_jax.gradients.elementwise import Dependence, dependence
from paramact_jax.programs.steps import FlatProgram, Step


class Layer(NamedTuple):
    """One affine map. Numbers are those of the program's arrays.

    Attributes:
      z: input.
      kernel: the matrix.
      fan_in_axis: the matrix's axis that is summed over.
      product: z times the matrix.
      y: product plus bias, or the product if no constant is added to it directly.
    """

    z: int
    kernel: int
    fan_in_axis: int
    product: int
    y: int


def find_layers(program: FlatProgram) -> list[Layer]:
    """Returns the chain of affine maps in a program of one argument (samples, in_features) and one result.

    Raises:
      ValueError: if there is none, or if an operation is not part of such a chain; the message names the operation
        and the place.
    """
    (x,), (output,) = program.inputs, program.outputs
    known = {x: Dependence(frozenset({x}))}
    layers: list[Layer] = []
    for step in program.steps:
        data = [i for i in step.inputs if known.get(i, Dependence()).sources]
        if step.name == "dot_general" and (found := _layer(program, step, data)) is not None:
            _check_chain(program, layers, known[found.z], f"the input of affine map {len(layers) + 1}", x)
            layers.append(found)
            known[found.product] = Dependence(frozenset({found.product}))
        else:
            known |= dict(zip(step.outputs, dependence(step, known, program.shapes), strict=True))
    if not layers:
        raise ValueError(
            "layer_jacobians: expected a model that multiplies its inputs (samples, features) with matrices, got one "
            "without such a product"
        )
    _check_chain(program, layers, known.get(output, Dependence()), "the model's output", x)
    return layers


def _layer(program: FlatProgram, step: Step, data: list[int]) -> Layer | None:
    """Returns the layer of a product of data (samples, fan_in) with a matrix; None for other products."""
    (contracted, batched) = step.params["dimension_numbers"]
    left, right = step.inputs
    if data != [left] or any(batched) or len(program.shapes[left]) != 2 or len(program.shapes[right]) != 2:
        return None
    if tuple(contracted[0]) != (1,):
        return None
    (product,) = step.outputs
    return Layer(left, right, int(contracted[1][0]), product, _with_bias(program, product))


def _with_bias(program: FlatProgram, product: int) -> int:
    """Returns the sum, if the only use of a product is to add something to it; else the product."""
    users = [step for step in program.steps if product in step.inputs]
    if len(users) == 1 and users[0].name == "add" and product not in program.outputs:
        return users[0].outputs[0]
    return product


def _check_chain(program: FlatProgram, layers: list[Layer], found: Dependence, place: str, x: int) -> None:
    """Refuses an array that depends on more than the last affine map, or not elementwise."""
    names = {x: "the model's input"} | {
        layer.product: f"the output of affine map {i + 1} ({_sizes(program, layer)})" for i, layer in enumerate(layers)
    }
    before = layers[-1].product if layers else x
    if found.sources != {before}:
        reads = " and ".join(names[source] for source in names if source in found.sources) or "no input at all"
        raise ValueError(
            f"layer_jacobians: expected a chain of layers, where {place} depends on {names[before]} alone, got one "
            f"where it depends on {reads}; skip connections and branches are not a chain of factors"
        )
    if found.obstacle:
        raise ValueError(
            f"layer_jacobians: expected an elementwise function from {names[before]} to {place}, got one that goes "
            f"through the operation {found.obstacle}"
        )


def _sizes(program: FlatProgram, layer: Layer) -> str:
    shape: Any = program.shapes[layer.kernel]
    return f"{shape[layer.fan_in_axis]} to {shape[1 - layer.fan_in_axis]}"
