"""A notebook executed in processes of its own, and what it left in its kernel."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notebooks.__main__ import from_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
STRICT = "import warnings\nwarnings.simplefilter('error')"
EXECUTE = (
    "import sys, nbformat; from notebooks.__main__ import execute; "
    "nbformat.write(execute(nbformat.read(sys.stdin, 4)), sys.stdout)"
)


@dataclasses.dataclass(frozen=True)
class Executed:
    """What a notebook shows, the values of some expressions at its end, and its prose in one line."""

    notebook: "NotebookNode"
    values: dict
    prose: str

    def stated(self, pattern):
        """The one number that the prose has in the place of N."""
        (number,) = set(re.findall(re.escape(pattern).replace("N", r"(-?[\d,]*\.?\d+)", 1), self.prose))
        return float(number.replace(",", ""))

    def outputs(self, kind):
        return [o for cell in self.notebook.cells for o in cell.get("outputs", []) if o.output_type == kind]

    def figures(self):
        return [o for o in self.outputs("execute_result") if "image/png" in o.data]

    def printed(self):
        return "".join(o.text for o in self.outputs("stream"))


@pytest.fixture(scope="module")
def run_notebook(tmp_path_factory):
    """A function of a notebook's name, of expressions by name, and of variables of its environment."""

    def run(name, expressions, **environment):
        import nbformat

        notebook = from_text(name)
        own = {
            "JUPYTER_RUNTIME_DIR": tmp_path_factory.mktemp("jupyter"),
            "IPYTHONDIR": tmp_path_factory.mktemp("ipython"),
        }
        prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        asked = ", ".join(f"{name!r}: {expression}" for name, expression in expressions.items())
        report = f"import json\nprint(json.dumps({{{asked}}}))"
        code = nbformat.v4.new_code_cell
        notebook.cells = [code(STRICT), *notebook.cells, code(report)]
        done = subprocess.run(
            [sys.executable, "-c", EXECUTE],
            input=nbformat.writes(notebook),
            env=os.environ | {key: str(value) for key, value in (own | environment).items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result = nbformat.reads(done.stdout, 4)
        (answer,) = result.cells.pop().outputs
        executed = Executed(result, json.loads(answer.text), " ".join(prose.split()))
        assert not [o for o in executed.outputs("stream") if o.name == "stderr"]
        return executed

    return run
