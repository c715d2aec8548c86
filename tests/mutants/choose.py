"""Which tests can notice a fault, from a trace of what every test executes."""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.faults import Mutant
from tests.mutants.lines import TREES

AT_ONCE = 1.0  # seconds: tests that take less are tried one by one, the others a file at a time
FIRST = 10.0  # seconds of the quickest tests that are tried alone, since most faults fall there


@dataclasses.dataclass
class Trace:
    """Holds of every test the lines that it executes in each file, and the seconds that it takes with its fixtures."""

    lines: dict[str, dict[str, set[int]]]
    seconds: dict[str, float]
    failed: set[str]
    sources: dict[str, str]

    def that_run(self, path, *spans):
        """Returns the tests that execute a line within one of the spans of a file."""
        wanted = {number for first, last in spans for number in range(first, last + 1)}
        return {test for test, lines in self.lines.items() if not wanted.isdisjoint(lines.get(path, ()))}

    def limit(self, tests):
        """The seconds of one processor after which tests are taken to hang."""
        return 3 * sum(map(self.seconds.get, tests)) + 120

    def in_files(self, files):
        return {test for test in self.lines if file_of(test) in files}


def file_of(test):
    return test.partition("::")[0]


def digests(root: Path) -> dict[str, str]:
    """Returns a digest of each source file, by which a trace of other sources is noticed."""
    files = (file for tree in TREES for file in (root / tree).rglob("*.py"))
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_trace(paths: Iterable[Path]) -> Trace:
    """Reads a trace of one file or more; of a test in two of them, the last counts."""
    trace = Trace({}, {}, set(), {})
    for record in (json.loads(path.read_text()) for path in paths):
        made = [(*key.split("::")[:2], fixture) for key, fixture in record["fixtures"].items()]
        for test, entry in record["tests"].items():
            used = [fixture for base, name, fixture in made if name in entry["fixtures"] and test.startswith(base)]
            trace.lines[test] = {}
            for path, numbers in (ran for part in (entry, *used) for ran in part["lines"].items()):
                trace.lines[test].setdefault(path, set()).update(numbers)
            trace.seconds[test] = entry["wall"] + sum(fixture["wall"] for fixture in used)
            trace.failed |= {test} if entry.get("failed") else set()
        trace.sources |= record.get("sources", {})
    return trace


def functions(root, path):
    """Returns the first and last lines of every function's body in a file."""
    nodes = ast.walk(ast.parse((root / path).read_text(encoding="utf-8")))
    return [(n.body[0].lineno, n.end_lineno) for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@functools.cache
def imported(root):
    """Returns the names of modules, and of what is in them, that each file of the package and of the tests imports."""
    found = {}
    for file in (file for tree in (*TREES, "tests") for file in (root / tree).rglob("*.py")):
        here = file.relative_to(root)
        names = found[here.as_posix()] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(base, ".".join(here.parent.parts))
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def stages(mutant: Mutant, trace: Trace, root: Path) -> list[list[str]]:
    """Returns the tests to try in three stages: those that run the fault, the others of files near it, those farther.

    A compiled or cached function runs without its lines, so the other tests of a file count as near. What runs at
    import runs once for all tests: there the tests come first that run a function of this module, then those of files
    that import it or use a module that does, then all.
    """
    path, whole = mutant.path, functions(root, mutant.path)
    if mutant.function:
        first = trace.that_run(path, mutant.statement)
        second = trace.in_files(set(map(file_of, first | trace.that_run(path, mutant.function))))
        third = trace.in_files(set(map(file_of, trace.that_run(path, *whole))))
    else:
        first = trace.that_run(path, *whole, mutant.statement)
        parts = Path(path).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        near = {file for file, names in imported(root).items() if module in names} - {path}
        users = (trace.that_run(file, *functions(root, file)) for file in near if not file.startswith("tests/"))
        second = trace.in_files({*map(file_of, first.union(*users)), *near})
        third = set(trace.lines)
    itself = trace.that_run(path, (mutant.line, mutant.line)) & first
    of = [itself, first - itself, second - first, third - second - first]
    exact, first, second, third = (in_order(stage - trace.failed, trace.seconds) for stage in of)
    return [exact + first, second, third]


def in_order(tests: set[str], seconds: dict[str, float]) -> list[str]:
    """Returns the quick tests, the quickest first, then the others file by file, so that fixtures are made once."""
    ordered = sorted(tests, key=lambda test: (seconds[test], test))
    quick = [test for test in ordered if seconds[test] < AT_ONCE]
    files = {}
    for test in ordered[len(quick) :]:
        files.setdefault(file_of(test), []).append(test)
    return quick + [
        test for file in sorted(files.values(), key=lambda file: sum(map(seconds.get, file))) for test in file
    ]


def portions(tests: list[str], seconds: dict[str, float]) -> list[list[str]]:
    """Returns the tests in two portions at most: a session of pytest collects less for the first."""
    spent, count = 0.0, 0
    while count < len(tests) and (not count or spent + seconds[tests[count]] <= FIRST):
        spent += seconds[tests[count]]
        count += 1
    return [portion for portion in (tests[:count], tests[count:]) if portion]
