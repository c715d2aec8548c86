"""Results of functions of a run, computed once however often the report asks for them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

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
    kept: weakref.WeakKeyDictionary[Of, Result] = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def known(of: Of) -> Result:
        if of not in kept:
            kept[of] = function(of)
        return kept[of]

    return known
