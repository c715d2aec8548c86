"""Which tests can notice a fault, from a record of what every test executes."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.faults import Mutant
from tests.mutants.lines import TREES

AT_ONCE = 1.0  # seconds: tests that take less are tried one by one, the others a file at a time


@dataclasses.dataclass(frozen=True)
class Trace:
    """What every test executes: `lines` maps a test to the lines of each file, `seconds` includes its fixtures."""

    lines: dict[str, dict[str, set[int]]]
    seconds: dict[str, float]
    failed: set[str]
    sources: dict[str, str]

    def that_run(self, path: str, spans: Iterable[tuple[int, int]]) -> set[str]:
        """Returns the tests that execute a line within one of the spans of a file."""
        wanted = {number for first, last in spans for number in range(first, last + 1)}
        return {test for test, lines in self.lines.items() if not wanted.isdisjoint(lines.get(path, ()))}

    def of_files(self, files: set[str]) -> set[str]:
        return {test for test in self.lines if file_of(test) in files}

    def whole_files(self, tests: set[str]) -> set[str]:
        return self.of_files(set(map(file_of, tests)))


def file_of(test: str) -> str:
    return test.partition("::")[0]


def digests(root: Path) -> dict[str, str]:
    """Returns a digest of each source file, by which a trace of other sources is noticed."""
    files = (file for tree in TREES for file in (root / tree).rglob("*.py"))
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_trace(paths: Iterable[Path]) -> Trace:
    """Reads a trace: one file, or one for each process that took part."""
    lines, seconds, failed, sources = {}, {}, set(), {}
    for record in (json.loads(path.read_text()) for path in paths):
        made = [(*key.split("::")[:2], fixture) for key, fixture in record["fixtures"].items()]
        for test, entry in record["tests"].items():
            used = [fixture for base, name, fixture in made if name in entry["fixtures"] and test.startswith(base)]
            lines[test] = {}
            for ran in (entry["lines"], *(fixture["lines"] for fixture in used)):
                for path, numbers in ran.items():
                    lines[test].setdefault(path, set()).update(numbers)
            seconds[test] = entry["wall"] + sum(fixture["wall"] for fixture in used)
            failed |= {test} if entry.get("failed") else set()
        sources |= record.get("sources", {})
    return Trace(lines, seconds, failed, sources)


def functions(root: Path, path: str) -> list[tuple[int, int]]:
    """Returns the lines of every function's body in a file."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    defined = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [(node.body[0].lineno, node.end_lineno) for node in defined]


def importers(root: Path, path: str) -> set[str]:
    """Returns the files of the package and of the tests that import a module by name."""
    parts = Path(path).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    found = set()
    for file in (file for tree in (*TREES, "tests") for file in (root / tree).rglob("*.py")):
        here = file.relative_to(root)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(base, ".".join(here.parent.parts))
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            if module in names:
                found.add(here.as_posix())
    return found - {path}


def stages(mutant: Mutant, trace: Trace, root: Path) -> list[list[str]]:
    """Returns the tests to try, in three stages: those that run the fault, those near it, those farther away.

    What runs at import is run once for all tests: there it is the tests that run a function of this module, then those
    whose module, or whose module under test, imports this one, then all.
    """
    path = mutant.path
    whole = functions(root, path)
    if mutant.function:
        first = trace.that_run(path, [mutant.statement])
        second = trace.whole_files(first | trace.that_run(path, [mutant.function]))
        third = trace.whole_files(trace.that_run(path, whole))
    else:
        first = trace.that_run(path, [*whole, mutant.statement])
        near = importers(root, path)
        used = [trace.that_run(file, functions(root, file)) for file in near if not file.startswith("tests/")]
        second = trace.whole_files(first.union(*used)) | trace.of_files(near)
        third = set(trace.lines)
    tried = set(trace.failed)
    found = []
    for stage in (first, second, third):
        found.append(in_order(stage - tried, trace))
        tried |= stage
    return found


def in_order(tests: set[str], trace: Trace) -> list[str]:
    """Returns the quick tests, the quickest first, then the others file by file, so that fixtures are made once."""
    seconds = trace.seconds
    quick = sorted((test for test in tests if seconds[test] < AT_ONCE), key=lambda test: (seconds[test], test))
    files: dict[str, list[str]] = {}
    for test in sorted(tests - set(quick), key=lambda test: (seconds[test], test)):
        files.setdefault(file_of(test), []).append(test)
    return quick + [test for group in sorted(files.values(), key=lambda g: sum(map(seconds.get, g))) for test in group]


def portions(tests: list[str], trace: Trace, first: float = 10) -> list[list[str]]:
    """Returns the tests in at most two portions: what takes some seconds first, since most faults fall there."""
    spent, count = 0.0, 0
    for test in tests:
        spent += trace.seconds[test]
        if spent > first and count:
            break
        count += 1
    return [portion for portion in (tests[:count], tests[count:]) if portion]
