"""The functions of a long training as programs of one trial."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from paramact_jax.programs.program import Program, afresh, shapes_of, trace
from paramact_jax.sweeps.arguments import accepted, check_call, has_parameter, in_one_line
from paramact_jax.sweeps.checks import Raised, counted_anew, has_checks
from paramact_jax.sweeps.dataset import named
from paramact_jax.sweeps.grid import Choice, trial_key
from paramact_jax.sweeps.settings import ITERATION
from paramact_jax.sweeps.stopping import STOP, STOPPED, STOPS, check_stop
from paramact_jax.sweeps.storage.state import check_same_kind, pack, unpack


@dataclasses.dataclass(frozen=True)
class Training:
    """A training as pure functions of one trial.

    Each function gets the settings and the values of axes that it has parameters for.

    Attributes:
      init: (key, **settings) -> state: any tree of arrays, random keys included.
      step: (state, **settings) -> state: one iteration, which keeps tree, shapes and dtypes. If it has a parameter
        `iteration`, it gets the number of iterations made before, the same for all trials. A `jax.lax.cond` on that
        number therefore stays a branch. On an accelerator the branches are known in advance and cost no time.
      summarise: (state, **settings) -> results: any tree of arrays.
      observe: (state, **settings) -> values to record during training: any tree of arrays; see `observe_every`.
      stop: (state, **settings) -> whether the trial stops, one boolean; see `stop_every`. A comparison with NaN is
        never true. To stop trials that converge or diverge, use `~jnp.isfinite(loss) | (loss < 1e-3)`.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    summarise: Callable[..., Any]
    observe: Callable[..., Any] | None = None
    stop: Callable[..., Any] | None = None


class Trainable(Protocol):
    """An object with the functions of a `Training`, such as `training.Classifier`; it may lack `observe` and `stop`."""

    @property
    def init(self) -> Callable[..., Any]:
        """See `Training`."""

    @property
    def step(self) -> Callable[..., Any]:
        """See `Training`."""

    @property
    def summarise(self) -> Callable[..., Any]:
        """See `Training`."""


def functions_at(training: Any, choice: Choice, every: Mapping[str, int | None]) -> tuple[dict[str, Any], list[str]]:
    """Returns the functions of a training at a choice of the static settings, and the settings that it is made of.

    Args:
      training: a `Training` or another `Trainable`, or a function of static settings that returns one.
      choice: the static settings.
      every: by name of a function that is called during training, the number of iterations between two calls.

    Returns:
      The functions by name, and the names of the static settings that `training` takes.

    Raises:
      ValueError: in one line, for a training that lacks a function, or a `training` that takes other settings.
    """
    taken: list[str] = []
    if callable(training) and not hasattr(training, "step"):
        own = inspect.signature(training).parameters.values()
        any_name = any(x.kind is x.VAR_KEYWORD for x in own)
        taken = [name for name in choice.settings if any_name or name in {x.name for x in own}]
        for x in own:
            if x.name not in taken and x.default is x.empty and x.kind not in (x.VAR_KEYWORD, x.VAR_POSITIONAL):
                raise ValueError(
                    f"training: expected a static setting for its parameter {x.name!r}, got none; pass it in "
                    f"static_axes, or name it in static_argnames"
                )
        training = training(**{name: choice.settings[name] for name in taken})
    if not hasattr(training, "step"):
        raise ValueError(
            f"training: expected a Training, or a function of static settings that returns one, got "
            f"{in_one_line(training)}; make one with sweeps.Training"
        )
    functions = {field.name: getattr(training, field.name, None) for field in dataclasses.fields(Training)}
    for name, iterations in every.items():
        if (functions[name] is None) != (iterations is None):
            raise ValueError(
                f"{name}_every: expected a number of iterations with a training that has `{name}`, and none without, "
                f"got {iterations!r}; give both or neither"
            )
        if iterations is None:
            del functions[name]
    check_call(functions)
    return functions, taken


def trace_training(
    functions: Mapping[str, Callable[..., Any]],
    one: dict[str, Any],
    settings: dict[str, Any],
    choice: Mapping[str, Any],
) -> dict[str, Program]:
    """Returns the functions as programs of one trial with its state packed, for a choice of the static settings.

    A `checkify.check` that fails in a step becomes a part of the state and of the results of `summarise`.

    Args:
      functions: of a `Training`, by name.
      one: shapes of a trial.
      settings: shapes of the traced settings.
      choice: the static settings.

    Raises:
      ValueError: in one line, for what `long_sweep` refuses.
    """

    def called(fn: Callable[..., Any], first: Any, *values: Mapping[str, Any]) -> Any:
        return fn(first, **accepted(fn, {name: x for given in (*values, choice) for name, x in given.items()}))

    def init(trial: dict[str, Any], settings: dict[str, Any]) -> Any:
        return pack(called(functions["init"], trial_key(trial["seed"]), trial["axes"], settings))

    def step(trial: dict[str, Any], settings: dict[str, Any], iteration: jax.Array) -> Any:
        own = {ITERATION: iteration} if has_parameter(functions["step"], ITERATION) else {}
        after = pack(called(functions["step"], unpack(trial["state"]), trial["axes"], settings, own))
        check_same_kind(trial["state"], after)
        return after

    def of_state(name: str) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
        def told(trial: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
            found = called(functions[name], unpack(trial["state"]), trial["axes"], settings)
            return check_stop(found) if name == STOP else named(found, what=name)

        return told

    others = {name: of_state(name) for name in functions if name not in ("init", "step")}
    iteration = jax.ShapeDtypeStruct((), np.int32)

    def programs(init: Any, step: Any, others: Mapping[str, Any]) -> dict[str, Program]:
        begun = trace(init, one, settings)
        standing = {"state": begun.outputs, "axes": one["axes"]}
        if not jax.tree.leaves(standing):
            raise ValueError("init: expected a state with an array, got none; return what a step changes")
        stepped = trace(step, standing, settings, iteration)
        return {"init": begun, "step": stepped, **{name: trace(fn, standing, settings) for name, fn in others.items()}}

    with afresh(), counted_anew():
        found = programs(init, step, others)
        if elsewhere := [name for name, program in found.items() if name != "step" and has_checks(program)]:
            raise ValueError(f"{elsewhere[0]}: expected checkify.check in the step only, got one here; move it there")
        if not has_checks(found["step"]):
            return found
        raised = Raised(step, {"state": found["init"].outputs, "axes": one["axes"]}, settings, iteration)
        told = {name: raised.told(fn, tell=name == "summarise") for name, fn in others.items()}
        return programs(raised.init(init), raised.step, told)


def repeated(
    step: Program, one: dict[str, Any], settings: Mapping[str, Any], count: int | None = None, *, stops: bool = False
) -> Program:
    """Returns a program that repeats a step from one iteration to another.

    Parts of the state that the step does not change stay outside the loop.

    Args:
      step: one iteration.
      one: shapes of a trial.
      settings: of the sweep.
      count: number of iterations, if the compiled program has to know it; it then ignores the last iteration.
      stops: whether a trial has another part, "stopped", which says whether its state stays as it is.

    Returns:
      A program from {"state", "axes"} to the same, later. So its result can replace its argument in memory.
    """
    structure = jax.tree.structure(step.outputs)
    given = step.closed.jaxpr.invars[len(jax.tree.leaves(one["axes"])) :]  # "axes" come before "state"
    changes = [before is not after for before, after in zip(given, step.closed.jaxpr.outvars, strict=False)]

    def advance(trial: dict[str, Any], shared: tuple[dict[str, Any], jax.Array, jax.Array]) -> Any:
        settings, begin, end = shared
        leaves = jax.tree.leaves(trial["state"])

        def whole(changed: Sequence[Any]) -> Any:
            rest = iter(changed)
            return jax.tree.unflatten(structure, [next(rest) if c else x for c, x in zip(changes, leaves, strict=True)])

        def again(iteration: jax.Array, changed: Sequence[Any]) -> list[Any]:
            after = jax.tree.leaves(step({"state": whole(changed), "axes": trial["axes"]}, settings, iteration))
            return [x for c, x in zip(changes, after, strict=True) if c]

        changed = before = [x for c, x in zip(changes, leaves, strict=True) if c]
        if count == 1:
            changed = again(begin, changed)
        elif count is not None:
            changed = lax.fori_loop(0, count, lambda i, changed: again(begin + i, changed), changed)
        else:
            changed = lax.fori_loop(begin, end, again, changed)
        if stops:
            changed = [jnp.where(trial[STOPPED], x, y) for x, y in zip(before, changed, strict=True)]
        return trial | {"state": whole(changed)}

    number = jax.ShapeDtypeStruct((), np.int32)
    trial = {"state": step.outputs, "axes": one["axes"]} | ({STOPPED: STOPS[STOP]} if stops else {})
    return trace(advance, trial, (shapes_of(settings), number, number))
