"""One fault tried: planted in a copy of the working tree, and tests run on it in forked processes."""

import contextlib
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
# Imported once, before processes are forked: not the package, which has the fault, nor what pytest has to rewrite.
LIBRARIES = ("jax", "flax.nnx", "flax.linen", "optax", "scipy.stats", "xarray", "matplotlib.figure", "tyro")
LIBRARIES += ("rich.table", "h5netcdf", "jax.experimental.pallas")

_process: dict = {}  # what a process of the pool keeps between two faults


class Chosen:
    """A pytest plugin that keeps the chosen tests, in their order, and writes what happens: failed, test, how."""

    def __init__(self, tests, answer):
        self.place = {test: place for place, test in enumerate(tests)}
        self.answer, self.failure = answer, None

    def say(self, *what):
        self.answer.write_text(json.dumps(what))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        kept = (item for item in items if item.nodeid in self.place)
        items[:] = sorted(kept, key=lambda item: self.place[item.nodeid])

    def pytest_collectreport(self, report):
        if report.failed:
            self.say(True, report.nodeid, "cannot be collected")

    def pytest_runtest_logstart(self, nodeid):
        self.say(True, nodeid, "the process ended")

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
        self.copy, self.answer, self.log = self.home / "tree", self.home / "answer.json", self.home / "log"
        shutil.copytree(root, self.copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        if (root.parent / "shared").exists():
            (self.home / "shared").symlink_to((root.parent / "shared").resolve())

    def write(self, path, text):
        file = self.copy / path
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()  # Python takes it for current if size and second are the same
        file.write_text(text, encoding="utf-8")

    def session(self, tests: list[str], limit: float) -> tuple[bool, str | None, str]:
        """Runs tests, in their order, up to the first failure; returns whether one failed, which, and how."""
        self.answer.write_text(json.dumps([True, None, "pytest could not start"]))
        child = os.fork()
        if not child:
            try:
                self.in_child(tests)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        end, late = time.monotonic() + limit, None
        try:
            while not late and os.waitpid(child, os.WNOHANG) == (0, 0):
                late = f"no end after {limit:.0f} s" if time.monotonic() > end else None
                time.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # it, or what its tests have left
        if late:
            os.waitpid(child, 0)
        failed, test, how = json.loads(self.answer.read_text())
        return failed or bool(late), test, late or how

    def in_child(self, tests):
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(self.copy)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.copy), os.environ.get("PYTHONPATH", "")])
        sys.path[:] = [str(self.copy), *(path for path in sys.path if path not in ("", str(self.root)))]
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        plugin = Chosen(tests, self.answer)
        os.environ.setdefault("PARAMACT_TESTS_CACHE", str(self.root / ".pytest_cache" / "paramact_jax"))
        fixed = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(self.home / "tmp"), *self.options]
        status = pytest.main([*fixed, *dict.fromkeys(map(file_of, tests))], plugins=[plugin])
        if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            plugin.say(False, None, "")


def attempt(mutant: Mutant, trace: Trace, tree: Tree, most: float, passing: set[str]) -> dict:
    """Returns the verdict on one fault; of its tests, those are left out that take more than `most` seconds together.

    A test that kills has to pass without the fault, after the same tests as before; `passing` has those known to.
    """
    begin, seconds = time.monotonic(), trace.seconds
    source = (tree.copy / mutant.path).read_text(encoding="utf-8")
    plan, left_out = [], 0
    for stage, tests in zip("abc", stages(mutant, trace, tree.root), strict=True):
        within = []
        for test in tests:
            if seconds[test] <= most:
                most -= seconds[test]
                within.append(test)
        left_out += len(tests) - len(within)
        plan += [(stage, portion) for portion in portions(within, seconds)]
    verdict = {"verdict": "survived", "tried": sum(len(portion) for _, portion in plan), "left_out": left_out}
    failing = []
    while plan and verdict["verdict"] == "survived":
        stage, tests = plan.pop(0)
        limit = 3 * sum(map(seconds.get, tests)) + 120
        tree.write(mutant.path, plant(mutant, source))
        failed, test, how = tree.session(tests, limit)
        tree.write(mutant.path, source)
        if not failed:
            continue
        alike = [other for other in tests if file_of(other) == test] or tests
        before = tests[: tests.index(test) + 1] if test in tests else alike[:1]
        if test in passing or not tree.session(before, limit)[0]:
            passing.add(test)
            verdict |= {"verdict": "killed", "stage": stage, "test": test, "how": how, "tried": len(before)}
        elif test in tests:
            failing.append(test)
            plan.insert(0, (stage, [other for other in tests if other != test]))
        else:
            raise RuntimeError(f"pytest fails without a fault: {tree.log.read_text()[-2000:]}")
    return verdict | {"seconds": round(time.monotonic() - begin, 1), "fail_without_fault": failing}


def start(root: Path, scratch: str, options: list[str], trace: Trace, most: float) -> None:
    """Gives a process of the pool its own copy of the tree."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that a session ends with the command
    tree = Tree(root, scratch, options)
    _process["attempt"] = functools.partial(attempt, trace=trace, tree=tree, most=most, passing=set())


def work(task: tuple[dict, Mutant]) -> dict:
    fault, mutant = task
    return fault | {"line": mutant.line} | _process["attempt"](mutant)


def preload() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
