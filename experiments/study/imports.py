"""Imports that wait until a command works, so that `--help` and refused options need no JAX."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

_WAITING: list[str] = []


def at_once(module: str) -> bool:
    """Returns whether a module makes its heavy imports at once, which it does only if JAX is imported already.

    Otherwise they wait for `complete`, which the frame calls before a command works. A module writes

        if TYPE_CHECKING or at_once(__name__):
            import jax

    Args:
      module: the module's `__name__`.
    """
    if "jax" in sys.modules:
        return True
    _WAITING.append(module)
    return False


def complete() -> None:
    """Makes the imports that wait, in each module in turn."""
    while _WAITING:
        module = sys.modules[_WAITING.pop(0)]
        path = str(module.__file__)
        for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and "at_once(" in ast.unparse(node.test):
                exec(compile(ast.Module(node.body, []), path, "exec"), module.__dict__)  # its own imports
