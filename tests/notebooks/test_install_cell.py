"""What the first cell does on a runtime that has its own jax, with pip itself and packages that hold nothing."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from notebooks.__main__ import REPOSITORY, from_text

pip = pytest.importorskip("pip")
CELL = from_text("quickstart").cells[2].source


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
    package = write_wheel(index, "paramact_jax", "0.1.0", ["jax>=0.8.2", "jaxlib>=0.8.2", "flax"])

    def run(installed):
        for name, version in installed.items():
            with zipfile.ZipFile(write_wheel(tmp_path, name, version)) as wheel:
                wheel.extractall(site)
        cell = CELL.replace(f"git+{REPOSITORY}", package.as_uri())
        assert cell != CELL
        done = subprocess.run(
            [tmp_path / "runtime" / "bin" / "python", "-c", f"{cell}\nimport paramact_jax"],
            cwd=index,
            env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, {tuple(path.name.removesuffix(".dist-info").split("-")) for path in site.glob("*.dist-info")}

    return run


def test_an_admitted_jax_stays_even_if_a_dependency_would_like_another(runtime):
    done, present = runtime({"jax": "0.9.1", "jaxlib": "0.9.1"})
    assert done.returncode == 0, done.stderr
    assert present == {("jax", "0.9.1"), ("jaxlib", "0.9.1"), ("flax", "1.0"), ("paramact_jax", "0.1.0")}


def test_without_the_pins_it_would_not_stay(runtime, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CELL", CELL.replace("package, *kept]", "package]"))
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


def test_where_the_package_is_pip_is_not_called(runtime):
    done, present = runtime({"paramact_jax": "0.0.1"})
    assert done.returncode == 0, done.stderr
    assert present == {("paramact_jax", "0.0.1")}
