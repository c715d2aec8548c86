import json
import re
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.problems.cnn.protocol import Protocol
from experiments.tools import findings as kept
from experiments.tools import sentences
from paramact_jax.papers import ko2021, kong2020

README = Path(__file__).parents[2] / "README.md"


def test_readme_opens_with_the_sentences_that_the_kept_runs_give():
    stands = re.search(r"<!-- python -m experiments findings -->\n(.*?)\n<!-- end -->", README.read_text(), re.DOTALL)
    assert stands is not None
    assert stands[1] == sentences.lines(kept.summaries())


@pytest.mark.parametrize(
    ("sentence", "run", "change"),
    [
        (
            sentences.ablation_xor10,
            "ablation-xor10",
            lambda run: run["means"]["trials that converge"]["ppns"].update({"gain, learned": 1.0}),
        ),
        (
            sentences.optimisers,
            "optimisers-xor10",
            lambda run: run["answers"][0].update(verdict="not told apart"),
        ),
        (
            sentences.student_report,
            "initial-scale",
            lambda run: [one.update(fits=False) for one in run["he"]],
        ),
    ],
)
def test_words_that_a_run_does_not_bear_out_are_refused(sentence, run, change):
    summaries = kept.summaries()
    assert sentence(summaries)
    change(summaries[run])
    with pytest.raises(ValueError, match="expected kept runs that bear out"):
        sentence(summaries)


def cells(row):
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def table(heading):
    """Rows of the table in README whose heading begins so."""
    lines = README.read_text().splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith(heading)]
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append(cells(line))
    return rows


def mean_and_interval(found, form):
    low, high = found["interval"]
    return f"{found['mean']:{form}}, {low:{form}} to {high:{form}}"


def test_the_table_of_the_convolutional_networks_is_that_of_the_kept_run():
    run, expected = kept.summaries()["cnn"]["combinations"], []
    for row in kong2020.TABLE_1:
        found = run[f"{row.conv}/{row.dense}"]
        names = f"{kong2020.LABELS[row.conv]} / {kong2020.LABELS[row.dense]}"
        at = f"{found['best_iteration']['mean']:,.0f}"
        loss = mean_and_interval(found["best_loss"], ".3f")
        expected.append([names, loss, f"{row.loss + 1e-9:.3f}", at, f"{row.iterations:,}"])
    assert table("| convolutional / dense |") == expected


def test_the_table_of_mnist_is_that_of_the_kept_run():
    run, expected = kept.summaries()["mnist"]["activations"], []
    losses = {row.activation: f"{row.loss:.3f}" for row in ko2021.MNIST_FINAL_LOSS}
    slopes = {row.activation: f"{row.count:,}" for row in ko2021.FIG_14}
    for name, found in run.items():
        steep, steps = found["steep_slopes"], found["time_to_loss"]["steps"]
        not_all = f" ({steps['seeds']} of {steps['seeds'] + steps['non_finite']})" if steps["non_finite"] else ""
        expected.append(
            [
                mean_and_interval(found["test_loss"], ".3f"),
                losses.get(name, ""),
                f"{steep['mean']:,.0f}, {steep['deviation']:,.0f}",
                slopes[name],
                f"{steps['mean']:,.0f}{not_all}",
            ]
        )
    assert [row[1:] for row in table("| | test loss, 95 % interval |")] == expected


@pytest.mark.parametrize(
    ("run", "source", "says"),
    [
        ("relu-family", "B1", "{} of {} statements of [B1] are true. They do die"),
        ("sigmoid-faults", "B2", "{} of {} statements of [B2] are true"),
        ("sigmoid-faults", "B1", "{} of {} of [B1] on ReLU"),
    ],
)
def test_statements_are_counted_by_whose_they_are(run, source, says):
    verdicts = [one["verdict"] == "true" for one in kept.summaries()[run]["statements"] if one["source"] == source]
    assert None not in verdicts
    assert says.format(sum(verdicts), len(verdicts)) in " ".join(README.read_text().split())


@pytest.mark.parametrize("cell", ["sigmoid, nadam", "ppns, sgd", "ppns, adagrad", "relu, sgd", "relu, nadam"])
def test_losses_by_optimiser_are_those_of_the_kept_run(cell):
    run = kept.summaries()["optimisers-mnist"]
    names = {f"{one['activation']}, {one['optimiser']}": one for one in run["cells"]}
    prose = README.read_text().partition("On MNIST with 8 hidden layers, 1,000 updates")[2].partition("\n\n")[0]
    assert f"{float(names[cell]['level']):.3f}" in prose
    if cell != "relu, sgd":
        assert f"({names[cell]['interval']})" in " ".join(prose.split())


def test_the_convolutional_networks_have_the_best_conditions_of_the_kept_search():
    best, *_ = kept.summaries()["cnn-search"]["cells"]
    protocol = Protocol()
    assert {name: getattr(protocol, name) for name in best if name != "scores"} == {
        name: value for name, value in best.items() if name != "scores"
    }


def test_the_counts_of_xor10_are_those_of_the_kept_run():
    rows = kept.summaries()["xor10"]["activations"].values()
    stands = re.findall(r"^(?:\w+ )+ +(\d+) +([\d.]+) to ([\d.]+) +(\d+) ", README.read_text(), re.MULTILINE)
    expected = [
        (f"{row['converged']}", *(f"{1000 * x:.1f}" for x in row["interval"]), f"{row['published']}") for row in rows
    ]
    assert stands == expected


def test_what_is_kept_was_made_by_a_commit_on_real_images_and_names_no_path():
    files = sorted(kept.RESULTS.glob("*.json"))
    assert {path.stem for path in files} >= {"xor10", "xor10-literal", "mnist", "ablation-xor10", "cnn"}
    for path in files:
        text = path.read_text()
        entry = json.loads(text)
        assert re.fullmatch("[0-9a-f]{40}", entry["commit"]), path
        assert path.stem.startswith(entry["experiment"])
        assert not entry["summary"].get("synthetic", False)
        assert not re.search(r'"/\w|/tmp|/home', text), path


def a_run(directory, *, commit="0" * 40, **summary):
    directory.mkdir()
    manifest = {
        "experiment": "xor10",
        "config": {"trials": 10, "data": "the original files in /home/somebody"},
        "environment": {"commit": commit, "packages": {}, "processor": "any", "devices": {}},
    }
    (directory / "run.json").write_text(json.dumps(manifest))
    (directory / "summary.json").write_text(json.dumps({"source": "/home/somebody", "numbers": [1], **summary}))
    return directory


def test_a_run_is_kept_without_what_is_only_of_its_machine(tmp_path):
    name, text = kept.entry(a_run(tmp_path / "run", protocol="literal"))
    path = kept.keep(name, text, tmp_path)
    assert path == tmp_path / "xor10-literal.json"
    assert "somebody" not in path.read_text()
    assert kept.summaries(tmp_path) == {"xor10-literal": {"numbers": [1], "protocol": "literal"}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", '{"experiment": "xor10"}', "expected 'environment' in"),
        ("run.json", "[]", "expected a JSON object in"),
        ("run.json", "{", "expected a manifest in JSON"),
        ("summary.json", "{", "expected a summary in JSON"),
    ],
)
def test_damaged_files_of_a_run_are_refused_in_one_line(tmp_path, capsys, name, text, message):
    directory = a_run(tmp_path / "run")
    (directory / name).write_text(text)
    assert main(["findings", "--keep", str(directory)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"synthetic": True}, "expected a run on real images"),
        ({"commit": "0" * 40 + "+changes"}, "expected a run made by a commit"),
        ({"commit": None}, "expected a run made by a commit"),
    ],
)
def test_a_run_that_cannot_stand_for_the_project_is_refused(tmp_path, capsys, run, message):
    before = {path: path.read_text() for path in kept.RESULTS.glob("*.json")}
    assert main(["findings", "--keep", str(a_run(tmp_path / "run", **run))]) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_text() for path in kept.RESULTS.glob("*.json")} == before


def test_a_directory_without_a_run_is_refused(tmp_path, capsys):
    assert main(["findings", "--keep", str(tmp_path)]) == 2
    assert "expected the directory of a run" in capsys.readouterr().err


def test_the_paragraph_on_the_gain_is_that_of_the_kept_run():
    found, text = kept.summaries()["gain"], " ".join(README.read_text().split())
    at = {one["activation"]: one for one in found["boundaries"] if one["arm"] == "a frozen, eta"}
    ppns, tanh = at["ppns"], at["parametric_tanh"]
    alike = {one["arm"]: one for one in found["collapses"] if one["activation"] == "ppns"}
    learned = {one["where"]: one for one in found["learning"] if one["activation"] == "ppns" and not one["compensated"]}
    below, above = learned["ordered"], learned["chaotic"]
    (start,) = (one for one in found["starts"] if one["activation"] == "ppns" and one["arm"] == "a frozen, eta")

    def to(interval, form, scale=1):
        return " to ".join(format(scale * end, form) for end in interval)

    for words in (
        f"{ppns['at']:.2f} (95 % interval {to(ppns['interval'], '.2f')})",
        f"{tanh['at']:.2f} ({to(tanh['interval'], '.2f')})",
        f"deviate by {alike['a frozen, eta/a0^2']['deviation']:.3f} for PPNS",
        f"at rates eta by {alike['a frozen, eta']['deviation']:.3f}",
        f"{100 * (below['learned'] - below['frozen']):.1f} points more",
        f"({to(below['interval'], '.1f', 100)})",
        f"{100 * (above['frozen'] - above['learned']):.1f} points fewer",
        f"({to(above['interval'][::-1], '.1f', -100)})",
        f"{100 * start['critical']:.1f} % converge, from [P]'s 6 {100 * start['published']:.1f} %",
        f"(difference {to(start['interval'], '.1f', 100)} points",
    ):
        assert words in text


def test_the_paragraph_on_crossing_is_that_of_the_kept_run():
    found, text = kept.summaries()["crossing"], " ".join(README.read_text().split())
    share = {(one["activation"], one["start"], one["way"]): one for one in found["rescued"]}
    other = {(one["activation"], one["way"]): f"{100 * one['share']:.1f} %" for one in found["otherwise"]}

    def by_descent(activation, start):
        return max(
            one["learned"] for (a, s, way), one in share.items() if (a, s, way[-3:]) == (activation, start, "sgd")
        )

    best = {start: share["ppns", start, "best of all"] for start in (0.25, 0.5, 0.75)}
    assert by_descent("ppns", 0.5) == by_descent("ppns", 0.25) == 0
    assert all(" Adam, " in one["chosen"] and one["chosen"].endswith("10 times") for one in best.values())
    for words in (
        f"at most {100 * by_descent('parametric_tanh', 0.5):.1f} % of Parametric Tanh's",
        f"from 3/4 {100 * by_descent('ppns', 0.75):.1f} and {100 * by_descent('parametric_tanh', 0.75):.1f} %",
        f"from 1/4 {100 * best[0.25]['learned']:.1f} % of PPNS's trials converge ({100 * best[0.25]['frozen']:.1f} %",
        f"from 1/2 {100 * best[0.5]['learned']:.1f} % ({100 * best[0.5]['frozen']:.1f} %)",
        f"({100 * best[0.75]['frozen']:.1f} % with a kept)",
        f"residual connections {other['ppns', 'residual sgd']} of the trials converge by descent and all by Adam",
        f"critical scale {other['ppns', 'orthogonal sgd']} and {other['ppns', 'orthogonal adam']}",
        f"(LSUV) {other['ppns', 'lsuv sgd']} and {other['ppns', 'lsuv adam']}",
    ):
        assert words in text
    assert other["ppns", "residual adam"] == "100.0 %"
    assert other["ppns", "norm sgd"] == other["ppns", "norm adam"] == "0.0 %"
