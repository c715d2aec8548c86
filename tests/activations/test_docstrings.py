"""The examples under the records: doctest itself only sees the docstrings of functions and classes."""

import ast
import doctest
import importlib
import inspect
import itertools

import pytest

MODULES = ("zoo", "rectifiers", "wrapped", "shaped", "hexpo", "reltanh")


def examples():
    for name in MODULES:
        module = importlib.import_module(f"paramact_jax.activations.{name}")
        body = ast.parse(inspect.getsource(module)).body
        for assignment, text in itertools.pairwise(body):
            if isinstance(assignment, ast.Assign) and isinstance(text, ast.Expr) and ">>>" in ast.unparse(text):
                record = assignment.targets[0].id
                yield pytest.param(module, record, ast.literal_eval(text.value), id=record)


@pytest.mark.parametrize(("module", "record", "text"), list(examples()))
def test_the_examples_under_a_record_run(module, record, text):
    test = doctest.DocTestParser().get_doctest(text, dict(vars(module)), record, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
