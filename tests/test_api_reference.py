"""`python -m experiments.tools.api_reference`: no warning, and an entry with its text for every public name."""

import importlib.util
import inspect
import re
import subprocess
import sys

import pytest

import paramact_jax

if importlib.util.find_spec("pdoc") is None:
    pytest.skip("pdoc is not installed: pip install -e '.[docs]'", allow_module_level=True)

from experiments.tools import api_reference

PACKAGES = [
    paramact_jax,
    *(value for name in paramact_jax.__all__ if hasattr(value := getattr(paramact_jax, name), "__all__")),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The text of each page by the name of its module; built in a process of its own, as a user does."""
    out = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", "-m", "experiments.tools.api_reference", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return {".".join(f.relative_to(out).with_suffix("").parts): f.read_text() for f in out.rglob("*.html")}


def entry(page, name):
    """The section of a name."""
    found = re.search(rf'<section id="{re.escape(name)}">(.*?)</section>', page, re.DOTALL)
    assert found, f"expected an entry for {name}"
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_has_an_entry_that_says_what_it_is(package, pages):
    for name in package.__all__:
        value = getattr(package, name)
        shown = pages[value.__name__] if inspect.ismodule(value) else entry(pages[package.__name__], name)
        assert 'class="docstring"' in shown, f"expected a docstring for {name}"


@pytest.mark.slow
def test_docstrings_and_annotations_are_shown_as_they_are_meant(pages):
    shown = re.sub(r"<[^>]+>", "", entry(pages["paramact_jax.activations"], "parametric"))
    for heading in ("Arguments:", "Returns:", "Raises:", "Examples:"):
        assert heading in shown
    everything = "".join(pages.values())
    assert "jax.jaxlib" not in everything
    assert "Alias for field number" not in everything


@pytest.mark.slow
def test_pages_of_the_packages_stand_before_their_names(pages):
    front = pages["paramact_jax"]
    assert "An existing model" in front
    assert 'href="paramact_jax/sweeps.html"' in front
    assert "Trials that failed" in pages["paramact_jax.sweeps"]
    assert not re.search(r"href=\"[^\"]*README", front + pages["paramact_jax.sweeps"])


def test_annotations_of_functions_from_elsewhere_are_evaluated():
    def theirs(x: "int") -> "str": ...

    def ours(x: "int") -> "str": ...

    ours.__module__ = "paramact_jax.layers"
    api_reference._resolve_annotations(type("Own", (), {"theirs": theirs, "ours": ours, "number": 1}))
    assert theirs.__annotations__ == {"x": int, "return": str}
    assert ours.__annotations__ == {"x": "int", "return": "str"}
