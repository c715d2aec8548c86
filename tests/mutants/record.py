"""A pytest plugin that records which lines of the package each test executes: `-p tests.mutants.record`.

What a fixture of a wider scope executes is noted once, with its name: it belongs to every test that uses the fixture.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.mutants import lines

OUT = "MUTANTS_OUT"  # the directory of one file for each process of pytest-xdist
HOOK = "from tests.mutants.lines import watch_child\nwatch_child()\n"


def pytest_configure(config):
    tests_run_here = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if OUT in os.environ and tests_run_here:
        config.pluginmanager.register(Recorder(str(config.rootpath)))


def _listed(found: lines.Lines) -> dict[str, list[int]]:
    return {path: sorted(numbers) for path, numbers in found.items()}


class Recorder:
    def __init__(self, root: str):
        self.records: dict = {"tests": {}, "fixtures": {}, "import": {}}
        self.hits: lines.Lines = {}
        self.own: lines.Lines = {}  # those of the running test before one of its wider fixtures was made
        self.failed: set[str] = set()
        self.children = Path(tempfile.mkdtemp(prefix="children-", dir=os.environ[OUT]))
        hook = Path(os.environ[OUT], "hook")
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(HOOK)
        os.environ |= {lines.ROOT: root, lines.DIRECTORY: str(self.children)}
        os.environ["PYTHONPATH"] = os.pathsep.join([str(hook), root, os.environ.get("PYTHONPATH", "")])
        self.writes = None
        lines.watch(root, self.hit)
        os.register_at_fork(after_in_child=self.in_fork)

    def hit(self, path: str, number: int) -> None:
        if self.writes:
            self.writes(path, number)
        else:
            self.hits.setdefault(path, set()).add(number)

    def in_fork(self) -> None:
        self.writes = lines.writer()

    def taken(self) -> lines.Lines:
        found, self.hits = self.hits, {}
        lines.take_children(self.children, found)
        lines.again()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope == "function":
            return (yield)
        for path, numbers in self.taken().items():
            self.own.setdefault(path, set()).update(numbers)
        begin = time.perf_counter()
        try:
            return (yield)
        finally:
            key = f"{fixturedef.baseid}::{fixturedef.argname}::{getattr(request, 'param', '')!r}"
            found = _listed(self.taken())
            seconds = time.perf_counter() - begin
            self.records["fixtures"][key] = {"name": fixturedef.argname, "wall": seconds, "lines": found}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if not self.records["tests"]:
            self.records["import"] = _listed(self.taken())
        self.taken()
        self.own, begin = {}, time.perf_counter()
        try:
            return (yield)
        finally:
            found = self.taken()
            for path, numbers in self.own.items():
                found.setdefault(path, set()).update(numbers)
            self.records["tests"][item.nodeid] = {
                "wall": time.perf_counter() - begin,
                "failed": item.nodeid in self.failed,
                "fixtures": list(getattr(item, "fixturenames", [])),
                "lines": _listed(found),
            }

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self):
        if self.records["tests"]:
            name = os.environ.get("PYTEST_XDIST_WORKER", "main")
            Path(os.environ[OUT], f"{name}.json").write_text(json.dumps(self.records))


def missing() -> str | None:
    """Returns why this Python cannot trace, None if it can."""
    return None if hasattr(sys, "monitoring") else "trace needs Python 3.12 or newer, for sys.monitoring"
