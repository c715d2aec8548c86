import pytest

from paramact_jax.activations import catalogue
from paramact_jax.figures import gallery
from paramact_jax.figures.gallery import family


def test_one_panel_a_record_and_a_family_for_parametric_ones():
    records = [catalogue.get(name) for name in ("tanh", "ppns", "relu6", "hexpo", "step", "silu")]
    figure = gallery(records, reach=4.0)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [record.name for record in records]
    curves = [[line for line in axes.lines if len(line.get_xdata()) > 100] for axes in panels]
    assert [len(lines) for lines in curves] == [2, 6, 2, 2, 2, 2]
    z, slope = curves[1][:2]
    assert max(z.get_ydata()) == pytest.approx(6 / (1 + 2.718281828**-4) - 3, rel=1e-3)
    assert max(slope.get_ydata()) == pytest.approx(1.5)


def test_the_family_starts_at_the_start_values():
    members = list(family(catalogue.get("parametric_tanh")))
    assert members[0] == {"a": 1.5, "b": 0.0}
    assert {(m["a"], m["b"]) for m in members[1:]} == {(0.75, 0), (2.25, 0), (1.5, -2), (1.5, 2)}
    assert list(family(catalogue.get("tanh"))) == [{}]


@pytest.mark.parametrize(("records", "reach"), [([], 5.0), ([catalogue.get("tanh")], 0.0)])
def test_nothing_to_draw_is_refused(records, reach):
    with pytest.raises(ValueError, match="at least one record and a reach > 0"):
        gallery(records, reach=reach)
