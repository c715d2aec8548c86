"""`python -m experiments --help` and what each command says about itself."""

import dataclasses
import subprocess
import sys

import pytest

from experiments.__main__ import main
from experiments.commands import TOOLS, all_leaves, leaves, parse
from experiments.contents import CONTENTS
from experiments.front_page import facts, page

LEAVES = [pytest.param(leaf, id=" ".join(leaf.path)) for leaf in all_leaves()]


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_docstring_says_what_one_gets_how_long_it_takes_and_where_it_is_written(leaf):
    about = facts(leaf.command)
    assert about.gist.endswith((".", "?"))
    assert about.runtime, "expected `About N minutes on 2 cores` in the docstring"
    assert about.writes, "expected a sentence with `Writes ...` or `writes nothing` in the docstring"
    assert about.example, "expected `Example: python -m experiments ...` at the end of the docstring"
    text = " ".join(leaf.command.__doc__.split())
    if "out" in {field.name for field in dataclasses.fields(leaf.command)}:
        assert f"runs/{'-'.join(leaf.path)}-DATE-TIME/" in text


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_example_of_a_command_is_one_of_it(leaf):
    words = facts(leaf.command).example
    assert words[: len(leaf.path)] == leaf.path
    command = parse(words)
    if len(leaf.path) > 1:
        command = command.what
    assert isinstance(command, leaf.command)
    given = [field for field in dataclasses.fields(command) if getattr(command, field.name) != field.default]
    assert given, "an example shows an option"


def test_an_unknown_option_is_no_example():
    with pytest.raises(SystemExit):
        parse(["xor10", "--no-such-option"])


def test_the_page_has_a_line_for_each_command_in_order(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert main([]) == 2
    assert capsys.readouterr().err == shown
    lines = page(200).splitlines()
    expected = []
    for title, chapter in CONTENTS.items():
        expected.append(title)
        for entry in chapter:
            found = list(leaves(entry))
            expected += [entry.name] * (len(found) > 1) + [leaf.path[-1] for leaf in found]
    shown = [line for line in lines if line in CONTENTS or line.startswith("  ")]
    names = [line if line in CONTENTS else line.split()[0] for line in shown]
    assert names == expected
    for leaf in all_leaves():
        about = facts(leaf.command)
        assert f"{about.gist} ({about.runtime})" in page(200)
    assert max(map(len, page(80).splitlines())) <= 80


def test_chapters_begin_with_the_papers_and_end_with_the_tools():
    first, second, *_, last = CONTENTS
    assert "[P]" in first
    assert "[A]" in second
    assert last == TOOLS


def test_every_subcommand_has_a_row_of_its_own():
    for chapter in CONTENTS.values():
        for entry in chapter:
            assert set(entry.smoke) <= {" ".join(leaf.path[1:]) for leaf in leaves(entry)}


def test_the_help_of_each_command_lists_its_options_without_jax():
    """In a process of its own, where nothing else has imported anything."""
    script = """
import contextlib, dataclasses, io, runpy, sys
sys.argv = ["experiments", "--help"]
try:
    runpy.run_module("experiments", run_name="__main__")
except SystemExit as stop:
    assert stop.code == 0
from experiments.commands import all_leaves, parse
for leaf in all_leaves():
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        parse([*leaf.path, "--help"])
    for field in dataclasses.fields(leaf.command):
        if field.default is not dataclasses.MISSING:
            assert "--" + field.name.replace("_", "-") in shown.getvalue(), (leaf, field)
heavy = {"jax", "numpy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "xor10" in result.stdout


@pytest.mark.parametrize("leaf", LEAVES)
def test_help_shows_defaults_but_not_none(leaf, capsys):
    with pytest.raises(SystemExit) as stop:
        parse([*leaf.path, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in dataclasses.fields(leaf.command):
        if type(field.default) is int:
            assert f"(default: {field.default})" in shown, field.name
    assert "default: None" not in shown
