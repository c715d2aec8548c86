"""A pytest plugin that records which lines of the package each test executes: `-p tests.mutants.record`.

What a fixture of a wider scope executes is noted once, with its name: it belongs to every test that uses the fixture.
"""

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


class Recorder:
    def __init__(self, root):
        self.records = {"tests": {}, "fixtures": {}}
        self.hits, self.failed, self.writes = set(), set(), None
        self.own = set()  # of the running test, before one of its wider fixtures was made
        out = Path(os.environ[OUT])
        self.children = Path(tempfile.mkdtemp(prefix="children-", dir=out))
        hook = Path(tempfile.mkdtemp(prefix="hook-", dir=out))
        (hook / "sitecustomize.py").write_text(HOOK)  # which Python imports when it starts
        path = os.pathsep.join([str(hook), root, os.environ.get("PYTHONPATH", "")])
        os.environ |= {lines.ROOT: root, lines.CHILDREN: str(self.children), "PYTHONPATH": path}
        lines.watch(root, self.hit)
        os.register_at_fork(after_in_child=self.in_fork)

    def hit(self, path, number):
        if self.writes:
            self.writes(path, number)
        else:
            self.hits.add((path, number))

    def in_fork(self):
        self.writes = lines.writer()

    def taken(self):
        """Returns what ran since the last time, here and in child processes."""
        found, self.hits = self.hits, set()
        for file in self.children.iterdir():
            entries = [entry.rpartition(":") for entry in file.read_text().split()]
            os.truncate(file, 0)  # it may go on
            found |= {(path, int(number)) for path, _, number in entries}
        sys.monitoring.restart_events()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope == "function":
            return (yield)
        self.own |= self.taken()
        begin = time.perf_counter()
        try:
            return (yield)
        finally:
            key = f"{fixturedef.baseid}::{fixturedef.argname}::{getattr(request, 'param', '')!r}"
            entry = {"name": fixturedef.argname, "wall": time.perf_counter() - begin, "lines": by_file(self.taken())}
            self.records["fixtures"][key] = entry

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.taken()
        self.own, begin = set(), time.perf_counter()
        try:
            return (yield)
        finally:
            self.records["tests"][item.nodeid] = {
                "wall": time.perf_counter() - begin,
                "failed": item.nodeid in self.failed,
                "fixtures": list(getattr(item, "fixturenames", [])),
                "lines": by_file(self.own | self.taken()),
            }

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self):
        name = os.environ.get("PYTEST_XDIST_WORKER", "main")
        Path(os.environ[OUT], f"{name}.json").write_text(json.dumps(self.records))


def by_file(found):
    files = {}
    for path, number in sorted(found):
        files.setdefault(path, []).append(number)
    return files
