"""Groups the operations of a program, and says what each group does to a gradient on its way back.

Groups are recognised by what the operations compute, not by the names of modules: a norm, a softmax or an activation is
the same whether it is a module, a library's function or written out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from paramact_jax.programs import likeness
from paramact_jax.programs.naming import text_of
from paramact_jax.programs.places import TRAINABLE, is_trainable, place_of
from paramact_jax.programs.pointwise import UnevenError, pointwise
from paramact_jax.programs.program import REMAT, called_by, opened, walk
from paramact_jax.programs.recognition import LAID_OUT, Known, Records, recognise
from paramact_jax.programs.rules import ELEMENTWISE
from paramact_jax.programs.site import Site
from paramact_jax.programs.steps import FlatProgram, Step, flatten, written_out


class Kind(enum.StrEnum):
    """What an operation is to a gradient that passes it backwards."""

    LINEAR = "linear"
    """A product with a kernel, and its bias."""
    ACTIVATION = "activation"
    """An elementwise nonlinear function, together with the a and b of a f(y - b)."""
    NORMALISATION = "normalisation"
    """Subtracts a mean, divides by a norm or deviation, and applies learned parameters; also with stored statistics."""
    RESIDUAL = "residual sum"
    """The sum of the gradients of several uses of one array: of a skip and a branch, of queries, keys and values."""
    SCALE = "scale"
    """A product with numbers that depend on no input."""
    GATE = "gate"
    """A product or quotient of two arrays that both depend on the input, element by element."""
    SOFTMAX = "softmax"
    """A softmax, its logarithm, or a log-sum-exp."""
    PRODUCT = "attention product"
    """A matrix product of two arrays that both depend on the input."""
    POOLING = "pooling"
    """A sum, mean, maximum or similar over axes or windows."""
    MASKING = "masking"
    """Chooses some entries and replaces others: dropout, an attention mask."""
    RESHAPING = "reshaping"
    """Moves, repeats or leaves out entries."""
    ELEMENTWISE = "elementwise"
    """An elementwise function that is not known as an activation, such as exp or a square."""
    OTHER = "other"
    """None of the kinds above, such as an FFT, a branch or a solver."""


class Level(enum.IntEnum):
    """What an array depends on."""

    FIXED = 0
    """On neither an argument nor a learned parameter."""
    INPUT = 1
    """On an argument through which no gradient is followed: token ids, a mask."""
    LEARNED = 2
    """On learned parameters only."""
    DATA = 3
    """On arguments of a float dtype, or on learned parameters that an argument selects: the gradient's way."""


@dataclasses.dataclass(eq=False)
class Group:
    """A group of operations that count as one.

    Attributes:
      steps: the operations, in order.
      kind: what they do.
      function: name of the function that they compute.
      site: the activation that they are; None: they are none.
      known: the record of this activation, with numbers of the arrays of its parameters; None: it has no record.
      factor: constant factor, written in the operations, that multiplies a known activation.
    """

    steps: list[Step]
    kind: Kind
    function: str
    site: Site | None = None
    known: Known | None = None
    factor: float = 1.0

    @property
    def takes(self) -> tuple[int, ...]:
        """All arrays that the steps take from other steps."""
        made = {number for step in self.steps for number in step.outputs}
        return tuple(dict.fromkeys(n for step in self.steps for n in step.inputs if n not in made))


_LINEAR = frozenset(("dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general"))
_SUMS = frozenset(("add", "sub", "add_any", "neg"))
_CHOICES = frozenset(("select_n", "clamp"))
_RESHAPING = frozenset(
    name
    for names in (
        "broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice dynamic_update_slice expand_dims",
        "gather imag optimization_barrier pad real reduce_precision reshape rev scatter scatter-add slice sort split",
        "squeeze top_k transpose",
    )
    for name in names.split()
)
_KEEPING = frozenset(("copy", "copy_p", "expand_dims", "neg", "optimization_barrier", "reshape", "rev"))
_KEEPING |= {"squeeze", "transpose"}
"""Operations that leave the norm of a gradient as it is."""
_PLAIN_NAMES = {
    "dot_general": "matrix product",
    "conv_general_dilated": "convolution",
    "reduce_sum": "sum",
    "reduce_max": "maximum",
    "reduce_window_sum": "sums of windows",
    "reduce_window_max": "maxima of windows",
    "select_n": "choice",
    "max": "larger of two",
    "min": "smaller of two",
    **dict.fromkeys(REMAT, "recomputed part"),
}
_POOLING = ("reduce_", "cum", "select_and_", "argm")

_ORDER = (
    *(Kind.SOFTMAX, Kind.NORMALISATION, Kind.PRODUCT, Kind.LINEAR, Kind.ACTIVATION, Kind.POOLING, Kind.GATE),
    *(Kind.ELEMENTWISE, Kind.SCALE, Kind.MASKING, Kind.RESHAPING),
)
"""The kinds of a function with a derivative rule of its own, by precedence: it has the first one that it contains."""


def keeps_norm(group: Group, levels: Mapping[int, Level], flat: FlatProgram) -> bool:
    """Returns whether a group leaves the norm of every gradient that passes it as it is, up to rounding."""

    def keeps(step: Step) -> bool:
        if len(step.outputs) != 1:
            return False
        kinds = [v.aval.dtype for v in (*step.equation.invars, *step.equation.outvars)]
        if len({jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds}) > 1:
            return False  # the gradient by a real number is the real part
        data = {i for i in step.inputs if levels[i] is Level.DATA}
        if step.name in _KEEPING or (step.name == "convert_element_type" and levels[step.outputs[0]] is Level.DATA):
            return True
        alike = all(flat.shapes[i] == flat.shapes[step.outputs[0]] for i in data)
        return step.name in _SUMS and alike and len(data) == sum(levels[i] is Level.DATA for i in step.inputs)

    return len(group.steps) == 1 and keeps(group.steps[0])


def groups_of(
    flat: FlatProgram, levels: Mapping[int, Level], sites: Mapping[Any, Site], records: Records = ()
) -> list[Group]:
    """Returns the operations of a program in groups, in an order in which each group has its inputs.

    Args:
      flat: the program.
      levels: levels of all its arrays.
      sites: activations by the keys of all their operations.
      records: activations that the model holds, in addition to those of the catalogue.
    """
    return _Grouping(flat, levels, records).grouped(sites)


class _Grouping:
    def __init__(self, flat: FlatProgram, levels: Mapping[int, Level], records: Records) -> None:
        self._flat, self._levels, self._records = flat, levels, records
        self._position = {id(step): i for i, step in enumerate(flat.steps)}
        self._makers = flat.makers()
        self._users: dict[int, list[Step]] = {}
        for step in flat.steps:
            for number in dict.fromkeys(step.inputs):
                self._users.setdefault(number, []).append(step)
        self._owner: dict[int, Group] = {}

    def grouped(self, sites: Mapping[Any, Site]) -> list[Group]:
        """Returns the groups."""
        for group in itertools.chain(self._trainable(sites), self._sites(sites)):
            if not any(id(step) in self._owner for step in group.steps) and self._closed(group.steps):
                self._take(group)
        for step in self._flat.steps:
            if id(step) not in self._owner:
                self._take(Group([step], self._kind(step), _name(step)))
        self._find_regions()
        self._attach()
        return self._in_order()

    def _in_order(self) -> list[Group]:
        """Returns the groups in the order of their last steps."""
        unique = {id(group): group for group in self._owner.values()}
        return sorted(unique.values(), key=lambda group: self._position[id(group.steps[-1])])

    def _take(self, group: Group) -> None:
        group.steps.sort(key=lambda step: self._position[id(step)])
        for step in group.steps:
            self._owner[id(step)] = group

    def _is_data(self, number: int) -> bool:
        return self._levels[number] is Level.DATA

    def _data(self, steps: Iterable[Step]) -> list[int]:
        """Returns the arrays that depend on data and that the steps take from other steps."""
        steps = list(steps)
        made = {number for step in steps for number in step.outputs}
        read = (number for step in steps for number in step.inputs)
        return list(dict.fromkeys(number for number in read if self._is_data(number) and number not in made))

    def _closed(self, steps: Sequence[Step]) -> bool:
        """Returns whether no other step needs the results of these steps, except those of the last one."""
        own = set(map(id, steps))
        return all(
            number not in self._flat.outputs and all(id(user) in own for user in self._users.get(number, ()))
            for step in steps[:-1]
            for number in step.outputs
        )

    def _only_user(self, number: int) -> Step | None:
        users = self._users.get(number, [])
        return users[0] if len(users) == 1 and number not in self._flat.outputs else None

    def _maker(self, number: int) -> Group | None:
        maker = self._makers.get(number)
        return None if maker is None else self._owner.get(id(maker))

    # activations

    def _trainable(self, sites: Mapping[Any, Site]) -> Iterator[Group]:
        """Yields the layers of this package, which compute a f(y - b) or a record with parameters."""
        if not any(site.why == TRAINABLE for site in sites.values()):
            return
        run: list[Step] = []
        for step in (*self._flat.steps, None):
            if step is not None and is_trainable(place_of(step.operation)):
                run.append(step)
                continue
            data = [s for s in run if any(map(self._is_data, s.outputs))]
            if data and len(self._data(run)) == 1 and len(data[-1].outputs) == 1:
                inside = (sites[s.operation.key] for s in run if s.operation.key in sites)
                site = next(inside, None)
                kept = [s for s in run if self._position[id(s)] <= self._position[id(data[-1])]]
                yield self._activation(kept, site, "activation")
            run = []

    def _sites(self, sites: Mapping[Any, Site]) -> Iterator[Group]:
        steps: dict[int, list[Step]] = {}
        found: dict[int, Site] = {}
        for step in self._flat.steps:
            if (site := sites.get(step.operation.key)) is not None:
                steps.setdefault(id(site), []).append(step)
                found[id(site)] = site
        for number, site in found.items():
            own = self._without_bias(steps[number])
            if any(id(step) in self._owner for step in own):
                continue
            if not any(map(self._is_data, own[-1].outputs)) or len(self._data(own)) != 1:
                continue
            if site.is_activation:
                ways = (self._with_parameters(steps) for steps in self._ways_to_cut(own))
                groups = [self._activation(steps, site) for steps in ways]
                yield next((group for group in groups if group.known is not None), groups[-1])
            elif site.place.library is None:
                group = self._activation(own, site)
                is_known = group.known is not None or group.factor != 1
                yield group if is_known else Group(own, Kind.ELEMENTWISE, site.function)

    def _without_bias(self, steps: list[Step]) -> list[Step]:
        """Returns the steps without a bias that is added first, and without layouts of parameters."""
        own = [step for step in steps if any(map(self._is_data, step.outputs)) or not self._lays_out_learned(step)]
        if len(own) > 1 and own[0].name == "add" and self._is_with_learned(own[0]):
            return own[1:]
        return own

    def _lays_out_learned(self, step: Step) -> bool:
        return step.name in LAID_OUT and all(self._levels[number] is Level.LEARNED for number in step.outputs)

    def _activation(self, steps: list[Step], site: Site | None, name: str = "") -> Group:
        """Returns a group that is an activation, with its closed form if it is known."""
        steps.sort(key=lambda step: self._position[id(step)])
        known = self._recognised(steps)
        if known is not None:
            return Group(steps, Kind.ACTIVATION, known.record.name, site, known)
        if site is None:
            return Group(steps, Kind.ACTIVATION, name)
        function, factor = self._multiple(steps, site) or (site.function, 1.0)
        return Group(steps, Kind.ACTIVATION, function, site, None, factor)

    def _multiple(self, steps: Sequence[Step], site: Site) -> tuple[str, float] | None:
        """Returns the known activation that a function without parameters is a multiple of, and the factor if not 1."""
        atoms = {n: v for step in steps for n, v in zip(step.inputs, step.equation.invars, strict=True)}
        learned = any(level is Level.LEARNED for step in steps for level in map(self._levels.get, step.inputs))
        if site.before is None or learned:
            return None
        (y,) = (atoms[number] for number in self._data(steps))
        equations = [*site.before, *(step.equation for step in steps)]
        text = text_of(equations, y)
        if text not in _MULTIPLES:
            try:
                values = likeness.values_of(lambda own: pointwise(equations, y, own), y.aval.dtype)
                _MULTIPLES[text] = likeness.known_multiple(values, y.aval.dtype)
            except UnevenError:
                _MULTIPLES[text] = None
        found = _MULTIPLES[text]
        return None if found is None or abs(abs(found[1]) - 1) < 1e-3 else found

    def _recognised(self, steps: Sequence[Step]) -> Known | None:
        """Returns the record that computes the steps' last array from data, and the arrays that hold its parameters."""
        (y,), (z,) = self._data(steps), steps[-1].outputs
        kinds = {n: v.aval for step in steps for n, v in zip(step.inputs, step.equation.invars, strict=True)}
        last = steps[-1].equation.outvars[0].aval
        if (last.shape, last.dtype) != (kinds[y].shape, kinds[y].dtype):
            return None
        program = written_out(self._flat, steps)
        return recognise(program, y, z, last.dtype, self._records)

    def _ways_to_cut(self, steps: list[Step]) -> list[list[Step]]:
        """Returns ways to separate an activation from products with numbers, such as the frequency in sin(30 y).

        Some activations include such numbers, as 0.5 tanh(0.5 y), but only known activations. The last way has none.
        """
        inner = steps
        while len(inner) > 1 and self._is_by_number(inner[0]) and self._data(inner[1:]) == list(inner[0].outputs):
            inner = inner[1:]
        while len(inner) > 1 and self._is_by_number(inner[-1]) and self._data(inner[-1:]) == list(inner[-2].outputs):
            if not self._closed(inner[:-1]):
                break
            inner = inner[:-1]
        ways = [inner]
        (y,) = self._data(inner)
        before, after = self._makers.get(y), self._only_user(inner[-1].outputs[0])
        first = [before] if before is not None and self._is_by_number(before) and self._closed([before, *inner]) else []
        last = [after] if after is not None and self._is_by_number(after) else []
        ways += (
            [first + inner] * bool(first) + [inner + last] * bool(last) + [first + inner + last] * bool(first + last)
        )
        return ways[::-1]

    def _is_by_number(self, step: Step) -> bool:
        """Returns whether a step multiplies or divides data by a number that is written in the program."""
        if step.name not in ("mul", "div") or (step.name == "div" and not self._is_data(step.inputs[0])):
            return False
        others = [number for number in step.inputs if not self._is_data(number)]
        return len(others) == 1 and self._is_number(others[0])

    def _is_number(self, number: int) -> bool:
        if number in self._flat.literals:
            return True
        if number in self._flat.constants:
            return np.ndim(self._flat.constants[number]) == 0
        maker = self._makers.get(number)
        return (
            maker is not None and maker.name in (_RESHAPING | ELEMENTWISE) and all(map(self._is_number, maker.inputs))
        )

    def _with_parameters(self, steps: list[Step]) -> list[Step]:
        """Returns the steps with the learned a and b of a f(y - b), if they are written directly before and after f."""
        (y,) = self._data(steps)
        before = self._makers.get(y)
        if (
            before is not None
            and before.name == "sub"
            and self._is_with_learned(before)
            and all(id(user) in set(map(id, steps)) for user in self._users[y])
            and y not in self._flat.outputs
            and self._flat.shapes[y] == self._flat.shapes[self._data([before])[0]]
        ):
            steps = [before, *steps]
        after = self._only_user(steps[-1].outputs[0])
        if (
            after is not None
            and after.name == "mul"
            and self._is_with_learned(after)
            and self._flat.shapes[after.outputs[0]] == self._flat.shapes[y]
        ):
            steps = [*steps, after]
        return [*self._layouts(steps), *steps]

    def _is_with_learned(self, step: Step) -> bool:
        """Returns whether a step combines data with a learned parameter, as it is or in another layout."""
        others = [number for number in step.inputs if not self._is_data(number)]
        if len(others) != 1 or (step.name == "sub" and others != [step.inputs[1]]):
            return False
        return self._is_laid_out(others[0])

    def _is_laid_out(self, number: int) -> bool:
        while (maker := self._makers.get(number)) is not None and maker.name in _RESHAPING:
            number = maker.inputs[0]
        return maker is None and self._levels[number] is Level.LEARNED

    def _layouts(self, steps: Sequence[Step]) -> list[Step]:
        """Returns the steps that lay out the learned parameters of the given steps only."""
        found: list[Step] = []
        own = set(map(id, steps))
        pending = [number for step in steps for number in step.inputs]
        while pending:
            maker = self._makers.get(pending.pop())
            if maker is None or maker.name not in LAID_OUT or id(maker) in own:
                continue
            if self._levels[maker.outputs[0]] is Level.LEARNED and self._only_user(maker.outputs[0]) is not None:
                own.add(id(maker))
                found.append(maker)
                pending += maker.inputs
        return found

    # the kind of one operation

    def _kind(self, step: Step) -> Kind:
        data = [number for number in step.inputs if self._is_data(number)]
        name = step.name
        if name in _LINEAR:
            return Kind.LINEAR if len(set(data)) < 2 and len(data) < 2 else Kind.PRODUCT
        if name in ("mul", "div"):
            return self._kind_of_product(step, data)
        if name in _SUMS:
            return Kind.RESIDUAL if len(data) > 1 else Kind.RESHAPING
        if name in _CHOICES:
            return Kind.MASKING
        if name in _RESHAPING:
            return Kind.RESHAPING
        if name.startswith(_POOLING):
            return Kind.POOLING
        if name in ELEMENTWISE:
            return Kind.POOLING if name in ("max", "min") and len(set(data)) > 1 else Kind.ELEMENTWISE
        if (called := called_by(step.equation)) is not None and name not in REMAT:
            return _kind_of_program(called, tuple(self._levels[number] for number in step.inputs))
        return Kind.OTHER

    def _kind_of_product(self, step: Step, data: Sequence[int]) -> Kind:
        if len(data) > 1:
            return Kind.GATE if len(set(data)) > 1 else Kind.ELEMENTWISE
        if step.name == "div" and data == [step.inputs[1]]:
            return Kind.ELEMENTWISE
        others = [number for number in step.inputs if number not in data]
        return Kind.NORMALISATION if any(map(self._is_deviation, others)) else Kind.SCALE

    def _is_deviation(self, number: int) -> bool:
        """Returns whether an array that depends on no data comes from a root of a stored or learned array."""
        if self._is_data(number):
            return False
        pending, seen, roots = [number], set(), []
        while pending:
            maker = self._makers.get(pending.pop())
            if maker is None or id(maker) in seen or maker.name not in (_RESHAPING | ELEMENTWISE):
                continue
            seen.add(id(maker))
            roots += [maker.inputs[0]] if maker.name in ("sqrt", "rsqrt") else []
            pending += maker.inputs
        return any(not self._is_number(root) for root in roots)

    # norms and softmax: regions with one entry and one exit

    def _find_regions(self) -> None:
        """Joins the steps from one array to another if there is a reduction on a path between: a norm or a softmax."""
        dominators: dict[int, tuple[int, ...]] = {}
        for group in self._in_order():
            data = self._data(group.steps)
            ways = [dominators.get(number, (number,)) for number in data]
            common = functools.reduce(_common, ways) if ways else ()
            if len(data) > 1 and common and self._owner[id(group.steps[0])] is group:
                self._join(group, common[-1])
            for step in group.steps:
                for number in step.outputs:
                    dominators[number] = (*common, number)
            if group.steps[-1].name == "log":
                self._join_log_sum_exp(group)

    def _join(self, last: Group, entry: int) -> None:
        """Joins all steps between an array and the output of a group into one group, if they are a norm or softmax."""
        exit_name = last.steps[-1].name
        if exit_name not in ("mul", "div", "sub", "add"):
            return
        groups: dict[int, Group] = {}
        pending = [last]
        while pending:
            group = pending.pop()
            if id(group) in groups:
                continue
            groups[id(group)] = group
            for number in self._data(group.steps):
                if number != entry:
                    maker = self._maker(number)
                    if maker is None:
                        return
                    pending.append(maker)
        if any(group.kind in (Kind.ACTIVATION, Kind.LINEAR, Kind.PRODUCT, Kind.OTHER) for group in groups.values()):
            return
        steps = sorted((s for u in groups.values() for s in u.steps), key=lambda s: self._position[id(s)])
        names = {step.name for step in steps}
        if not any(name.startswith("reduce_") for name in names) or not self._closed(steps):
            return
        exponent = self._exponential(entry)
        is_softmax = (exit_name == "div" and (exponent or "exp" in names)) or ("exp" in names and "log" in names)
        if is_softmax:
            whole = [*(exponent or ()), *steps]
            alone = self._closed(whole)  # nothing else uses the exponential
            self._take(Group(whole if alone else steps, Kind.SOFTMAX, "softmax"))
        elif (
            exit_name != "add"
            and not any(group.kind is Kind.SOFTMAX for group in groups.values())
            and (names & {"sqrt", "rsqrt", "pow"} or exit_name in ("div", "sub"))
        ):
            self._take(Group(steps, Kind.NORMALISATION, "normalisation"))

    def _exponential(self, number: int) -> list[Step] | None:
        """Returns the exponential that makes an array, with masks after it; None if there is none."""
        steps: list[Step] = []
        while (maker := self._makers.get(number)) is not None and len(data := self._data([maker])) == 1:
            steps.insert(0, maker)
            if maker.name in ("exp", "exp2"):
                group = self._owner[id(maker)]
                return [*group.steps, *(s for s in steps if s not in group.steps)]
            if maker.name not in ("select_n", "mul", "convert_element_type"):
                return None
            number = data[0]
        return None

    def _join_log_sum_exp(self, group: Group) -> None:
        (number, *others) = self._data(group.steps) or [-1]
        before: list[Group] = [group]
        while not others and (maker := self._maker(number)) is not None and self._only_user(number) is not None:
            before.insert(0, maker)
            names = {step.name for step in maker.steps}
            if "exp" in names:
                steps = [step for u in before for step in u.steps]
                if any(step.name == "reduce_sum" for step in steps):
                    self._take(Group(steps, Kind.SOFTMAX, "log-sum-exp"))
                return
            if not names <= {"reduce_sum", "abs", "squeeze", "reshape", "mul", "select_n", "broadcast_in_dim"}:
                return
            number, *others = self._data(maker.steps) or [-1]

    # steps that belong to the operation before: a bias, the scale of a norm, the divisor of a mean

    def _attach(self) -> None:
        for step in self._flat.steps:
            group = self._owner[id(step)]
            data = self._data(group.steps)
            if len(group.steps) != 1 or len(data) != 1 or self._only_user(data[0]) is None:
                continue
            maker = self._maker(data[0])
            if maker is None or maker is group or len(step.outputs) != 1:
                continue
            alike = self._flat.shapes[data[0]] == self._flat.shapes[step.outputs[0]]
            learned = all(self._levels[n] in (Level.LEARNED, Level.FIXED) for n in step.inputs if n != data[0])
            added = step.name in _SUMS and step.name != "neg" and learned
            is_part = (
                (maker.kind is Kind.LINEAR and added)
                or (
                    maker.kind is Kind.NORMALISATION and (added or (step.name == "mul" and self._is_with_learned(step)))
                )
                or (maker.kind is Kind.POOLING and self._is_by_number(step))
            )
            if alike and is_part:
                maker.steps.append(step)
                self._take(maker)


_MULTIPLES: dict[str, tuple[str, float] | None] = {}
"""Results of `_multiple`, by the text of a function."""


def _name(step: Step) -> str:
    """Returns the name of an operation in words, or the name of the function with a derivative rule of its own."""
    if step.custom_body is None:
        return _PLAIN_NAMES.get(step.name, step.name)
    jaxpr, _ = opened(step.custom_body)
    name = step.params.get("name") or getattr(getattr(jaxpr, "debug_info", None), "func_name", None)
    return str(name or step.name)


def _common(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the arrays that all paths to both arrays pass, in order."""
    return tuple(number for number, other in zip(left, right, strict=False) if number == other)


def _kind_of_program(program: Any, levels: tuple[Level, ...]) -> Kind:
    """Returns the kind of a function with a derivative rule of its own, by what it computes."""
    if any(operation.name in ("while", "scan", "cond") for operation in walk(program)):
        return Kind.OTHER
    flat = flatten(program)
    known = dict.fromkeys(flat.constants, Level.FIXED) | dict(zip(flat.inputs, levels, strict=True))
    for step in flat.steps:
        known |= dict.fromkeys(step.outputs, max((known[number] for number in step.inputs), default=Level.FIXED))
    kinds = {group.kind for group in groups_of(flat, known, {}) if any(known[n] is Level.DATA for n in _made(group))}
    return next((kind for kind in _ORDER if kind in kinds), Kind.OTHER)


def _made(group: Group) -> Iterator[int]:
    for step in group.steps:
        yield from step.outputs
