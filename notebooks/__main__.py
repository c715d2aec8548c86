"""Execute the notebooks and store them with what they show: `python -m notebooks [NAME ...]`.

Each NAME.py is made into NAME.ipynb, from top to bottom in a fresh kernel; all take about four minutes on 2 cores.
What differs from one execution to the next, times and identifiers, is not stored: an .ipynb changes when its results
do. `mnist` is to be stored as executed on the real images: PARAMACT_DATA or the network has to provide them.

They need the extra `notebooks`: pip install -e ".[notebooks]".
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the libraries take seconds to import, and the tests collect this module in every process
    from nbformat import NotebookNode

FOLDER = Path(__file__).parent
NAMES = (
    "quickstart",
    "seed_sweep",
    "where_gradients_vanish",
    "mnist",
    "which_gain",
    "your_own_activation",
    "any_model",
)
REPOSITORY = "https://github.com/YOUR_ACCOUNT/paramact_jax"
"""Where Colab finds the notebooks, and their first cell the package. A name with an underscore is no account of
GitHub's, so nobody else can own it: replace YOUR_ACCOUNT in all files of this folder once there is one."""

_SECONDS_PER_CELL = 600
_QUIET = ["--log-level=ERROR"]  # a kernel says that others on this machine could read what it sends
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def from_text(name: str) -> NotebookNode:
    """The notebook that the text of this name describes, not executed."""
    import jupytext

    return jupytext.read(FOLDER / f"{name}.py")


def stored(name: str) -> NotebookNode:
    """The notebook as stored, with its outputs."""
    import nbformat

    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(notebook: NotebookNode, **environment: str) -> NotebookNode:
    """Execute the cells in a kernel of this Python and this source tree.

    Args:
      notebook: gets its outputs in place.
      environment: variables that the kernel has beside those of this process.

    Returns:
      The notebook.

    Raises:
      nbclient.exceptions.CellExecutionError: if a cell raises.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    # no directories: a kernel of the user's that is called python3 too may be another Python
    kernels = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels)
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=_SECONDS_PER_CELL,
        record_timing=False,
        coalesce_streams=True,  # how often a kernel sends what is printed is a matter of chance
        extra_arguments=_QUIET,
    )
    here = os.environ | {"PYTHONPATH": str(FOLDER.parent), "PYTHONSAFEPATH": "1"}
    client.execute(cleanup_kc=True, env=here | environment, cwd=str(FOLDER))
    return notebook


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs between two executions with the same results."""
    import nbformat

    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        cell.metadata = nbformat.NotebookNode()
    return notebook


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute and store; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; by default all")
    names = parser.parse_args(arguments).names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        print(f"expected names among {', '.join(NAMES)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    import nbformat

    for name in names:
        notebook = without_traces(execute(from_text(name)))
        nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        print(f"{name}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
