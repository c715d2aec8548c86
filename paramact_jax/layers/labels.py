"""Finds the leaves of a params tree that belong to activations, for optimisers that treat them differently.

The rules are the same for one model and for params stacked by `vmap`; the number of axes does not matter:

1. In an nnx module or an nnx state, the type of the variable decides: activation layers hold `ActivationParam` and
   `FrozenParam`, which are always recognised, whatever their names. In the full variables of a linen module, the
   collection decides: all in "frozen" is frozen, and `nnx.bridge.to_linen` makes collections "ActivationParam" and
   "FrozenParam".
2. In a tree without types (linen params, plain dicts, the arrays that an optimiser updates), the dict of the leaf
   decides. It belongs to an activation layer if it holds only arrays, all of one shape, without Flax's names of weights
   (kernel, bias, scale, embedding), and one more condition holds: its name is "Parametric" or "activation", with or
   without a number as in "Parametric_0", or the dict around it is named "activations".
   If your layers look different, name their dicts: `where=lambda path: path[-1] == "my_activation"`. Then only
   `where` decides. Without it, a dict of another name with an a and a b of one shape is labelled as weights, and a
   warning says so.
3. `nnx.bridge.ToNNX` turns linen's params into plain `nnx.Param`. A `Parametric` that it wraps, alone or as an
   attribute of other modules (as in `linen.Sequential`), is found by its class. Rule 2 finds the others.
4. The slope of Flax's own PReLU belongs to an activation, in linen and in nnx.

Labels and masks are plain strings and bools. So labels made once from an nnx model also fit its states and arrays:
prefer `optax.partition(rates, parameter_labels(model))` to passing the function.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from flax import linen, nnx

from paramact_jax.activations import catalogue
from paramact_jax.layers.linen import FROZEN_COLLECTION
from paramact_jax.layers.linen import Parametric as LinenParametric
from paramact_jax.layers.nnx import ActivationParam, FrozenParam

ACTIVATION = "activation"
"""Label of activation parameters; `parameter_labels(..., separate=True)` has "a", "b" and "shape" instead."""

WEIGHTS = "weights"
"""Label of all other trained parameters."""

SCALE_A = "a"
SHIFT_B = "b"
SHAPE = "shape"
FROZEN = "frozen"

Path = tuple[str, ...]
_FLAX_PRELU = "negative_slope"
_FLAX_WEIGHTS = frozenset({"kernel", "bias", "scale", "embedding"})
_LINEN_NAME = re.compile(r"Parametric(_\d+)?")
_LAYER_NAME = re.compile(r"(activation|Parametric)(_\d+)?")
_HOLDER_OF_LAYERS = "activations"


def parameter_labels(params: Any, *, separate: bool = False, where: Callable[[Path], bool] | None = None) -> Any:
    """Returns a tree like `params` with "activation" at every activation's parameter and "weights" elsewhere.

    The tree is for `optax.partition`. Parameters that are held fixed have the label "frozen" if the tree contains them.

    Args:
      params: an nnx module (its `nnx.Param` are labelled), an nnx state, linen params or variables, or a plain
        nested dict; the docstring of `paramact_jax.layers.labels` has the rules.
      separate: whether activation parameters get the labels "a", "b" and "shape" (all others) by their names.
      where: function of the path of a dict, a tuple of names; returns whether the dict belongs to an activation layer.
        It decides wherever types and collections do not.

    Warns:
      UserWarning: for a dict that may belong to an activation layer but is labelled as weights because of its name.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model = MLP(2, [2], 1, "ppns", rngs=nnx.Rngs(0))
      >>> labels = parameter_labels(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
      >>> labels["hidden"][0]
      {'activation': {'a': 'activation', 'b': 'activation'}, 'linear': {'bias': 'weights', 'kernel': 'weights'}}

      A learning rate for a, another for b, and all else with Adam:

      >>> import optax
      >>> rates = {"a": optax.sgd(0.1), "b": optax.set_to_zero(), "weights": optax.adam(1e-3)}
      >>> own_rates = optax.partition(rates, parameter_labels(model, separate=True))
      >>> optimiser = nnx.Optimizer(model, own_rates, wrt=nnx.Param)
    """

    def label(leaf: _Leaf) -> str:
        if leaf.of != ACTIVATION or not separate:
            return leaf.of
        return leaf.path[-1] if leaf.path and leaf.path[-1] in (SCALE_A, SHIFT_B) else SHAPE

    return _map(label, params, where)


def weight_decay_mask(params: Any, *, biases: bool = True, where: Callable[[Path], bool] | None = None) -> Any:
    """Returns a tree like `params` that is True for leaves with weight decay: weights, but no activation parameters.

    Decay would pull a to 0, where the layer's output and all gradients through it vanish. The path and the type of a
    leaf decide, not its number of axes: an a per element has three axes, and `vmap` over seeds adds one to every bias.

    Args:
      params: an nnx module, an nnx state, linen params, or a plain nested dict.
      biases: whether leaves named "bias" are decayed, as optax does without a mask.
      where: as in `parameter_labels`, which also describes the warnings.

    Examples:
      >>> import optax
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model = MLP(2, [2], 1, "ppns", rngs=nnx.Rngs(0))
      >>> mask = weight_decay_mask(model, biases=False)
      >>> nnx.to_pure_dict(mask)["hidden"][0]
      {'activation': {'a': False, 'b': False}, 'linear': {'bias': False, 'kernel': True}}
      >>> optimiser = nnx.Optimizer(model, optax.adamw(1e-3, mask=mask), wrt=nnx.Param)
    """

    def is_decayed(leaf: _Leaf) -> bool:
        return leaf.of == WEIGHTS and (biases or not leaf.path or leaf.path[-1] != "bias")

    return _map(is_decayed, params, where)


class _Leaf(NamedTuple):
    path: Path
    of: str


class _Dict(NamedTuple):
    """The leaves of one dict, without those of dicts inside it."""

    names: frozenset[str]
    shapes: frozenset[tuple[int, ...]]
    holds_dicts: bool


def _map(fn: Callable[[_Leaf], Any], params: Any, where: Callable[[Path], bool] | None) -> Any:
    tree = nnx.state(params, nnx.Param) if isinstance(params, nnx.Module) else params
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_variable)
    paths = [_names(path) for path, _ in leaves]
    dicts = _dicts(paths, [leaf for _, leaf in leaves])
    wrapped = dict(_wrapped_by_to_nnx(params)) if isinstance(params, nnx.Module) else {}
    bridged = {path for path in dicts if any(path[: len(root)] == root for root in wrapped)}
    known = {path for found in wrapped.values() for path in found}
    collections = {path[0] for path in paths if path}
    is_whole = collections >= {"params", FROZEN_COLLECTION} or bool(collections & set(_OF_COLLECTIONS))
    typed = {path[:-1] for path, (_, leaf) in zip(paths, leaves, strict=True) if _is_variable(leaf)}
    layers = {
        path
        for path, held in dicts.items()
        if path in known
        or (where(path) if where else _is_layer(path, held, _LINEN_NAME if path in typed - bridged else _LAYER_NAME))
    }

    def of(path: Path, leaf: Any) -> str:
        if is_whole and path[0] in _OF_COLLECTIONS:
            return _OF_COLLECTIONS[path[0]]
        if isinstance(leaf, FrozenParam) or type(leaf).__name__ == FROZEN_COLLECTION:  # ToNNX makes a type of this name
            return FROZEN
        if isinstance(leaf, ActivationParam):
            return ACTIVATION
        return (
            ACTIVATION if path[:-1] in layers and (not _is_variable(leaf) or isinstance(leaf, nnx.Param)) else WEIGHTS
        )

    kinds = [of(path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)]
    if where is None:
        of_no_type = {path[:-1] for path, kind in zip(paths, kinds, strict=True) if kind == WEIGHTS} - (typed - bridged)
        _warn([path for path in dicts if path in of_no_type and _may_be_a_layer(dicts[path])])
    told = [fn(_Leaf(path, kind)) for path, kind in zip(paths, kinds, strict=True)]
    return jax.tree.unflatten(structure, told)


_OF_COLLECTIONS = {
    FROZEN_COLLECTION: FROZEN,
    ActivationParam.__name__: ACTIVATION,
    FrozenParam.__name__: FROZEN,
}


def _dicts(paths: list[Path], leaves: list[Any]) -> dict[Path, _Dict]:
    names: dict[Path, set[str]] = {}
    shapes: dict[Path, set[tuple[int, ...]]] = {}
    holding: set[Path] = set()
    for path, leaf in zip(paths, leaves, strict=True):
        names.setdefault(path[:-1], set()).add(path[-1] if path else "")
        shapes.setdefault(path[:-1], set()).add(tuple(getattr(leaf, "shape", ())))
        holding.update(path[:depth] for depth in range(len(path) - 1))
    return {path: _Dict(frozenset(names[path]), frozenset(shapes[path]), path in holding) for path in names}


def _is_layer(path: Path, held: _Dict, name: re.Pattern[str]) -> bool:
    if held.holds_dicts or len(held.shapes) > 1 or held.names & _FLAX_WEIGHTS:
        return False
    by_name = bool(path) and name.fullmatch(path[-1]) is not None
    by_holder = name is _LAYER_NAME and len(path) > 1 and path[-2] == _HOLDER_OF_LAYERS
    return by_name or by_holder or held.names == {_FLAX_PRELU}


def _may_be_a_layer(held: _Dict) -> bool:
    return (
        {SCALE_A, SHIFT_B} <= held.names <= _catalogue_parameters() and len(held.shapes) == 1 and not held.holds_dicts
    )


def _warn(paths: list[Path]) -> None:
    if paths:
        places = ", ".join("/".join(path) or "the root" for path in paths)
        warnings.warn(
            f"parameters a and b at {places} are labelled as weights, since this is not an activation layer's name; if "
            f"they belong to an activation, pass where=, a function of the path",
            UserWarning,
            stacklevel=4,
        )


def _wrapped_by_to_nnx(model: nnx.Module) -> Iterator[tuple[Path, list[Path]]]:
    """Yields the path of each linen module in an nnx model, and the paths of its layers found by their class."""
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.bridge.ToNNX):
            root = tuple(map(str, path))
            yield root, [(*root, *inner) for inner in _linen_layers(node.to_nnx__module)]


def _linen_layers(module: Any) -> Iterator[Path]:
    if isinstance(module, LinenParametric):
        yield ()
    for field in dataclasses.fields(module):
        value = getattr(module, field.name) if field.name != "parent" else None
        entries = enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]
        for number, entry in entries:
            if isinstance(entry, linen.Module):
                name = entry.name or (f"{field.name}_{number}" if number != "" else field.name)
                yield from ((name, *inner) for inner in _linen_layers(entry))


@functools.cache
def _catalogue_parameters() -> frozenset[str]:
    of_records = (catalogue.get(name).params for name in catalogue.names())
    return frozenset({SCALE_A, SHIFT_B, _FLAX_PRELU}.union(*of_records)) - _FLAX_WEIGHTS


def _is_variable(x: Any) -> bool:
    return isinstance(x, nnx.Variable)


def _names(path: tuple[Any, ...]) -> Path:
    """Returns the names on a path, without the "value" of the box that Flax's `with_partitioning` makes."""
    boxed = bool(path) and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value"
    entries = path[:-1] if boxed else path
    return tuple(str(getattr(x, "key", getattr(x, "name", getattr(x, "idx", "")))) for x in entries)
