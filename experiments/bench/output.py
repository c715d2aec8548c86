"""What every bench does with its options and its result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def check(rounds: int, path: Path | None) -> None:
    """Raise ValueError, in one line, for no rounds or a file that cannot be a new one."""
    if rounds < 1:
        raise ValueError(f"--rounds: expected an integer >= 1, got {rounds}")
    if path is not None and (path.exists() or not path.absolute().parent.is_dir()):
        raise ValueError(f"--json: expected a new file in a directory that exists, got {path}")


def say(line: str) -> None:
    """Tell about the progress."""
    print(line, file=sys.stderr)


def show(text: str, result: dict[str, Any], path: Path | None) -> None:
    """Print a result, and write it to the file if there is one."""
    print(text)
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
