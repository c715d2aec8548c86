"""The two runs of [R] are as printed."""

import pytest

from paramact_jax.papers.student_report import HE, LABEL_SHARES, SMALL, STEPS_A_LINE, PrintedRun

HE_AS_PRINTED = """
0.12055 0.1157
0.8010833333333334 0.8104
0.8558833333333333 0.861
0.8818833333333334 0.8847
0.8953666666666666 0.8964
0.9051166666666667 0.9082
0.9127833333333333 0.9142
0.9185666666666666 0.9188
0.9264833333333333 0.9265
0.9287333333333333 0.9275
0.9323166666666667 0.9313
0.9363833333333333 0.9354
0.9375666666666667 0.9345
0.94175 0.939
0.9435 0.9385
0.9438166666666666 0.9388
0.9461833333333334 0.942
"""


def test_lines_are_as_printed():
    assert [f"{train} {test}" for train, test in HE.lines] == HE_AS_PRINTED.strip().splitlines()
    assert [f"{train} {test}" for train, test in SMALL.lines] == [
        *["0.11236666666666667 0.1135"] * 10,
        "0.10441666666666667 0.1028",
        *["0.11236666666666667 0.1135"] * 5,
    ]


def test_the_book_prints_as_many_lines():
    assert len(HE.lines) == len(range(0, 10_000, STEPS_A_LINE)) == 17


def test_the_shares_are_those_of_two_labels_of_mnist():
    counts = {label: (round(train * 60_000), round(test * 10_000)) for label, (train, test) in LABEL_SHARES.items()}
    assert counts == {1: (6_742, 1_135), 7: (6_265, 1_028)}
    assert set(SMALL.lines) == set(LABEL_SHARES.values())


@pytest.mark.parametrize("accuracy", [1.1, -0.1, 0.11236])
def test_what_is_no_share_of_the_images_is_refused(accuracy):
    with pytest.raises(ValueError, match=r"expected a share of 60000 images"):
        PrintedRun("x", ((accuracy, 0.5),))
    with pytest.raises(ValueError, match="at least one line"):
        PrintedRun("x", ())
