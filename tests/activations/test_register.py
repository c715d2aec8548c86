"""Own activations by name: registered in a process, in a module, in a file."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paramact_jax as pa
from paramact_jax.activations import catalogue


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(catalogue, "_REGISTERED", {})


def cubic(y):
    return y**3 / (1 + y**2)


def test_a_registered_function_is_found_by_every_part_of_the_package(registered):
    record = pa.activations.register(cubic)
    assert pa.activations.get("cubic") is record is pa.activations.register(record)
    assert pa.activations.names()[-1] == "cubic"
    np.testing.assert_allclose(record(2.0), 1.6)
    layer = pa.nnx.Parametric("cubic", 3)
    np.testing.assert_allclose(layer(jnp.full((1, 3), 2.0)), layer.a[...][None] * 1.6, rtol=1e-6)
    assert pickle.loads(pickle.dumps(record))(2.0) == record(2.0)  # another process would not have the name


@pytest.mark.parametrize(
    ("own", "name", "message"),
    [
        (cubic, "ppns", "expected one that no other record has, got 'ppns'"),
        (cubic, "mine:cubic", "expected one without a colon"),
        (lambda y: y.sum(), "total", "expected"),
    ],
)
def test_a_name_or_a_function_that_cannot_be_one_is_refused(registered, own, name, message):
    with pytest.raises((ValueError, TypeError), match=message):
        pa.activations.register(own, name)
    assert name not in catalogue._REGISTERED


def test_a_function_in_a_file_is_one_record_however_often_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import jax.numpy as jnp\n\n\ndef gate(y):\n    return jnp.sin(y) + y\n")
    monkeypatch.chdir(tmp_path)
    record = catalogue.get("mine.py:gate")
    assert catalogue.get("mine.py:gate") is record
    assert (record.name, record.params) == ("gate", {})
    np.testing.assert_allclose(record(1.0), np.sin(1) + 1, rtol=1e-6)
    scaled = catalogue.get("parametric:mine.py:gate")
    assert scaled.params["a"] == pytest.approx(0.75)
    np.testing.assert_allclose(scaled(1.0, a=2.0, b=0.5), 2 * (np.sin(0.5) + 0.5), rtol=1e-6)
    assert catalogue.get("jax.nn:softplus")(0.0) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:gate", "expected a module or a file that can be imported .*ModuleNotFoundError"),
        ("nowhere.py:gate", "FileNotFoundError: no file .*nowhere.py"),
        ("broken.py:gate", "ZeroDivisionError"),
        ("broken.py:", "ZeroDivisionError"),
        ("jax.nn:swoosh", "expected a function or a record called 'swoosh' there, got no such name"),
        ("jax:__version__", "expected a function or a record called '__version__' there, got '"),
        ("parametric:swoosh", "unknown activation 'swoosh'"),
        ("buggy.py:f", r"'buggy.py:f': .*AttributeError from it \(module 'jax.numpy' has no attribute 'undefined'"),
        ("buggy.py:pair", r"'buggy.py:pair': .*got 2 outputs"),
    ],
)
def test_a_place_without_an_activation_is_told_in_one_line(name, message, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    source = "import jax.numpy as jnp\ndef f(y):\n    return jnp.undefined(y)\ndef pair(y):\n    return y, y\n"
    (tmp_path / "buggy.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        catalogue.get(name)
    assert "\n" not in str(error.value)


def test_a_record_in_a_module_is_taken_as_it_is():
    assert catalogue.get("paramact_jax.activations:ppns") is pa.activations.ppns
    assert jax.tree.leaves(pa.activations.ppns) == [pa.activations.ppns]
