"""Results of functions of a run, computed once however often the report asks for them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Of = TypeVar("Of")
Result = TypeVar("Result")


def once(function: Callable[[Of], Result]) -> Callable[[Of], Result]:
    """Makes a function keep its result for as long as its argument exists.

    Args:
      function: of a run or of its records, which must not change afterwards; of nothing else.

    Examples:
      >>> import xarray as xr
      >>> records = xr.Dataset({"loss": ("seed", [1.0, 2.0])})
      >>> mean = once(lambda records: print("computed") or float(records["loss"].mean()))
      >>> mean(records), mean(records)
      computed
      (1.5, 1.5)
    """
    kept: dict[int, tuple[weakref.ref[Any], Result]] = {}  # neither a run nor its records can be hashed

    @functools.wraps(function)
    def known(of: Of) -> Result:
        name = id(of)
        if name not in kept:
            kept[name] = weakref.ref(of, lambda _: kept.pop(name, None)), function(of)
        return kept[name][1]

    return known
