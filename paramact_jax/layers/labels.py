"""Which leaves of a params tree belong to activations, for optimisers that treat them apart.

How a leaf is told, the same for one model and for params stacked by `vmap`, whatever their number of axes:

1. In an nnx module or an nnx state, by the type of its variable: `ActivationParam` and `FrozenParam` are what the
   activation layers hold. Exact: names play no part in it.
2. In a tree that has forgotten the types (linen params, plain dicts, the arrays an optimiser is updated with), by the
   dict that holds it. It is an activation layer's if it holds arrays only and
   - they are all named like parameters of activations in the catalogue: {a, b}, {a}, ..., or
   - a and b are both among them: {a, b, and any of your own}, or
   - its own name is "activation", "Parametric" or "Parametric_0", as linen numbers them,
   and none is named as Flax names weights (kernel, bias, scale, embedding). A leaf a beside a kernel is a weight.
   Where that is not how your layers look, say which dicts are: `where=lambda path: path[-1] == "my_activation"`.
   Whole linen variables may be given too: all under "frozen", beside "params", is frozen.
3. The slope of Flax's own PReLU counts as an activation's, in linen and in nnx.

Labels and masks are plain (strings and bools), so those made once from an nnx model suit its states and arrays alike:
prefer `optax.partition(rates, parameter_labels(model))` to handing the function over.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

from paramact_jax.activations import catalogue
from paramact_jax.layers.linen import FROZEN_COLLECTION
from paramact_jax.layers.nnx import ActivationParam, FrozenParam

ACTIVATION = "activation"
"""Label of the parameters of activations; `parameter_labels(..., separate=True)` has "a", "b" and "shape" instead."""

WEIGHTS = "weights"
"""Label of everything else that is trained."""

SCALE_A = "a"
SHIFT_B = "b"
SHAPE = "shape"
FROZEN = "frozen"

Path = tuple[str, ...]
_FLAX_PRELU = "negative_slope"
_FLAX_WEIGHTS = frozenset({"kernel", "bias", "scale", "embedding"})
_LAYER_NAME = re.compile(r"activation|Parametric(_\d+)?")


def parameter_labels(params: Any, *, separate: bool = False, where: Callable[[Path], bool] | None = None) -> Any:
    """A tree like `params` with "activation" at every activation's parameter and "weights" elsewhere.

    For `optax.partition`. Parameters that are held fixed, where the tree has them, are "frozen".

    Args:
      params: an nnx module (its `nnx.Param` are labelled), an nnx state, linen params or variables, or a plain
        nested dict; the docstring of `paramact_jax.layers.labels` says how a leaf is told.
      separate: whether to tell "a", "b" and "shape" (the other parameters of activations) apart, by their names.
      where: for trees without types: whether the dict at this path, a tuple of names, is an activation layer's.

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
    """A tree like `params` that is True where weight decay belongs: at weights, never at an activation's parameters.

    Decay would pull a to 0, where the layer's output and all gradients behind it vanish. Leaves are told by path and
    type, not by their number of axes: an a per element has three, and `vmap` over seeds adds one to every bias.

    Args:
      params: an nnx module, an nnx state, linen params, or a plain nested dict.
      biases: whether leaves named "bias" are decayed, as optax does without a mask.
      where: as in `parameter_labels`.

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


def _map(fn: Callable[[_Leaf], Any], params: Any, where: Callable[[Path], bool] | None) -> Any:
    tree = nnx.state(params, nnx.Param) if isinstance(params, nnx.Module) else params
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_variable)
    paths = [tuple(str(_name(entry)) for entry in path) for path, _ in leaves]
    held: dict[Path, set[str]] = {}
    holding_dicts: set[Path] = set()
    for path in paths:
        held.setdefault(path[:-1], set()).add(path[-1] if path else "")
        holding_dicts.update(path[:depth] for depth in range(len(path) - 1))
    layers = {path for path in set(held) - holding_dicts if (where or _looks_like_a_layer(held[path]))(path)}
    is_variables = {path[0] for path in paths if len(path) > 1} >= {"params", FROZEN_COLLECTION}

    def of(path: Path, leaf: Any) -> str:
        if _is_variable(leaf):
            is_prelu = isinstance(leaf, nnx.Param) and held[path[:-1]] == {_FLAX_PRELU}
            if isinstance(leaf, FrozenParam):
                return FROZEN
            return ACTIVATION if isinstance(leaf, ActivationParam) or is_prelu else WEIGHTS
        if is_variables and path[0] == FROZEN_COLLECTION:
            return FROZEN
        return ACTIVATION if path[:-1] in layers else WEIGHTS

    told = [fn(_Leaf(path, of(path, leaf))) for path, (_, leaf) in zip(paths, leaves, strict=True)]
    return jax.tree.unflatten(structure, told)


def _looks_like_a_layer(names: set[str]) -> Callable[[Path], bool]:
    def looks(path: Path) -> bool:
        if names & _FLAX_WEIGHTS:
            return False
        named = bool(path) and _LAYER_NAME.fullmatch(path[-1]) is not None
        return named or names <= _catalogue_parameters() or names >= {SCALE_A, SHIFT_B}

    return looks


@functools.cache
def _catalogue_parameters() -> frozenset[str]:
    of_records = (catalogue.get(name).params for name in catalogue.names())
    return frozenset({SCALE_A, SHIFT_B, _FLAX_PRELU}.union(*of_records)) - _FLAX_WEIGHTS


def _is_variable(x: Any) -> bool:
    return isinstance(x, nnx.Variable)


def _name(entry: Any) -> Any:
    return getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", "")))
