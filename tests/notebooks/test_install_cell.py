"""What the first cell does on a runtime that has its own jax, with pip itself and packages that hold nothing."""

import ast
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from notebooks.__main__ import REPOSITORY, from_text

pip = pytest.importorskip("pip")
CELL = from_text("quickstart").cells[2].source
ROOT = Path(__file__).parents[2]
(NEEDS,) = (
    ast.literal_eval(node.value)
    for node in ast.parse(CELL).body
    if isinstance(node, ast.Assign) and node.targets[0].id == "NEEDS"
)
OTHERS = sorted(set(NEEDS) - {"flax", "jax", "paramact_jax"})
OF_OTHERS = {(name, "1.0") for name in OTHERS}


def write_wheel(folder, name, version, requires=()):
    """A package of one empty module."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    metadata = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    metadata += ["Provides-Extra: experiments"]
    files = {
        f"{module}/__init__.py": "",
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(file, content)
    return path


@pytest.fixture
def runtime(tmp_path):
    """A Python with pip and whatever is put beside it, and an index with a jax that is newer than any."""
    venv.create(tmp_path / "runtime", with_pip=False)
    (site,) = (tmp_path / "runtime").glob("lib/python*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    index = tmp_path / "index"
    index.mkdir()
    for name in ("jax", "jaxlib"):
        write_wheel(index, name, "99.0")
    write_wheel(index, "flax", "1.0")
    write_wheel(index, "flax", "2.0", ["jax>=99"])
    for name in OTHERS:
        write_wheel(index, name, "1.0")
    requires = ["jax>=0.8.2", "jaxlib>=0.8.2", "flax", *OTHERS]
    package = write_wheel(index, "paramact_jax", "0.1.0", requires)
    (tmp_path / "working").mkdir()

    def run(installed, then="import paramact_jax; assert paramact_jax.__file__"):
        for name, version in installed.items():
            with zipfile.ZipFile(write_wheel(tmp_path, name, version)) as wheel:
                wheel.extractall(site)
        cell = CELL.replace(f"git+{REPOSITORY}", package.as_uri())
        assert cell != CELL
        done = subprocess.run(
            [tmp_path / "runtime" / "bin" / "python", "-c", f"{cell}\n{then}"],
            cwd=tmp_path / "working",
            env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.count("RuntimeError: ") == done.returncode
        present = {tuple(path.name.removesuffix(".dist-info").split("-")) for path in site.glob("*.dist-info")}
        return done, present - OF_OTHERS

    return run


@pytest.fixture
def clone(tmp_path):
    """A function of a folder: what stands in a clone, in it, but that no build of it needs the network."""

    def make(folder):
        (folder / "paramact_jax").mkdir(parents=True)
        (folder / "paramact_jax" / "__init__.py").write_text("import flax")
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        (folder / "backend.py").write_text(
            "import pathlib, shutil\n"
            "def build_wheel(folder, *_):\n"
            "    (wheel,) = (pathlib.Path(__file__).parent / 'wheels').iterdir()\n"
            "    return shutil.copy(wheel, folder).rpartition('/')[2]\n"
        )
        (folder / "wheels").mkdir()
        write_wheel(folder / "wheels", "paramact_jax", "0.2.0", ["jax", "flax", *OTHERS])

    return make


def test_an_admitted_jax_stays_even_if_a_dependency_would_like_another(runtime):
    done, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    assert done.returncode == 0, done.stderr
    assert present == {("jax", "0.9.1"), ("jaxlib", "0.9.1"), ("flax", "1.0"), ("paramact_jax", "0.1.0")}


def test_without_the_pins_it_would_not_stay(runtime, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CELL", CELL.replace(", *kept]", "]"))
    _, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    assert ("jax", "99.0") in present


def test_a_jax_that_is_too_old_is_refused_and_stays(runtime):
    done, present = runtime({"jax": "0.7.2", "jaxlib": "0.7.2"})
    assert done.returncode == 1
    assert "cannot be installed beside jax==0.7.2 jaxlib==0.7.2" in done.stderr
    assert present == {("jax", "0.7.2"), ("jaxlib", "0.7.2")}


def test_without_any_jax_the_newest_is_installed(runtime):
    done, present = runtime({})
    assert done.returncode == 0, done.stderr
    assert {("jax", "99.0"), ("jaxlib", "99.0"), ("paramact_jax", "0.1.0")} <= present


@pytest.mark.parametrize("beside_a_clone", [False, True])
def test_where_the_package_is_pip_is_not_called(runtime, clone, tmp_path, beside_a_clone):
    if beside_a_clone:
        clone(tmp_path / "working" / "paramact_jax")
    done, present = runtime(dict.fromkeys(NEEDS, "0.0.1"))
    assert done.returncode == 0, done.stderr
    assert ("paramact_jax", "0.0.1") in present
    assert ("paramact_jax", "0.1.0") not in present


def test_plugins_and_the_library_of_a_tpu_stay_too(runtime, tmp_path):
    own = {"jax": "0.9.1", "jaxlib": "0.9.1", "jax_cuda13_plugin": "0.9.1", "libtpu": "0.0.30", "jaxtyping": "0.3"}
    done, _ = runtime(own | {"paramact_jax": "0.0.1"}, "print(*kept)")
    assert done.stdout.split() == ["jax==0.9.1", "jax_cuda13_plugin==0.9.1", "jaxlib==0.9.1", "libtpu==0.0.30"]


@pytest.mark.parametrize("folder", [".", "paramact_jax"], ids=["the working folder", "in the working folder"])
def test_a_clone_is_installed_with_what_it_needs(runtime, clone, tmp_path, folder):
    clone(tmp_path / "working" / folder)
    done, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    assert done.returncode == 0, done.stderr
    assert present == {("jax", "0.9.1"), ("jaxlib", "0.9.1"), ("flax", "1.0"), ("paramact_jax", "0.2.0")}


def test_a_clone_in_the_working_folder_that_has_all_it_needs_is_used_as_it_is(runtime, clone, tmp_path):
    clone(tmp_path / "working")
    done, present = runtime(
        dict.fromkeys(["jax", "flax", *OTHERS], "1.0"), "import paramact_jax as p; print(p.__file__)"
    )
    assert Path(done.stdout.strip()).parent == tmp_path / "working" / "paramact_jax"
    assert present == {("jax", "1.0"), ("flax", "1.0")}


def test_a_clone_that_cannot_be_installed_is_said_in_one_line(runtime, clone, tmp_path):
    clone(tmp_path / "working" / "paramact_jax")
    shutil.rmtree(tmp_path / "index")
    done, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    last = done.stderr.splitlines()[-1]
    assert "paramact_jax cannot be installed beside jax==0.9.1 jaxlib==0.9.1 from file:///" in last
    assert "working/paramact_jax; mend this: " in last
    assert last.endswith("No matching distribution found for flax")
    assert present == {("jax", "0.9.1"), ("jaxlib", "0.9.1")}


def test_a_folder_of_the_same_name_is_not_the_package(runtime, tmp_path):
    (tmp_path / "working" / "paramact_jax").mkdir()
    done, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    assert done.returncode == 0, done.stderr
    assert ("paramact_jax", "0.1.0") in present


def test_a_folder_that_was_imported_before_is_said_in_one_line(runtime, tmp_path, monkeypatch):
    (tmp_path / "working" / "paramact_jax").mkdir()
    monkeypatch.setattr(sys.modules[__name__], "CELL", f"import paramact_jax\n{CELL}")
    done, _ = runtime({})
    assert done.stderr.splitlines()[-1] == (
        "RuntimeError: expected paramact_jax to be installed now, got none; restart the runtime"
    )


def test_what_the_package_imports_is_what_the_cell_looks_for():
    files = [path.read_text() for path in (ROOT / "paramact_jax").rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert sorted({name.partition(".")[0] for name in names} - sys.stdlib_module_names) == NEEDS


@pytest.mark.parametrize(("own", "shown"), [({}, "highest"), ({"JAX_DEFAULT_MATMUL_PRECISION": "high"}, "high")])
def test_products_are_float32_unless_the_user_asked_otherwise(own, shown):
    code = f"{CELL}\nimport jax; print(jax.config.jax_default_matmul_precision)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [shown]
