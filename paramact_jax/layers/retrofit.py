"""Makes the activations of any model trainable, with outputs unchanged at the start."""

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
from paramact_jax.layers.plan import Change, Options, Plan, Start, Untouched
from paramact_jax.layers.rewritten import Rewritten, read
from paramact_jax.layers.sharing import Kind


@dataclasses.dataclass(frozen=True)
class Retrofit:
    """What `parametrise` made of a model. Printed, it lists every elementwise nonlinear function that was seen.

    Attributes:
      model: of an nnx module: the module with trainable activations. None otherwise.
      apply: of a linen module or function: what to call, with `variables` first. None for an nnx module.
      variables: of a linen module: its variables, with a and b under `["params"]["activations"]`. Of a function:
        {"params": its params, "activations": a and b}. None for an nnx module.
      changed: what is trainable now, in the order of the program.
      untouched: what was left.
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
    also: Collection[Function] = (),
    only: str | Collection[str] = "*",
    except_: str | Collection[str] = (),
    gates: bool = False,
    per_layer: bool = True,
    param_dtype: DTypeLike = jnp.float32,
    **kwargs: Any,
) -> Retrofit:
    """Makes every activation f(y) of a model trainable: a f(y - b), at a = 1 and b = 0, which leaves outputs as before.

    The model is called once with the example to trace what it does; nothing is computed. Found is every elementwise
    nonlinear function in it: those of `jax.nn` and Flax, tanh, sine and the logistic function wherever they are
    called, and functions that are written out in several operations, told by their values. Every place in the program
    that applies one gets a and b of its own. The result takes inputs of other sizes than the example's; it is traced
    again for them. What the printed result lists as left stays as it is:

    - sigmoids that are gates of recurrent cells, unless `gates` is True,
    - functions of parameters alone or of inputs alone, and parts of norms, softmax and losses,
    - functions that are not known as activations: exponentials, powers, roots. `also` makes them known.

    - what lies within a function with a derivative rule of its own, as in `odeint`: the rule would be lost.

    A program that takes derivatives of a network, as a physics-informed network does, uses an activation in the
    function and in its derivatives. These share a and b, so that the derivatives stay those of the function. There,
    activations are found where they are called; one that is written out in several operations is left, unless
    `jax.jit` is put around it. All uses of one function that depend on the same parameters are one activation there.

    A function that a program applies twice to one array, as tanh in an action and in the logarithm of its density, is
    two activations, with an a and b each: leave them with `except_` where they have to stay one.

    [P]'s effect comes from its initial gain, 1.5 / max|f'|: pass start="steepest" for it.

    Args:
      model: an nnx module; a linen module, then its variables are the first of `args`; or a function
        f(params, *args, **kwargs), then its params are.
      *args: an example of the arguments that the model is called with.
      sharing: "node" or "channel": one a and b for each entry of the axis of nodes or channels, which is found from
        where the parameters lie; a number where there is no such axis. "layer": one for all. "element": one for each
        element of all axes but the first, which is taken for the batch.
      trainable: which of "a" and "b" are learned; by default both. The other stays at its start value.
      start: "unchanged"; "steepest": a = 1.5 / max|f'| [P, section 4.1]; "critical": the gain at which the gradient of
        a deep network with weights of deviation 1/sqrt(fan_in) keeps its size, see `activations.critical_gain`; or
        start values by name, {"a": 2.0}.
      also: other elementwise functions of yours that are activations.
      only: patterns as of `fnmatch`. Changed is what one of them matches: an activation's name, the name of a module
        that it lies in, or its line, as "net.py:12".
      except_: the same for what is left.
      gates: whether gates of recurrent cells are changed too.
      per_layer: whether an activation in a scan over layers has an a and b for each of them.
      param_dtype: dtype of a and b.
      **kwargs: named arguments of the example. `method` names what is called instead of `__call__`, for nnx too. An
        argument of the model that has the name of an option above is given by `functools.partial`.

    Raises:
      TypeError: if `model` is no module and no function, or an argument of the example is missing.
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
    options = Options(sharing, trainable, start, tuple(also), only, except_, gates, per_layer, jnp.dtype(param_dtype))
    if isinstance(model, nnx.Module):
        model = nnx.clone(model)
        plan = _plan(nnx_call(model, kwargs.pop("method", "__call__"), args, kwargs)[0], options)
        parametrised = Parametrised(model, plan.values(), Rewritten(plan.trainable, options.also))
        return Retrofit(parametrised, None, None, plan.changed, plan.untouched)
    call = applied(model, args)
    variables, *rest = args
    if isinstance(call, LinenCall) and KEY in variables.get("params", {}):
        raise ValueError(f"expected a linen module without params named {KEY!r}, got one; rename the module there")
    plan = _plan(call.of(variables, tuple(rest), kwargs), options)
    apply = Apply(call, Rewritten(plan.trainable, options.also))
    return Retrofit(None, apply, call.joined(variables, plan.values()), plan.changed, plan.untouched)


def _plan(call: Call, options: Options) -> Plan:
    try:
        found = read(call, options.also).found
    except TypeError as error:
        raise explained(error, call) from error
    return Plan(found, options, call.scope)
