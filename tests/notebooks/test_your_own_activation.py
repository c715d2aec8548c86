"""A function of the reader's own: its checks, and its start value of a."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notebook(run_notebook):
    return run_notebook(
        "your_own_activation",
        {
            "found": "quick.params['a']",
            "ulps": "verification.ulp_error(arsinh).error",
            "passed": "[check.passed for check in checks]",
            "failed": "sorted({check.quantity for check in failed})",
            "shares": "{a: float(converged.sel(a=a).mean()) for a in STARTS}",
            "trials": "TRIALS",
            "p": "compared.p_value",
        },
    )


def test_the_start_value_is_found_for_a_bare_function(notebook):
    assert notebook.values["found"] == pytest.approx(1.5, abs=1e-4)


def test_the_closed_form_passes_and_the_wrong_one_does_not(notebook):
    assert len(notebook.values["passed"]) > 40
    assert all(notebook.values["passed"])
    assert notebook.values["failed"] == ["dz/dy"]
    assert "dz/dy at y = " in notebook.printed()


def test_the_value_is_as_exact_as_the_notebook_shows(notebook):
    assert notebook.values["ulps"] < 4


@pytest.mark.parametrize(
    ("a", "pattern"),
    [
        ("0.5", "at 0.5 N %"),
        ("1.0", "at 1 N %"),
        ("1.25", "at 1.25 N %"),
        ("1.5", "at 1.5 N %"),
        ("2.0", "at 2 N %"),
    ],
)
def test_shares_are_those_in_the_prose(notebook, a, pattern):
    assert notebook.values["trials"] == notebook.stated("over N seeds each")
    assert 100 * notebook.values["shares"][a] == pytest.approx(notebook.stated(pattern), abs=3)


def test_the_two_best_are_not_told_apart(notebook):
    assert "Five hundred seeds do not tell the two apart." in notebook.prose
    assert notebook.values["p"] > 0.05


def test_it_draws_the_functions_and_the_sweep(notebook):
    assert len(notebook.figures()) == 2
