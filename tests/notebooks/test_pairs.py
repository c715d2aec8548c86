"""Texts, stored notebooks, and what both promise to each other."""

import ast
import base64
import re

import pytest

from notebooks.__main__ import FOLDER, NAMES, REPOSITORY, from_text, main, stored, without_traces


def text_outputs(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))
            yield output.get("text", "")


def figures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def statements(cell):
    return ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE)).body


def cells_that_draw(notebook):
    """Cells that end with a call of a function of paramact_jax.figures."""
    bodies = [statements(cell) for cell in notebook.cells if cell.cell_type == "code"]
    imports = [node for body in bodies for node in body if isinstance(node, ast.ImportFrom)]
    functions = {alias.name for node in imports if node.module == "paramact_jax.figures" for alias in node.names}
    for body in bodies:
        match body[-1]:
            case ast.Expr(ast.Call(ast.Name(name))) if name in functions:
                yield name


def test_the_folder_holds_the_pairs_and_nothing_else():
    texts = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert texts == {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_text_and_stored_notebook_have_the_same_cells(name):
    text, notebook = from_text(name), stored(name)
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in text.cells]


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_show_figures_and_nothing_of_the_machine(name):
    notebook = stored(name)
    assert len(figures(notebook)) == len(list(cells_that_draw(notebook))) >= 1
    for figure in figures(notebook):
        assert base64.b64decode(figure).startswith(b"\x89PNG")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    for text in text_outputs(notebook):
        assert not re.search(r"Traceback|Warning|0x[0-9a-f]{6}", text)
        assert not re.search(r"(?<![\w<:/.])/\w+/", text), "an absolute path"
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "not executed from top to bottom"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_has_no_traces_of_its_execution(name):
    notebook = stored(name)
    assert without_traces(stored(name)) == notebook
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize("name", NAMES)
def test_stored_images_are_of_mnist_where_the_prose_speaks_of_it(name):
    assert not any("synthetic" in text for text in text_outputs(stored(name)))


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_opens_alike_and_leads_on(name):
    first, introduction, installation, *_, last = from_text(name).cells
    assert first.source.splitlines()[0] == (
        "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"({REPOSITORY.replace('github.com', 'colab.research.google.com/github')}/blob/main/notebooks/{name}.ipynb)"
    )
    assert len(re.findall(r"^# ", first.source, re.MULTILINE)) == 1
    assert f'"git+{REPOSITORY}"' in installation.source
    alike = from_text(NAMES[0]).cells[1:3]
    assert [introduction.source, installation.source] == [cell.source for cell in alike]
    assert last.cell_type == "markdown"
    assert "## Onward" in last.source
    assert any(f"`{other}`" in last.source for other in set(NAMES) - {name})


@pytest.mark.parametrize("name", NAMES)
def test_only_the_package_is_used(name):
    tree = ast.Module([node for c in from_text(name).cells if c.cell_type == "code" for node in statements(c)])
    imported = {
        module.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert "paramact_jax" in imported
    assert "experiments" not in imported


def test_the_address_stands_in_no_other_form():
    addresses = [
        address
        for path in FOLDER.iterdir()
        if path.is_file()
        for address in re.findall(r"github(?:\.com)?/([\w-]+)/paramact_jax", path.read_text(encoding="utf-8"))
    ]
    assert set(addresses) == {REPOSITORY.split("/")[-2]}


def test_unknown_names_are_refused_in_one_line(capsys):
    assert main(["quickstrat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("expected names among quickstart")
    assert line.endswith("got quickstrat")
