"""Makes the activations of an existing nnx model trainable, with outputs unchanged at the start."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from paramact_jax.activations import Activation, catalogue, parametric
from paramact_jax.activations.record import Function, activation
from paramact_jax.layers.nnx import Parametric
from paramact_jax.layers.sharing import Features, Kind

Model = TypeVar("Model", bound=nnx.Module)

_ELEMENTWISE = (
    *(jax.nn.celu, jax.nn.elu, jax.nn.gelu, jax.nn.hard_sigmoid, jax.nn.hard_silu, jax.nn.hard_tanh),
    *(jax.nn.leaky_relu, jax.nn.log_sigmoid, jax.nn.mish, jax.nn.relu, jax.nn.relu6, jax.nn.selu, jax.nn.sigmoid),
    *(jax.nn.silu, jax.nn.soft_sign, jax.nn.softplus, jax.nn.sparse_plus, jax.nn.sparse_sigmoid, jax.nn.squareplus),
    *(jnp.tanh, jnp.arctan, jnp.sin, jax.lax.tanh, jax.lax.logistic),
)
_NOT_ELEMENTWISE = (jax.nn.glu, jax.nn.softmax, jax.nn.log_softmax, jax.nn.standardize, jax.nn.logsumexp)


@dataclasses.dataclass(frozen=True)
class Change:
    """One activation that is trainable now: where, which function, and the features of its a and b."""

    path: str
    function: str
    features: Features


@dataclasses.dataclass(frozen=True)
class Untouched:
    """One function that was seen and left as it is, and why."""

    path: str
    function: str
    why: str


@dataclasses.dataclass(frozen=True)
class Retrofit(Generic[Model]):
    """What `parametrise` made of a model. Printed, it lists the changes.

    Attributes:
      model: a copy of the model, with trainable activations.
      changed: what was replaced, in the order of the model's attributes.
      untouched: what looks like an activation and was left.
    """

    model: Model
    changed: tuple[Change, ...]
    untouched: tuple[Untouched, ...]

    def __str__(self) -> str:
        lines = [
            f"{change.path}: {change.function} -> Parametric, features {change.features}" for change in self.changed
        ]
        return "\n".join([*lines, *(f"{left.path}: {left.function} left: {left.why}" for left in self.untouched)])


def parametrise(
    model: Model,
    *example: Any,
    sharing: Kind = "node",
    trainable: Collection[str] | None = None,
    also: Collection[Function] = (),
    param_dtype: DTypeLike = jnp.float32,
) -> Retrofit[Model]:
    """A copy of an nnx model whose activations f(y) are a f(y - b), starting at a = 1, b = 0: outputs as before.

    Found are activations that a module holds, as an attribute or as an entry of an `nnx.Sequential` or `nnx.List`:
    elementwise functions of `jax.nn` and their `flax.nnx` aliases, `jnp.tanh`, `functools.partial`s of these, records
    without parameters, and the functions in `also`. A function that a module's `__call__` names itself, as in
    `nnx.relu(self.linear(x))`, cannot be seen from outside: hold it as an attribute first.

    The outputs stay as they are because a starts at 1, not at the initial gain of [P, section 4.1], 1.5 / max|f'|; no
    option starts it elsewhere. The effect that [P] reports comes from that gain, so it is not to be expected here: for
    it, build the layers with `Parametric`, which starts there by default.

    Args:
      model: the model; it is not changed.
      *example: inputs to call the model with. The sizes of the activations are read off a call that computes shapes
        only. Without, they are those of the layer before, which only a Sequential tells.
      sharing: as in `Parametric`. "element" takes the first axis of an activation's input for the batch and needs
        an example.
      trainable: names of the parameters that are learned, of "a" and "b"; by default both.
      also: other elementwise functions of yours to make trainable.
      param_dtype: dtype of a and b.

    Raises:
      TypeError: if `model` is no nnx module.
      ValueError: if there is nothing to change, the size of an activation is not known, or the changed model cannot
        be called with the example.

    Examples:
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 1, rngs=rngs), jnp.tanh)
      >>> retrofit = parametrise(model)
      >>> print(retrofit)
      layers.1: relu -> Parametric, features 8
      layers.3: tanh -> Parametric, features 1
      >>> x = jnp.ones((2, 4))
      >>> bool((retrofit.model(x) == model(x)).all())
      True
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"expected a flax.nnx module, got {type(model).__name__}; hold linen activations as layers instead"
        )
    copy = nnx.clone(model)
    sites: list[_Site] = []
    untouched: list[_Site] = []
    for site in _sites(copy, tuple(also)):
        (sites if site.why is None else untouched).append(site)
    shapes = _shapes(model, tuple(also), example) if example else {}
    changed: list[Change] = []
    unknown: list[_Site] = []
    for site in sites:
        features = _from_shapes(shapes.get(site.path, []), sharing) if example else _from_before(site, sharing)
        if isinstance(features, _Why):
            (unknown if not example else untouched).append(dataclasses.replace(site, why=features))
            continue
        layer = Parametric(
            _starting_at_one(site.function), features, sharing=sharing, trainable=trainable, param_dtype=param_dtype
        )
        setattr(site.module, site.attribute, nnx.data(layer))
        changed.append(Change(site.name, _function_name(site.function), features))
    left = tuple(Untouched(site.name, _function_name(site.function), str(site.why)) for site in untouched)
    if unknown:
        where = "; ".join(f"{site.name} ({_function_name(site.function)}): {site.why}" for site in unknown)
        raise ValueError(f"expected an example input, since sizes are not known: {where}; call parametrise(model, x)")
    if not changed:
        seen = "; ".join(f"{u.path} ({u.function}): {u.why}" for u in left) or "none"
        raise ValueError(
            f"expected a model that holds activations as attributes or entries of a Sequential, found to change: none; "
            f"seen: {seen}; hold each activation as an attribute, or name your own in also=(...)"
        )
    if example:
        _refuse_other_shapes(model, copy, example)
    return Retrofit(copy, tuple(changed), left)


class _Why(str):
    """The reason an activation is left as it is."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class _Site:
    """Where a function is held: `module.attribute`."""

    module: nnx.Module
    path: tuple[Any, ...]
    function: Any
    why: _Why | None = None

    @property
    def attribute(self) -> str:
        return str(self.path[-1])

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


def _sites(model: nnx.Module, also: tuple[Function, ...]) -> Iterator[_Site]:
    """Every attribute that holds an activation, with a reason where it must be left."""
    for path, node in nnx.iter_graph(model):
        if not isinstance(node, nnx.Module):
            continue
        for name, value in vars(node).items():
            at = (*path, int(name) if isinstance(node, nnx.List) and name.isdigit() else name)
            if isinstance(value, (list, tuple, dict)):
                entries = value.items() if isinstance(value, dict) else enumerate(value)
                for key, entry in entries:
                    if _is_activation(entry, also):
                        yield _Site(node, (*at, key), entry, _Why("held in a plain container; use nnx.List"))
            elif isinstance(value, Activation) and value.params:
                yield _Site(node, at, value, _Why("a record with parameters needs them; use Parametric"))
            elif _is_activation(value, also):
                yield _Site(node, at, value)
            elif any(_plain(value) is f for f in _NOT_ELEMENTWISE):
                yield _Site(node, at, value, _Why("not elementwise"))
            elif isinstance(node, nnx.List) and callable(value) and not isinstance(value, nnx.Module):
                yield _Site(node, at, value, _Why("not known as an activation; if it is elementwise, pass also=(it,)"))


def _plain(value: Any) -> Any:
    return value.func if isinstance(value, functools.partial) else value


def _is_activation(value: Any, also: tuple[Function, ...]) -> bool:
    if isinstance(value, Activation):
        return not value.params
    return any(_plain(value) is f or value is f for f in (*_ELEMENTWISE, *also))


def _function_name(function: Any) -> str:
    return str(getattr(_plain(function), "name", getattr(_plain(function), "__name__", "function")))


@functools.cache  # one record for each function, so that models built alike share one compilation
def _starting_at_one(function: Any) -> Activation:
    by_fn: dict[Any, Activation] = {
        record.fn: record for record in map(catalogue.get, catalogue.names()) if not record.params
    }
    record = function if isinstance(function, Activation) else by_fn.get(function)
    return parametric(record or activation(function, _function_name(function)), a=1.0, b=0.0)


class _Recorder:
    """Stands in for an activation and notes the shapes it is called with."""

    def __init__(self, function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
        self.function, self.shapes = function, shapes

    def __call__(self, y: jax.Array, *args: Any, **kwargs: Any) -> Any:
        self.shapes.append(jnp.shape(y))
        return self.function(y, *args, **kwargs)


def _shapes(
    model: nnx.Module, also: tuple[Function, ...], example: tuple[Any, ...]
) -> dict[tuple[Any, ...], list[tuple[int, ...]]]:
    probe = nnx.clone(model)
    shapes: dict[tuple[Any, ...], list[tuple[int, ...]]] = {}
    for site in list(_sites(probe, also)):
        if site.why is None:
            setattr(site.module, site.attribute, _Recorder(site.function, shapes.setdefault(site.path, [])))
    _output_shapes(probe, example)
    return shapes


def _output_shapes(model: nnx.Module, example: tuple[Any, ...]) -> Any:
    graphdef, state = nnx.split(model)
    return jax.eval_shape(lambda state, inputs: nnx.merge(graphdef, state)(*inputs), state, example)


def _refuse_other_shapes(before: nnx.Module, after: nnx.Module, example: tuple[Any, ...]) -> None:
    expected = _output_shapes(before, example)
    try:
        got = _output_shapes(after, example)
    except Exception as error:
        raise ValueError(
            f"expected the changed model to be callable as before, got {type(error).__name__}: {error}; activations "
            f"must be called with one array, and modules stacked by nnx.vmap or nnx.scan cannot be changed afterwards: "
            f"build them with Parametric"
        ) from error
    if expected != got:
        raise ValueError(f"expected outputs as before, {expected}, got {got}")


def _from_shapes(shapes: list[tuple[int, ...]], sharing: Kind) -> Features | _Why:
    if sharing == "layer":
        return None
    suffixes = {shape[1:] if sharing == "element" else shape[-1:] for shape in shapes}
    if not suffixes:
        return _Why("not called on the example")
    if len(suffixes) > 1:
        return _Why(f"called with inputs of several shapes, {sorted(set(shapes))}; hold one activation for each")
    (sizes,) = suffixes
    if not sizes:
        return _Why(f"called with inputs of shape {shapes[0]}, which has no axis of features")
    return sizes if len(sizes) > 1 else sizes[0]


def _from_before(site: _Site, sharing: Kind) -> Features | _Why:
    """The size that the entry before in a Sequential puts out."""
    if sharing == "layer":
        return None
    if sharing == "element":
        return _Why("sharing 'element' needs the shape of the feature map")
    if not isinstance(site.module, nnx.List) or not isinstance(site.path[-1], int):
        return _Why("an attribute of a module, whose input only a call shows")
    for entry in reversed(list(site.module)[: site.path[-1]]):
        for attribute in ("out_features", "num_features"):
            if (size := getattr(entry, attribute, None)) is not None:
                return int(size[-1] if isinstance(size, tuple) else size)
        if not isinstance(entry, (nnx.Dropout, Parametric)) and not _is_activation(entry, ()):
            break
    return _Why("the entry before it does not tell its size")
