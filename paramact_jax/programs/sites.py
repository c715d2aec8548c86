"""Finds where a program applies an activation: every elementwise nonlinear function of one array, and its name."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core

from paramact_jax.activations.record import Function
from paramact_jax.programs.chains import Chains, is_elementwise
from paramact_jax.programs.marks import mark_p
from paramact_jax.programs.naming import Naming, is_strong
from paramact_jax.programs.origins import Origin, an_input, constant, parameter, through, union
from paramact_jax.programs.places import Place, place_of
from paramact_jax.programs.program import (
    CUSTOM,
    Operation,
    Program,
    called_by,
    inputs_of,
    name_of,
    opened,
    parts_of_scan,
    parts_of_while,
    programs_of,
    walk,
)
from paramact_jax.programs.site import OF_INPUTS, Site


def sites(
    program: Program,
    learned: Sequence[bool],
    *,
    also: Sequence[Function] = (),
    marks: bool = False,
    choices: bool = False,
) -> list[Site]:
    """Returns all places, in order, where a program applies an elementwise nonlinear function to one array.

    Args:
      program: a program from `trace`.
      learned: for each array among its arguments, whether it is a learned parameter; all others are inputs.
      also: further elementwise functions that count as activations, recognised by their values.
      marks: whether the program was traced with its activations marked, since it takes derivatives. Functions that are
        written out in several operations are then left as they are.
      choices: whether choices between values by others, which are no functions of one array, are sites too.
    """
    origins = [
        parameter(number, v.aval.shape) if is_learned else an_input(v.aval.shape, v.aval.dtype)
        for number, (v, is_learned) in enumerate(zip(program.closed.jaxpr.invars, learned, strict=True))
    ]
    found = _Reading(Naming(also, marks=marks), choices).read(program.closed, origins, _Around())[1]
    return found if marks else _with_repeated_cells(found, opened(program.closed)[0])


class _Around(NamedTuple):
    """The operations around a program, and the scans around it by what they run over."""

    within: tuple[Any, ...] = ()
    layers: tuple[int, ...] = ()
    layer_scans: tuple[Any, ...] = ()
    steps: tuple[int, ...] = ()
    recurrent: bool = False

    def inside(self, equation: Any) -> _Around:
        return self._replace(within=(*self.within, equation))


Found = tuple[list[Origin], list[Site]]


class _Reading:
    """Reads programs, with the programs of loops, branches and calls inside."""

    def __init__(self, naming: Naming, choices: bool) -> None:
        self._naming, self._choices = naming, choices

    def read(self, program: Any, origins: Sequence[Origin], around: _Around) -> Found:
        """Returns the origins of a program's outputs, and its sites."""
        jaxpr, _ = opened(program)
        env: dict[Any, Origin] = {v: constant(v.aval.shape) for v in jaxpr.constvars}
        env.update(zip(jaxpr.invars, origins, strict=True))

        def read(atom: Any) -> Origin:
            return constant(np.shape(atom.val)) if isinstance(atom, core.Literal) else env[atom]

        inner: dict[int, list[Site]] = {}
        for equation in jaxpr.eqns:
            made, inner[id(equation)] = self._of(equation, inputs_of(equation, read), around)
            env.update(zip(equation.outvars, made, strict=True))
        taken: set[int] = set()
        for site in self._pieces(jaxpr, env, around):
            taken.update(map(id, site.equations))
            inner[id(site.operation.equation)] = [site]
        for equation in jaxpr.eqns:
            if id(equation) in taken or not is_elementwise(equation):
                continue
            if (called := called_by(equation)) is not None:
                inner[id(equation)] = self.read(called, inputs_of(equation, read), around.inside(equation))[1]
            elif self._choices and name_of(equation) == "select_n" and read(equation.invars[0]).nearest:
                inner[id(equation)] = list(_a_choice(equation, read(equation.outvars[0]), around))
        found = [site for equation in jaxpr.eqns for site in inner[id(equation)]]
        return [read(atom) for atom in jaxpr.outvars], found

    def _of(self, equation: Any, origins: list[Origin], around: _Around) -> Found:
        name, inside = name_of(equation), around.inside(equation)
        if is_elementwise(equation):  # read as a whole first
            return through(equation, origins), []
        if (called := called_by(equation)) is not None:
            made, found = self.read(called, origins, inside)
            if name in CUSTOM:  # a replacement inside would remove the rule
                found = [dataclasses.replace(site, why=site.why or _RULE) for site in found]
            return made, found
        if name == "scan":
            return self._of_scan(equation, origins, inside)
        if name == "while":
            return self._of_while(equation, origins, inside)
        if name == "cond":
            return self._of_branches(equation, origins[1:], inside)
        made = through(equation, origins)
        if programs := programs_of(equation):
            return made, [site for program in programs for site in _closed_to_us(program, inside, origins)]
        return made, []

    def _of_scan(self, equation: Any, origins: list[Origin], inside: _Around) -> Found:
        consts, carry, xs = parts_of_scan(equation, origins)
        over_layers = any(x.of_parameters for x in xs)
        length = (equation.params["length"],)
        inside = inside._replace(
            layers=inside.layers + length * over_layers,
            layer_scans=inside.layer_scans + (tuple(map(id, inside.within)),) * over_layers,
            steps=inside.steps + length * (not over_layers),
            recurrent=inside.recurrent or bool(carry and not over_layers),
        )
        step = [x._replace(axes=x.axes[1:]) for x in xs]
        carry, (made, found) = _until_settled(
            carry, lambda carry: self.read(equation.params["jaxpr"], [*consts, *carry, *step], inside)
        )
        return [*carry, *(y._replace(axes=(0, *y.axes)) for y in made[len(carry) :])], found

    def _of_while(self, equation: Any, origins: list[Origin], inside: _Around) -> Found:
        _, body, carry = parts_of_while(equation, origins)
        inside = inside._replace(recurrent=True)
        carry, (_, found) = _until_settled(
            carry, lambda carry: self.read(equation.params["body_jaxpr"], [*body, *carry], inside)
        )
        return carry, found

    def _of_branches(self, equation: Any, origins: list[Origin], inside: _Around) -> Found:
        made, found = zip(*(self.read(b, origins, inside) for b in equation.params["branches"]), strict=True)
        return [union(*o) for o in zip(*made, strict=True)], [site for of_one in found for site in of_one]

    def _pieces(self, jaxpr: Any, env: Mapping[Any, Origin], around: _Around) -> Iterator[Site]:
        """Yields the sites with all their operations in this program."""
        chains = Chains(jaxpr, env, marks=self._naming.marks)
        for piece in self._naming.pieces(chains):
            last = piece.equations[-1]
            operation = Operation(last, around.within)
            place, origin = place_of(operation), env[piece.y]
            recurrent = around.recurrent or any("Cell" in line.function for line in place.lines)
            yield Site(
                operation,
                piece.equations,
                piece.y,
                chains.held(piece),
                chains.fixed(piece),
                piece.function,
                place,
                origin,
                _left_for(place, origin) or piece.why,
                recurrent,
                chains.multiplies(last.outvars[0]),
                chains.scale(piece.y) if last.primitive is mark_p else 1.0,
                around.layers,
                around.layer_scans,
                around.steps,
            )


def _a_choice(equation: Any, origin: Origin, around: _Around) -> Iterator[Site]:
    """Yields a choice between values, by others that depend on parameters, which is no function of one array."""
    (made,) = equation.outvars
    if origin.moves:
        place = place_of(operation := Operation(equation, around.within))
        why = _left_for(place, origin) or "not known as an activation; if it is one here, write it with jnp.where"
        yield Site(operation, (equation,), made, (), None, "select", place, origin, why)


_RULE = "within a function with a derivative rule of its own, which would be lost"


def _until_settled(carry: list[Origin], body: Callable[[list[Origin]], Found]) -> tuple[list[Origin], Found]:
    """Follows the carried values through a loop until one more step adds nothing to their origins."""
    while True:
        found = body(carry)
        after = [union(o, new) for o, new in zip(carry, found[0], strict=False)]
        if after == carry:
            return carry, found
        carry = after


def _closed_to_us(program: Any, inside: _Around, origins: Sequence[Origin]) -> Iterator[Site]:
    """Yields the activations in an operation that is not a call, a loop or a branch; they are left as they are."""
    origin = union(*(o._replace(axes=()) for o in origins)) if origins else Origin()
    for operation in walk(program, inside.within):
        if is_strong(operation.equation):
            y = operation.equation.invars[0]
            why = f"within {name_of(inside.within[-1])!r}, where no operation is changed"
            own = origin._replace(axes=(0,) * len(y.aval.shape))
            place, name = place_of(operation), name_of(operation.equation)
            yield Site(operation, (operation.equation,), y, (), None, name, place, own, why)


def _left_for(place: Place, origin: Origin) -> str:
    """Returns why a function does not count as an activation to be made trainable; empty: it counts."""
    if (within := place.library) is not None:
        return within
    if not origin.inputs:
        return "of parameters alone"
    if not origin.learned:
        return OF_INPUTS
    return ""


def _with_repeated_cells(found: list[Site], jaxpr: Any) -> list[Site]:
    """Marks sites as recurrent if a Python loop applies them at one line to their own results with the same params."""
    groups: dict[Any, list[Site]] = {}
    for site in found:
        if site.place.own_lines:
            groups.setdefault((site.place.own_lines, site.function), []).append(site)
    recurrent: set[int] = set()
    for group in groups.values():
        for before, after in itertools.pairwise(group):
            if before.origin.learned == after.origin.learned and _depends(jaxpr, after, before):
                recurrent.update(id(s) for s in group if s.origin.learned <= after.origin.learned)
    gates = {(site.place.own_lines, site.function) for site in found if id(site) in recurrent and site.multiplies}

    def told(site: Site) -> Site:
        if id(site) not in recurrent:
            return site
        # in the first step a gate may multiply zeros
        multiplies = site.multiplies or (site.place.own_lines, site.function) in gates
        return dataclasses.replace(site, recurrent=True, multiplies=multiplies)

    return list(map(told, found))


def _depends(jaxpr: Any, after: Site, before: Site) -> bool:
    """Returns whether one site depends on another, judged by the outermost operations of the program."""
    first, last = ((*site.operation.within, site.operation.equation)[0] for site in (before, after))
    reached = set(first.outvars)
    started = False
    for equation in jaxpr.eqns:
        if started and not reached.isdisjoint(a for a in equation.invars if not isinstance(a, core.Literal)):
            if equation is last:
                return True
            reached.update(equation.outvars)
        started = started or equation is first
    return False
