"""Names the place where two programs begin to differ, in one short phrase."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

_LONGEST = 90
_MOST_WORDS = 3


def difference(stored: Sequence[str], now: Sequence[str], where: Callable[[int], str] = lambda line: "") -> str:
    """Names the first line in which two programs differ, as exactly as possible.

    Args:
      stored: the lines of one program.
      now: the lines of the other program.
      where: returns the place in the source of a line of the other program.

    Examples:
      >>> difference(["v1:f32[] = mul v0 0.1:f32[]"], ["v1:f32[] = mul v0 0.2:f32[]"])
      'operation 1 of 1, `mul`: 0.1 stored, 0.2 now'
    """
    pairs = itertools.zip_longest(stored, now, fillvalue="")
    line, (before, after) = next(((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1]), (0, ("", "")))
    operations = [sum(map(_is_operation, lines)) for lines in (stored, now)]
    number = operations[1] - operations[0]
    grown = f"{abs(number)} {'operation' if abs(number) == 1 else 'operations'} {'more' if number > 0 else 'fewer'}"
    if not (before and after):
        return grown if number else f"`{_short(before or 'nothing')}` stored, `{_short(after or 'nothing')}` now"
    words = before.split(), after.split()
    named = f"line {line + 1} of {len(now)}"
    if _is_operation(before) and _is_operation(after):
        named = f"operation {sum(map(_is_operation, now[: line + 1]))} of {operations[1]}"
        primitives = [_after_equals(x) for x in words]
        if primitives[0][:1] == primitives[1][:1] and len(words[0]) == len(words[1]):
            named += f", `{primitives[0][0]}`"
            changed = [(x, y) for x, y in zip(*primitives, strict=True) if x != y] or [
                (x, y) for x, y in zip(*words, strict=True) if x != y
            ]
            changed = [_without_type(*pair) for pair in changed[:_MOST_WORDS]]
            before, after = (" ".join(pair[i] for pair in changed) for i in (0, 1))
            return _said(named, _short(before), _short(after), where(line), grown if number else "")
    return _said(named, f"`{_short(before)}`", f"`{_short(after)}`", where(line), grown if number else "")


def _said(named: str, before: str, after: str, place: str, grown: str) -> str:
    return f"{named}: {before} stored, {after} now{f' ({place})' if place else ''}{f', {grown}' if grown else ''}"


def _is_operation(line: str) -> bool:
    return not line.lstrip().startswith(("input ", "output ", "program "))


def _after_equals(words: Sequence[str]) -> Sequence[str]:
    return words[words.index("=") + 1 :] if "=" in words else words


def _without_type(before: str, after: str) -> tuple[str, str]:
    """Returns two operands, without the type if they share it."""
    (x, _, type_x), (y, _, type_y) = before.rpartition(":"), after.rpartition(":")
    return (x, y) if x and y and type_x == type_y else (before, after)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
