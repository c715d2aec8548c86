"""The pages: every example runs, every command can be given, every link leads somewhere."""

import contextlib
import doctest
import functools
import io
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from experiments.__main__ import parse
from experiments.commands import all_leaves
from experiments.front_page import facts

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for top in (ROOT, *(ROOT / name for name in ("paramact_jax", "experiments", "tests", "notebooks")))
    for page in sorted(top.glob("*.md") if top == ROOT else top.rglob("*.md"))
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUNTIMES = {leaf.path: facts(leaf.command).runtime for leaf in all_leaves()}
MOST_LINES = 150

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return [code for kind, code in FENCED.findall(text_of(page)) if kind == language]


def prose(page):
    """A page without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", FENCED.sub("", text_of(page)))


def expected_output(code):
    """What stands in the comments behind calls of print."""
    return re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)


def run_plain(page, namespace):
    """Executes the blocks of Python without prompts one after the other; returns how many there are."""
    plain = [code for code in blocks(page, "python") if ">>> " not in code]
    for code in plain:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), namespace)
        assert printed.getvalue().splitlines() == expected_output(code), page
    return len(plain)


@functools.cache
def slugs(page):
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page):
    """The words of every command that a page names, in code or in a block of a shell."""
    spans = re.findall(r"`([^`]+)`", prose(page).replace("\n", " "))
    lines = [line.partition("  #")[0] for code in blocks(page, "bash") for line in code.splitlines()]
    for line in [*spans, *lines]:
        if line.startswith("python -m experiments "):
            yield shlex.split(line)[3:]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.parent.name)
def test_examples_without_prompts_run_in_order_and_print_what_they_say(page, tmp_path, monkeypatch):
    if page == ROOT / "experiments" / "README.md":
        out = tmp_path / "runs" / "my-xor10"
        parse(["xor10", "--activations", "ppns", "--seeds", "2", "--steps", "2", "--out", str(out)]).prepare()()
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    run_plain(page, namespace)


@every_page
def test_examples_with_prompts_are_collected_as_doctests(page):
    if doctest.DocTestParser().get_examples(text_of(page)):
        assert page.name == "README.md"
        assert (ROOT / "paramact_jax") in page.parents  # which pyproject.toml names under testpaths


def test_an_example_that_prints_something_else_would_be_seen(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("```python\nx = 1\nprint(x)  # 1\n```\n\n```python\nprint(x + 1)  # 2\n```\n")
    assert run_plain(page, {}) == 2
    page.write_text(page.read_text().replace("# 2", "# 3"))
    with pytest.raises(AssertionError):
        run_plain(page, {})


@every_page
def test_commands_can_be_given(page):
    for words in commands(page):
        if words[0] in ("COMMAND", "--help") or "--help" in words:
            continue
        partial = [path for path in RUNTIMES if path[: len(words)] == tuple(words)]
        assert partial or parse(words), words  # `ablation` alone stands for both of its subcommands


@every_page
def test_times_in_parentheses_are_those_of_the_commands(page):
    for name, time in re.findall(r"`python -m experiments ([\w -]+)` \(([^)]*)\)", prose(page).replace("\n", " ")):
        assert time == RUNTIMES[tuple(name.split())], name


def test_the_table_of_questions_has_the_times_of_the_commands():
    rows = re.findall(
        r"^\| (.+\?) \| `python -m experiments (.+)` \| (.+) \|$", text_of(ROOT / "README.md"), re.MULTILINE
    )
    assert len(rows) >= 10
    for _, command, time in rows:
        assert RUNTIMES[tuple(command.split())] == time, command


@every_page
def test_links_and_pictures_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert ROOT in file.parents
        if anchor:
            assert anchor in slugs(file), target


def test_every_page_is_reached_from_the_front_page():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", prose(page))
        waiting += [file for link in links if (file := (page.parent / link).resolve()) not in reached]
    assert reached >= set(PAGES)


def test_the_front_page_is_short_and_its_badges_say_what_the_project_needs():
    front = text_of(ROOT / "README.md")
    assert len(front.splitlines()) <= MOST_LINES
    assert max(len(line) for line in front.splitlines() if not line.startswith(("|", "!"))) <= 120
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    (jax,) = (need.removeprefix("jax>=") for need in project["dependencies"] if need.startswith("jax>="))
    assert f"![Python {project['requires-python'].removeprefix('>=')}+]" in front
    assert f"![JAX {jax}+]" in front
    assert f"![License {project['license']}]" in front
    assert project["readme"] == "README.md"
    extras = set(re.findall(r"`(\w+)`", front.partition("Other extras:")[2].partition(". ")[0]))
    assert extras == set(project["optional-dependencies"]) - {"experiments", "aot"}


def test_the_front_page_names_every_notebook():
    front = text_of(ROOT / "README.md").partition("[Notebooks]")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", front)) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_the_front_page_says_how_fast_sweeps_are():
    speed = text_of(ROOT / "experiments" / "bench" / "README.md")
    rows = re.findall(r"^\| [^|]+, [\d,]+ \| ([\d.]+) \|.*\| ([\d.]+) \|$", speed, re.MULTILINE)
    times = [float(vmap) / float(ours) for vmap, ours in rows]
    assert len(times) == 8
    front = " ".join(prose(ROOT / "README.md").split())
    assert f"eight example trainings {min(times):.1f} to {max(times):.0f} times" in front
