"""`python -m docs`: no warning, and an entry with its text for every public name."""

import importlib.util
import inspect
import re
import subprocess
import sys

import pytest

import paramact_jax

if importlib.util.find_spec("pdoc") is None:
    pytest.skip("pdoc is not installed: pip install -e '.[docs]'", allow_module_level=True)

PACKAGES = [
    paramact_jax,
    *(value for name in paramact_jax.__all__ if hasattr(value := getattr(paramact_jax, name), "__all__")),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The text of each page by the name of its module; built in a process of its own, as a user does."""
    out = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", "-m", "docs", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return {".".join(f.relative_to(out).with_suffix("").parts): f.read_text() for f in out.rglob("*.html")}


def entry(page, name):
    """The section of a name, without tags."""
    found = re.search(rf'<section id="{re.escape(name)}">(.*?)</section>', page, re.DOTALL)
    return re.sub(r"<[^>]+>", "", found[1]) if found else None


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_has_an_entry(package, pages):
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.ismodule(value):
            assert value.__name__ in pages
            assert (value.__doc__ or "").split("\n")[0][:40] in re.sub(r"<[^>]+>", "", pages[value.__name__])
        else:
            assert entry(pages[package.__name__], name) is not None, f"expected an entry for {name}"


@pytest.mark.parametrize("package", PACKAGES[1:], ids=lambda package: package.__name__)
def test_every_entry_says_what_it_is(package, pages):
    page = pages[package.__name__]
    without = []
    for name in package.__all__:
        section = re.search(rf'<section id="{re.escape(name)}">(.*?)</section>', page, re.DOTALL)
        if section and 'class="docstring"' not in section[1]:
            without.append(name)
    assert without == []


def test_sections_of_docstrings_are_lists(pages):
    shown = entry(pages["paramact_jax.activations"], "parametric")
    for heading in ("Arguments:", "Returns:", "Raises:", "Examples:"):
        assert heading in shown
    assert "jax.jaxlib" not in "".join(pages.values())
    assert "Alias for field number" not in "".join(pages.values())
