"""Makes the activations of any model trainable; the outputs do not change at the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from paramact_jax.activations.record import Function
from paramact_jax.layers.calls import Call
from paramact_jax.layers.models import KEY, Apply, LinenCall, Parametrised, applied, explained, nnx_call
from paramact_jax.layers.plan import Change, Options, Plan, Start, Untouched, functions_in
from paramact_jax.layers.rewritten import Rewritten, read
from paramact_jax.layers.sharing import Kind


@dataclasses.dataclass(frozen=True)
class Retrofit:
    """The result of `parametrise`. Printed, it lists every elementwise nonlinear function that was found.

    Attributes:
      model: the nnx module with trainable activations; None for a linen module or a function.
      apply: the function to call in place of a linen module or a function, with `variables` first; None for an nnx
        module.
      variables: for a linen module its variables, with a and b in `["params"]["activations"]`; for a function
        {"params": its params, "activations": a and b}; None for an nnx module.
      changed: the activations that are trainable now, in the order of the program.
      untouched: the functions that were not changed.
    """

    model: Any
    apply: Callable[..., Any] | None
    variables: Any
    changed: tuple[Change, ...]
    untouched: tuple[Untouched, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.changed, *self.untouched)))


def parametrise(
    model: Any,
    *args: Any,
    sharing: Kind = "node",
    trainable: Collection[str] | None = None,
    start: Start = "unchanged",
    also: Function | Collection[Function] = (),
    only: str | Collection[str] = "*",
    except_: str | Collection[str] = (),
    gates: bool = False,
    per_layer: bool = True,
    param_dtype: DTypeLike = jnp.float32,
    **kwargs: Any,
) -> Retrofit:
    """Makes every activation f(y) of a model trainable as a f(y - b); at the start a = 1 and b = 0 keep the outputs.

    It calls the model once with the example to trace it; nothing is computed. It finds every elementwise nonlinear
    function: those of `jax.nn` and Flax, every call of tanh, sine and the logistic function, and functions that are
    written out in several operations, which it recognises by their values. Every place in the program that applies one
    gets its own a and b. The result also takes inputs of other sizes than the example; it is traced again for them.
    Functions that the printed result lists as "left" do not change:

    - sigmoids that are gates of recurrent cells, unless `gates` is True,
    - functions of parameters only or of inputs only, and parts of norms, softmax and losses,
    - functions that are not known as activations: exponentials, powers, roots (`also` makes them known),
    - functions inside a function with its own derivative rule, as in `odeint`, since the rule would be lost.

    Some programs take derivatives of a network, as for a physics-informed network. They use an activation in the
    function and in its derivatives. All these uses share a and b, so the derivatives remain those of the function. In
    such programs an activation is found where it is called; one that is written out in several operations is left,
    unless it is inside `jax.jit`. There all uses of one function that depend on the same parameters are one activation.

    A function that a program applies twice to one array counts as two activations, each with an a and b. An example is
    tanh in an action and in the logarithm of its density. If the two must be equal, leave them out with `except_`.

    The effect in [P] comes from the initial gain 1.5 / max|f'|: pass start="steepest" for it.

    Args:
      model: an nnx module, a linen module, or a function f(params, *args, **kwargs). For a linen module the first of
        `args` is its variables, for a function its params.
      *args: an example of the model's arguments.
      sharing: "node" or "channel": one a and b for each entry of the axis of nodes or channels, which is found from the
        parameters; one number if there is no such axis. "layer": one for all. "element": one for each element of all
        axes but the first, which is the batch.
      trainable: which of "a" and "b" are learned; by default both. The other stays at its start value.
      start: "unchanged"; "steepest": a = 1.5 / max|f'| [P, section 4.1]; "critical": the gain at which the gradient of
        a deep network with weights of deviation 1/sqrt(fan_in) keeps its size, see `activations.critical_gain`; or
        start values by name, {"a": 2.0}.
      also: your own elementwise functions that are activations, or one of them.
      only: patterns of `fnmatch`. An activation is changed if a pattern matches its name, the name of a module around
        it, or its line, such as "net.py:12".
      except_: patterns in the same form; activations that match are not changed.
      gates: whether gates of recurrent cells are also changed.
      per_layer: whether an activation in a scan over layers has an a and b for each layer.
      param_dtype: dtype of a and b.
      **kwargs: named arguments of the example. `method` names the method to call in place of `__call__`, also for nnx.
        If an argument of the model has the name of an option above, pass it with `functools.partial`.

    Raises:
      TypeError: if `model` is neither a module nor a function, or an argument of the example is missing.
      ValueError: if nothing is found to change, or a pattern matches nothing.

    Examples:
      >>> class Net(nnx.Module):
      ...     def __init__(self, rngs):
      ...         self.hidden, self.out = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
      ...     def __call__(self, x):
      ...         return self.out(nnx.relu(self.hidden(x)))
      >>> net, x = Net(nnx.Rngs(0)), jnp.ones((2, 4))
      >>> retrofit = parametrise(net, x)
      >>> [(change.name, change.function, change.features) for change in retrofit.changed]
      [('relu', 'relu', (8,))]
      >>> bool((retrofit.model(x) == net(x)).all())
      True
    """
    options = Options(
        sharing, trainable, start, functions_in(also), only, except_, gates, per_layer, jnp.dtype(param_dtype)
    )
    if isinstance(model, nnx.Module):
        model = nnx.clone(model)
        plan, rewritten = _plan(nnx_call(model, kwargs.pop("method", "__call__"), args, kwargs)[0], options)
        parametrised = Parametrised(model, plan.values(), rewritten)
        return Retrofit(parametrised, None, None, plan.changed, plan.untouched)
    call = applied(model, args)
    variables, *rest = args
    if isinstance(call, LinenCall) and KEY in variables.get("params", {}):
        raise ValueError(f"expected a linen module without params named {KEY!r}, got one; rename the module there")
    plan, rewritten = _plan(call.of(variables, tuple(rest), kwargs), options)
    apply = Apply(call, rewritten)
    return Retrofit(None, apply, call.joined(variables, plan.values()), plan.changed, plan.untouched)


def _plan(call: Call, options: Options) -> tuple[Plan, Rewritten]:
    try:
        example = read(call, options.also)
    except TypeError as error:
        raise explained(error, call) from error
    plan = Plan(example.found, options, call.scope)
    return plan, Rewritten.of(example, plan.trainable, options.also)
