"""Results of functions of a run, computed once however often the report asks for them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Of = TypeVar("Of")
Result = TypeVar("Result")


def once(function: Callable[[Of], Result]) -> Callable[[Of], Result]:
    """Makes a function of a run keep its result for as long as the run exists.

    Args:
      function: of a run, whose records must not change afterwards.

    Examples:
      >>> class Run: losses = (1.0, 2.0)
      >>> mean = once(lambda run: print("computed") or sum(run.losses) / 2)
      >>> run = Run()
      >>> mean(run), mean(run)
      computed
      (1.5, 1.5)
    """
    kept: dict[int, tuple[weakref.ref[Any], Result]] = {}  # a run cannot be hashed

    @functools.wraps(function)
    def known(of: Of) -> Result:
        name = id(of)
        if name not in kept:
            kept[name] = weakref.ref(of, lambda _: kept.pop(name, None)), function(of)
        return kept[name][1]

    return known
