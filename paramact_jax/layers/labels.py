"""Which leaves of a params tree belong to activations, for optimisers that treat them apart."""

from __future__ import annotations

from typing import Any

import jax

ACTIVATION = "activation"
WEIGHTS = "weights"
_ACTIVATION_PARAMS = frozenset({"a", "b"})


def parameter_labels(params: Any) -> Any:
    """A tree like `params` with "activation" at every a and b and "weights" elsewhere, for `optax.partition`.

    A leaf is told by the last name on its path, so one function serves plain dicts, linen params and nnx states.

    Examples:
      >>> from flax import nnx
      >>> from paramact_jax.networks import MLP
      >>> model = MLP(2, [2], 1, "ppns", rngs=nnx.Rngs(0))
      >>> labels = parameter_labels(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
      >>> labels["hidden"][0]
      {'activation': {'a': 'activation', 'b': 'activation'}, 'linear': {'bias': 'weights', 'kernel': 'weights'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: _label(path), params)


def _label(path: tuple[Any, ...]) -> str:
    names = [str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", "")))) for entry in path]
    if names and names[-1] == "value":  # nnx keeps a Param's array under this name
        names.pop()
    return ACTIVATION if names and names[-1] in _ACTIVATION_PARAMS else WEIGHTS
