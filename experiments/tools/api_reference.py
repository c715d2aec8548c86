"""`python -m experiments.tools.api_reference [DIRECTORY]`: the API reference as HTML, by default in build/reference.

Needs the extra `docs`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pdoc
import pdoc.doc_ast
import pdoc.render

import paramact_jax


def build(directory: Path) -> None:
    """Writes one page for each public package and module, and an index with a search.

    Args:
      directory: where to write.
    """
    for name in paramact_jax.__all__:  # pdoc looks into the module's dict, which has these names only after first use
        setattr(paramact_jax, name, getattr(paramact_jax, name))
    jax.Array.__qualname__ = "Array"  # JAX calls it jax.jaxlib._jax.Array
    for module in public_modules():
        module.__doc__ = f"{module.__doc__}\n\n{_page(module)}"
        _document_imported_values(module)
        for value in vars(module).values():
            if inspect.isclass(value):
                _resolve_annotations(value)
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"version {paramact_jax.__version__}")
    pdoc.pdoc("paramact_jax", output_directory=directory)


def public_modules() -> Iterator[ModuleType]:
    """Yields the package, then the subpackages and modules among its public names."""
    yield paramact_jax
    yield from filter(inspect.ismodule, (getattr(paramact_jax, name) for name in paramact_jax.__all__))


def _page(module: ModuleType) -> str:
    """Returns the page next to a package, "" if it has none; links to other packages lead to their reference."""
    page = Path(str(module.__file__)).with_name("README.md")
    if not hasattr(module, "__path__") or not page.exists():
        return ""
    text = re.sub(r"\[([^]]+)\]\(\.\./[^)]*\)", r"\1", page.read_text(encoding="utf-8"))  # links out of the package
    return re.sub(r"\((\w+)/README\.md\)", r"(paramact_jax/\1.html)", text)


def _document_imported_values(module: ModuleType) -> None:
    """Gives the values that a package imports from its modules the docstrings that they have there."""
    own = pdoc.doc_ast.walk_tree(module).var_docstrings
    for node in pdoc.doc_ast.parse(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paramact_jax."):
            theirs = pdoc.doc_ast.walk_tree(importlib.import_module(str(node.module))).var_docstrings
            own.update({alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs})


def _resolve_annotations(value: Any) -> None:
    """Evaluates annotations where they were written; pdoc would look for their names in another module."""
    if issubclass(value, tuple) and hasattr(value, "_fields"):  # its __new__ says that it belongs to collections
        value.__new__.__annotations__ = typing.get_type_hints(value)
        for field in ("__new__", *value._fields):
            getattr(value, field).__doc__ = ""  # "Alias for field number 0"
    for member in vars(value).values():
        if inspect.isfunction(member) and not member.__module__.startswith("paramact_jax"):
            member.__annotations__ = typing.get_type_hints(member)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/reference"))
