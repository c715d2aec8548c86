"""One fault tried: planted in a copy of the working tree, and tests run on it in forked processes."""

import contextlib
import importlib
import json
import math
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

PATIENCE = 5  # times the limit of the processor's time: what waits for ever ends then

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
        self.say(True, nodeid, "no end")

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
        """Runs tests, in their order, up to the first failure; returns whether one failed, which, and how.

        `limit` is of the processor's time, which other programs do not change; what waits for ever ends later.
        """
        self.answer.write_text(json.dumps([True, None, "pytest could not start"]))
        child = os.fork()
        if not child:
            try:
                self.in_child(tests, limit)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        end = time.monotonic() + PATIENCE * limit
        try:
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(child, signal.SIGKILL)
                time.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what its tests have left
        return tuple(json.loads(self.answer.read_text()))

    def in_child(self, tests, limit):
        import resource  # which Windows has not

        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), resource.RLIM_INFINITY))
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


def attempt(mutant: Mutant, trace: Trace, tree: Tree, most: float) -> dict:
    """Returns the verdict on one fault, by tests that take at most so many seconds; the longest are left out."""
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
    tree.write(mutant.path, plant(mutant, source))
    for stage, tests in plan:
        failed, test, how = tree.session(tests, trace.limit(tests))
        if failed:
            verdict |= {"verdict": "killed", "stage": stage, "test": test, "how": how}
            break
    tree.write(mutant.path, source)
    return verdict | {"seconds": round(time.monotonic() - begin, 1)}


def failing(tests: list[str], trace: Trace, tree: Tree) -> list[str]:
    """Returns those of the tests that fail without a fault."""
    found = []
    while left := [test for test in tests if test not in found]:
        failed, test, _ = tree.session(left, trace.limit(left))
        if not failed:
            break
        if test not in left:
            raise RuntimeError(f"pytest fails without a fault: {tree.log.read_text()[-2000:]}")
        found.append(test)
    return found


def start(root: Path, scratch: str, options: list[str], trace: Trace, most: float) -> None:
    """Gives a process of the pool its own copy of the tree."""
    _process.update(trace=trace, tree=Tree(root, scratch, options), most=most)


def try_fault(task: tuple[dict, Mutant, set[str]]) -> dict:
    fault, mutant, excluded = task
    _process["trace"].failed |= excluded
    return fault | {"line": mutant.line} | attempt(mutant, **_process)


def try_without(tests: list[str]) -> list[str]:
    return failing(tests, _process["trace"], _process["tree"])


def preload() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
