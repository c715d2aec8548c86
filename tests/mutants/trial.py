"""One fault tried: planted in a copy of the working tree, and tests run on it in forked processes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from tests.mutants.choose import Trace, file_of, portions, stages
from tests.mutants.faults import Mutant, plant

LEFT_OUT = (".git", ".venv", "build", "dist", "runs", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
# Imported once, before any process is forked; never the package itself, which has the fault.
LIBRARIES = ("jax", "flax.nnx", "flax.linen", "optax", "scipy.stats", "xarray", "matplotlib.figure", "tyro")
LIBRARIES += ("rich.table", "h5netcdf", "jax.experimental.pallas")


def preload() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


_process: dict = {}  # what a process of the pool keeps between two faults


@dataclasses.dataclass
class Outcome:
    """How a session of pytest ended: `test` is the first that failed, or that ran when time was over."""

    failed: bool = True
    test: str | None = None
    how: str = ""


class Chosen:
    """A pytest plugin that keeps the chosen tests, in their order, and writes what happens."""

    def __init__(self, tests: list[str], answer: Path):
        self.place = {test: place for place, test in enumerate(tests)}
        self.answer, self.failure = answer, None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        kept = (item for item in items if item.nodeid in self.place)
        items[:] = sorted(kept, key=lambda item: self.place[item.nodeid])

    def say(self, failed, test, how):
        self.answer.write_text(json.dumps([failed, test, how]))

    def pytest_runtest_logstart(self, nodeid):
        self.say(True, nodeid, "the process ended")

    def pytest_collectreport(self, report):
        if report.failed:
            self.say(True, report.nodeid, "cannot be collected")

    def pytest_runtest_logreport(self, report):
        if report.failed and self.failure is None:
            self.failure = report.nodeid
            reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
            self.say(True, report.nodeid, " ".join(reason.split())[:200])


class Tree:
    """A copy of the working tree, with what lies in ../shared beside it."""

    def __init__(self, root: Path, scratch: str, options: list[str]):
        self.root, self.options = root, options
        self.home = Path(tempfile.mkdtemp(dir=scratch))
        self.copy = self.home / "tree"
        shutil.copytree(root, self.copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        if (root.parent / "shared").exists():
            (self.home / "shared").symlink_to((root.parent / "shared").resolve())

    def write(self, path: str, text: str) -> None:
        file = self.copy / path
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()  # Python takes it for current if size and second are the same
        file.write_text(text, encoding="utf-8")

    def session(self, tests: list[str], limit: float) -> Outcome:
        """Runs tests, in their order, up to the first failure, in a process of their own."""
        answer = self.home / "answer.json"
        answer.write_text(json.dumps([True, None, "pytest could not start"]))
        child = os.fork()
        if not child:
            try:
                self.in_child(tests, answer)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        end = time.monotonic() + limit
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Outcome(True, json.loads(answer.read_text())[1], f"no end after {limit:.0f} s")
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what its tests have left
        return Outcome(*json.loads(answer.read_text()))

    def in_child(self, tests: list[str], answer: Path) -> None:
        os.setsid()
        log = os.open(self.home / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(log, number)
        os.chdir(self.copy)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.copy), os.environ.get("PYTHONPATH", "")])
        sys.path[:] = [str(self.copy), *(path for path in sys.path if path not in ("", str(self.root)))]
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        plugin = Chosen(tests, answer)
        fixed = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(self.home / "tmp"), *self.options]
        status = pytest.main([*fixed, *dict.fromkeys(map(file_of, tests))], plugins=[plugin])
        if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            plugin.say(False, None, "")


def attempt(mutant: Mutant, trace: Trace, tree: Tree, most: float, passing: set[str]) -> dict:
    """Returns the verdict on one fault.

    A test that kills has to pass without the fault, after the same tests as before; `passing` has those known to.

    Args:
      most: seconds, as recorded, of the tests that are tried at most; the longest are left out.
    """
    begin = time.monotonic()
    source = (tree.copy / mutant.path).read_text(encoding="utf-8")
    plan, left_out = [], 0
    for stage, tests in zip("abc", stages(mutant, trace, tree.root), strict=True):
        within = []
        for test in tests:
            if trace.seconds[test] <= most:
                most -= trace.seconds[test]
                within.append(test)
        left_out += len(tests) - len(within)
        plan += [(stage, portion) for portion in portions(within, trace)]
    verdict = {"verdict": "survived", "tried": sum(len(portion) for _, portion in plan), "left_out": left_out}
    failing: list[str] = []
    while plan and verdict["verdict"] != "killed":
        stage, tests = plan.pop(0)
        limit = 3 * sum(map(trace.seconds.get, tests)) + 120
        tree.write(mutant.path, plant(mutant, source))
        outcome = tree.session(tests, limit)
        tree.write(mutant.path, source)
        if not outcome.failed:
            continue
        test = outcome.test
        alike = [other for other in tests if file_of(other) == test] or tests
        before = tests[: tests.index(test) + 1] if test in tests else alike[:1]
        if test in passing or not tree.session(before, limit).failed:
            passing.add(test)
            verdict |= {"verdict": "killed", "stage": stage, "test": test, "how": outcome.how, "tried": len(before)}
        elif test in tests:
            failing.append(test)
            plan.insert(0, (stage, [other for other in tests if other != test]))
        else:
            raise RuntimeError(f"pytest fails without a fault: {(tree.home / 'log').read_text()[-2000:]}")
    return verdict | {"seconds": round(time.monotonic() - begin, 1), "fail_without_fault": failing}


def start(root: Path, scratch: str, options: list[str], trace: Trace, most: float) -> None:
    """Gives a process of the pool its own copy of the tree."""
    _process["attempt"] = functools.partial(
        attempt, trace=trace, tree=Tree(root, scratch, options), most=most, passing=set()
    )


def work(task: tuple[dict, Mutant]) -> dict:
    fault, mutant = task
    return fault | {"line": mutant.line} | _process["attempt"](mutant)
