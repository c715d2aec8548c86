"""Faults are planted where they are meant to be, and what a toy's tests notice of them is told right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.faults import faults, plant
from tests.mutants.sample import look_up

ROOT = Path(__file__).parents[2]
SAMPLE = json.loads(Path(__file__).with_name("sample.json").read_text())

TOY = """\
def best(values):
    top = values[0]
    for value in values[1:]:
        if value > top:
            top = value
    return top


def unused():
    return [1]
"""
TOY_TESTS = """\
import subprocess
import sys

from experiments.toy import best


def test_best():
    assert best([1, 3, 2]) == 3


def test_nothing_of_it():
    assert 1 == 1


def test_in_a_child():
    subprocess.run([sys.executable, "-c", "import experiments.toy as t; t.unused()"], check=True)
"""
FILES = {"experiments/toy.py": TOY, "tests/test_toy.py": TOY_TESTS, "pyproject.toml": "[tool.pytest.ini_options]"}
FILES["experiments/__init__.py"] = ""


def planted(source, kind=None):
    found = faults("experiments/new.py", source)
    return [plant(mutant, source) for mutant in found if kind in (None, mutant.kind)]


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("flip", "a < b <= c", ["a >= b <= c", "a < b > c"]),
        ("flip", "(a) is not None", ["(a) is None"]),
        ("flip", "é = b in c", ["é = b not in c"]),
        ("off-by-one", "a < b", ["a <= b"]),
        ("operator", "a - b**c", ["a + b**c", "a - b*c"]),
        ("operator", "a *= 2 // b", ["a /= 2 // b", "a *= 2 * b"]),
        ("operator", "a = 'text' + b + c", []),
        ("unary", "a = -b if not c else d", ["a = b if not c else d", "a = -b if  c else d"]),
        ("constant", "f(1, 0.5, a=True)", ["f(2, 0.5, a=True)", "f(1, 0.75, a=True)", "f(1, 0.5, a=False)"]),
        ("always", "if a: b", ["if True: b"]),
        ("never", "while a(\n  b\n): c", ["while False \\\n \\\n: c"]),
        ("always", "[a for a in b if c]", ["[a for a in b if True]"]),
        ("connective", "a and b and c", ["a or b and c", "a and b or c"]),
        ("dropped", "f(\n  a\n)\nb = 1\nb += a", ["pass\n\n\nb = 1\nb += a", "f(\n  a\n)\nb = 1\npass"]),
        ("swapped", "f(a + 1, b, *c)", ["f(b, a + 1, *c)"]),
        ("nothing", "def f():\n    return (a,\n b)", ["def f():\n    return None\n"]),
    ],
)
def test_each_kind_changes_its_place_alone(kind, source, expected):
    found = planted(source, kind)
    assert found == expected
    assert {text.count("\n") for text in found} <= {source.count("\n")}


@pytest.mark.parametrize(
    "source",
    [
        'def f(a: Literal[1] = None) -> "1 < 2":\n    """Is 1 < 2."""',
        "if TYPE_CHECKING:\n    f(1)",
        "__all__ = [*a, 1]",
        "def f():\n    raise ValueError(f'{a + 1}', 1 < 2)",
        "a = add(help=1)",
        "a: tuple[f(1, 2)] = b",
    ],
)
def test_words_and_annotations_are_left_alone(source):
    assert planted(source) == []


def test_a_fault_keeps_its_id_when_other_functions_change(tmp_path):
    file = tmp_path / "new.py"
    for before in ("", "def g():\n    return 1 < 2\n\n"):
        file.write_text(f"{before}def f():\n    return 1 < 2\n")
        assert look_up(tmp_path, "new.py::f::flip::1", "1 < 2 -> 1 >= 2").scope == "f"
    assert look_up(tmp_path, "new.py::h::flip::1", "1 < 2 -> 1 >= 2") is None
    assert look_up(tmp_path, "old.py::f::flip::1", "1 < 2 -> 1 >= 2") is None


def test_the_sample_is_there():
    assert len({fault["id"] for fault in SAMPLE}) == len(SAMPLE)
    assert sum("equivalent" not in fault for fault in SAMPLE) >= 64
    gone = [fault["id"] for fault in SAMPLE if look_up(ROOT, fault["id"], fault["change"]) is None]
    assert gone == [], "write the new `change` of each into sample.json, or another fault of that file"


@pytest.fixture
def toy(tmp_path):
    """A directory with a package and its tests, and a function that runs the command there."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def command(*arguments):
        own = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        own["PYTEST_ADDOPTS"] = ""
        line = [sys.executable, "-m", "tests.mutants", *arguments, "--jobs", "1"]
        return subprocess.run(
            line, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, check=True
        ).stdout

    return tmp_path, command


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are tried in forked processes")
def test_a_fault_of_a_toy_is_killed_and_an_equivalent_one_survives(toy):
    directory, command = toy
    lines = {"tests/test_toy.py::test_best": [2, 3, 4, 5, 6], "tests/test_toy.py::test_nothing_of_it": []}
    tests = {test: {"wall": 0.1, "fixtures": [], "lines": {"experiments/toy.py": ran}} for test, ran in lines.items()}
    (directory / "trace.json").write_text(json.dumps({"tests": tests, "fixtures": {}}))
    changes = {"flip": "value > top -> value <= top", "off-by-one": "value > top -> value >= top"}
    sample = [{"id": f"experiments/toy.py::best::{kind}::1", "change": changes[kind]} for kind in changes]
    sample.append({"id": "experiments/toy.py::worst::flip::1", "change": "a < b -> a >= b"})
    (directory / "sample.json").write_text(json.dumps(sample))
    said = command("run", "--sample", "sample.json", "--trace", "trace.json", "--out", "verdicts.json")
    assert "1 of 2 faults are killed: 50.0% (95 % interval" in said
    assert "1 survived\n  experiments/toy.py:4  value > top -> value >= top" in said
    gone, killed, survived = json.loads((directory / "verdicts.json").read_text())
    assert gone["verdict"] == "gone"
    assert (killed["stage"], killed["test"]) == ("a", "tests/test_toy.py::test_best")
    assert (survived["verdict"], survived["tried"]) == ("survived", 2)  # the second test is in the same file


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="tracing needs Python 3.12")
def test_a_trace_has_the_lines_of_each_test(toy):
    directory, command = toy
    said = command("trace", "--out", "trace.json")
    assert said.endswith("3 tests traced; 0 failed and are left out of run\n")
    tests = json.loads((directory / "trace.json").read_text())["tests"]
    lines = {test.partition("::")[2]: entry["lines"].get("experiments/toy.py", []) for test, entry in tests.items()}
    assert lines == {"test_best": [2, 3, 4, 5, 6], "test_nothing_of_it": [], "test_in_a_child": [1, 9, 10]}
