"""What is compared. Standard library only, so that `--help` is instant."""

from __future__ import annotations

import dataclasses

BASES = {"ppns": "pn_sigmoid", "parametric_tanh": "tanh", "parametric_relu": "relu"}
"""The parametric functions, and the plain ones they are made of."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """What is done to a and b.

    Attributes:
      name: in records and tables.
      description: in one line.
      plain: whether the plain function is trained; else the parametric one.
      learned: whether a and b are trained.
      unit: whether a starts at 1; else at 1.5 over the steepest slope [P, section 4.1].
    """

    name: str
    description: str
    plain: bool = False
    learned: bool = True
    unit: bool = False


CONDITIONS = (
    Condition("gain, learned", "a = 1.5 / steepest slope and b = 0 at the start, both learned, as in [P]"),
    Condition("gain, frozen", "the same start values, kept", learned=False),
    Condition("unit, learned", "a = 1, b = 0 at the start, both learned", unit=True),
    Condition("plain", "the function without a and b", plain=True, learned=False),
)
NAMES = [condition.name for condition in CONDITIONS]
POINTS = [{"plain": c.plain, "learned": c.learned, "unit": c.unit} for c in CONDITIONS]
"""The conditions as points of a sweep."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """One question, asked as a difference of two conditions on the same seeds.

    Attributes:
      question: in few words.
      first, second: names of conditions; the effect is first - second.
    """

    question: str
    first: str
    second: str


EFFECTS = (
    Effect("all of it", "gain, learned", "plain"),
    Effect("initial gain alone", "gain, frozen", "plain"),
    Effect("learning alone", "unit, learned", "plain"),
    Effect("learning, given the gain", "gain, learned", "gain, frozen"),
    Effect("gain, given the learning", "gain, learned", "unit, learned"),
)


def trained_as(base: str, plain: bool) -> str:
    """The name in the catalogue of what is trained."""
    return BASES[base] if plain else base


def trainings(bases: tuple[str, ...]) -> list[str]:
    """What is trained, in the order of a sweep."""
    return [f"{trained_as(base, condition.plain)}: {condition.name}" for base in bases for condition in CONDITIONS]
