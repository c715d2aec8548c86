"""The package as others install it: a wheel, in an environment that does not see the clone."""

import email
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import paramact_jax

ROOT = Path(__file__).parents[1]
USE = """
import importlib.util, sys, time

start = time.perf_counter()
import paramact_jax as pa
seconds = time.perf_counter() - start
assert not {"jax", "flax", "numpy"} & set(sys.modules)
print(seconds)
print(pa.__file__)
assert importlib.util.find_spec("experiments") is None

import jax
from flax import nnx

rngs = nnx.Rngs(0)
net = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), jax.nn.relu, nnx.Linear(8, 1, rngs=rngs))
x = jax.numpy.ones((2, 4))
model = pa.parametrise(net, x).model
assert (model(x) == net(x)).all()
found = pa.gradients.attribute(model, x, loss=lambda outputs: (outputs**2).mean())
assert {"linear", "activation"} <= {str(kind) for kind in found.by_kind()}
results = pa.sweep(lambda key, scale: {"w": scale * jax.random.normal(key, (3,))}, range(8), axes={"scale": [1.0, 2.0]})
assert results["w"].sizes == {"scale": 2, "seed": 8, "w_dim_0": 3}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_a_wheel_holds_the_package_alone_and_asks_for_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(name for name in names if name.endswith("/METADATA"))))
    sources = (path for path in (ROOT / "paramact_jax").rglob("*") if path.suffix in (".py", ".typed"))
    assert {name for name in names if name.endswith((".py", ".typed"))} == {
        path.relative_to(ROOT).as_posix() for path in sources
    }
    assert {name.partition("/")[0] for name in names} == {
        "paramact_jax",
        f"paramact_jax-{paramact_jax.__version__}.dist-info",
    }
    assert metadata["Version"] == paramact_jax.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    core = [need for need in metadata.get_all("Requires-Dist") if "extra ==" not in need]
    assert not any(need.startswith(("matplotlib", "tensorflow")) for need in core)


@pytest.mark.slow
def test_an_installed_wheel_is_imported_at_once_and_works_without_the_clone(wheel, tmp_path):
    venv.create(tmp_path / "environment", with_pip=True)
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    (site,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # without the clone: .pth files count once
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    seconds = []
    for script in (USE, *[USE.partition("import jax\n")[0]] * 2):
        words = [python, "-c", script]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        took, place = done.stdout.split()
        seconds.append(float(took))
        assert site in Path(place).parents
    assert min(seconds) < 0.2
