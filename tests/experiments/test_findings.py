import json
import re
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.problems.cnn.protocol import Protocol
from experiments.tools import headlines, kept, page_tables, pages, sentences
from paramact_jax.papers import ko2021, kong2020

STUDIES = Path(__file__).parents[2] / "experiments" / "studies"
PAGES = list(pages.pages())


def text_of(study):
    """The page of a study, in one line."""
    return " ".join((STUDIES / f"{study}.md").read_text().split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_pages_have_the_tables_and_sentences_that_the_kept_runs_give(page):
    text = page.read_text()
    assert text.count("<!-- end -->") == len(pages.names(text))
    assert text == pages.updated(text, kept.summaries()), "run `python -m experiments findings --write`"


def test_every_block_stands_on_one_page():
    shown = [name for page in PAGES for name in pages.names(page.read_text())]
    assert sorted(shown) == sorted(pages.BLOCKS)
    assert pages.names((pages.ROOT / "README.md").read_text()) == [pages.FRONT]


def test_a_block_is_replaced_and_nothing_else():
    one, other = (f"<!-- python -m experiments findings --show {name} -->\n" for name in ("errata", "gain"))
    text = f"before\n{one}<!-- end -->\nbetween\n{other}old\n<!-- end -->\nafter\n"
    now = pages.updated(text, kept.summaries())
    assert re.fullmatch(f"before\n{one}- [^<]+<!-- end -->\nbetween\n{other}- [^<]+<!-- end -->\nafter\n", now)
    assert pages.updated(now, kept.summaries()) == now
    with pytest.raises(ValueError, match=r"expected a block among front, .* got nothing"):
        pages.updated(one.replace("errata", "nothing") + "<!-- end -->", kept.summaries())


def test_blocks_are_shown_by_name_and_wrong_names_refused(capsys):
    assert main(["findings", "--show", "errata", "gain"]) == 0
    blocks = [pages.BLOCKS[name](kept.summaries()) for name in ("errata", "gain")]
    assert capsys.readouterr().out == "\n\n".join(blocks) + "\n"
    assert main(["findings", "--show", "nothing"]) == 2
    assert "expected names among front" in capsys.readouterr().err


def test_written_pages_are_those_that_were_out_of_date(tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    page.write_text("<!-- python -m experiments findings -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "pages", lambda: iter([page]))
    assert main(["findings", "--write"]) == 0
    assert "written: README.md" in capsys.readouterr().out
    assert page.read_text().count("\n- ") == len(headlines.HEADLINES)
    assert main(["findings", "--write"]) == 0
    assert "written" not in capsys.readouterr().out


def test_headlines_have_two_lines_at_most():
    block = pages.BLOCKS[pages.FRONT](kept.summaries())
    found = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
    assert len(found) == len(headlines.HEADLINES) == 5
    assert all(headline.strip().count("\n") <= 1 for headline in found)


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
        (
            sentences.crossing,
            "crossing",
            lambda run: [one.update(learned=0.5) for one in run["rescued"] if one["way"].endswith("sgd")],
        ),
        (
            headlines.convolutions,
            "cnn",
            lambda run: run["rank_correlation"]["best_loss"].update(p_value=0.01),
        ),
        (
            headlines.counts,
            "xor10",
            lambda run: run["activations"]["ppns"].update(matched=False),
        ),
        (
            page_tables.gain,
            "gain",
            lambda run: [one.update(critical=1.0) for one in run["starts"]],
        ),
        (
            page_tables.protocol,
            "xor10-protocol",
            lambda run: run["ranking"][0].update(batch="points"),
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
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]


def table(study, heading):
    """Rows of the table on a study's page whose heading begins so."""
    lines = (STUDIES / f"{study}.md").read_text().splitlines()
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
    assert table("cnn", "| convolutional / dense | lowest") == expected


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
    assert [row[1:] for row in table("mnist", "| activation | test loss, 95 % interval |")] == expected


def test_what_the_page_says_of_the_published_losses_is_true_of_the_kept_run():
    assert "All four published test losses are lower than our means. That of PPNS is even below" in text_of("mnist")
    run = kept.summaries()["mnist"]["activations"]
    outside = {"ppns"}
    for row in ko2021.MNIST_FINAL_LOSS:
        loss = run[row.activation]["test_loss"]
        assert row.loss < loss["mean"]
        assert (row.loss < loss["prediction"][0]) == (row.activation in outside)


@pytest.mark.parametrize("run", ["relu-family", "sigmoid-faults", "initial-scale", "cnn"])
def test_the_table_of_statements_has_every_verdict_of_the_kept_run(run):
    study = run.replace("-", "_")
    shown = [(row[0], row[2]) for row in table(study, "| source | statement")]
    assert shown == [(one["source"], one["verdict"]) for one in kept.summaries()[run]["statements"]]


@pytest.mark.parametrize("run", ["optimisers-xor10", "optimisers-mnist"])
def test_the_tables_of_the_optimisers_are_those_of_the_kept_runs(run):
    page = (STUDIES / "optimisers.md").read_text().partition(f"--show {run} -->\n")[2].partition("<!-- end -->")[0]
    rows = {cells(line)[0]: cells(line)[1:] for line in page.splitlines()}
    names = {label: name for name, label in sentences.LABELS.items()}
    activations = [names[label] for label in rows.pop("optimiser")]
    scale = 10 if run == "optimisers-xor10" else 1  # the page has per cent, the run has trials per 1,000
    labels = {name: label[0].upper() + label[1:] for name, label in sentences.OPTIMISERS.items()}
    for cell in kept.summaries()[run]["cells"]:
        shown = rows[labels[cell["optimiser"]]][activations.index(cell["activation"])]
        expected = [float(cell["level"]), *map(float, cell["interval"].split(" to "))]
        found = [scale * float(number) for number in re.findall(r"[\d.]+", shown)]
        assert found == pytest.approx(expected, abs=0.51 if scale > 1 else 6e-4)


def test_with_its_best_optimiser_relu_is_below_ppns_with_plain_descent():
    assert "its loss is lower than that of PPNS with plain descent" in text_of("optimisers")
    answers = {one["question"]: one for one in kept.summaries()["optimisers-mnist"]["answers"]}
    answer = answers["activation or optimiser? ppns or relu"]
    assert (answer["first"], answer["verdict"]) == ("ppns, sgd", "second")


def test_the_convolutional_networks_have_the_best_conditions_of_the_kept_search():
    best, *_ = kept.summaries()["cnn-search"]["cells"]
    protocol = Protocol()
    assert {name: getattr(protocol, name) for name in best if name != "scores"} == {
        name: value for name, value in best.items() if name != "scores"
    }


def test_the_counts_of_xor10_are_those_of_the_kept_runs():
    rows, literal = (kept.summaries()[name]["activations"] for name in ("xor10", "xor10-literal"))
    expected = [
        [
            sentences.LABELS[name],
            f"{row['converged']}",
            " to ".join(f"{1000 * x:.1f}" for x in row["interval"]),
            f"{row['published']}",
            f"{literal[name]['converged']}",
        ]
        for name, row in rows.items()
    ]
    assert [[*row[:4], row[-1]] for row in table("xor10", "| activation | ours |")] == expected


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
    found, text = kept.summaries()["gain"], text_of("gain")
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
        f"deviate by {alike['a frozen, eta/a0^2']['deviation']:.3f}, which is no more than chance",
        f"With undivided rates they deviate by {alike['a frozen, eta']['deviation']:.3f}",
        f"{100 * (below['learned'] - below['frozen']):.1f} points more",
        f"({to(below['interval'], '.1f', 100)})",
        f"{100 * (above['frozen'] - above['learned']):.1f} points fewer",
        f"({to(above['interval'][::-1], '.1f', -100)})",
        f"{100 * start['critical']:.1f} % of PPNS's trials converge",
        f"from the 6 of [P], {100 * start['published']:.1f} %",
        f"(difference {to(start['interval'], '.1f', 100)} points",
    ):
        assert words in text


def test_the_tables_on_crossing_are_those_of_the_kept_run():
    found = kept.summaries()["crossing"]
    share = {(one["activation"], one["start"], one["way"]): one for one in found["rescued"]}
    other = {(one["activation"], one["way"]): f"{100 * one['share']:.1f} %" for one in found["otherwise"]}

    def by_descent(activation, start):
        return max(
            one["learned"] for (a, s, way), one in share.items() if (a, s, way[-3:]) == (activation, start, "sgd")
        )

    shown = {(row[0], row[1]): row[2:] for row in table("crossing", "| activation | start / critical gain |")}
    for name in ("ppns", "parametric_tanh"):
        for start in (0.25, 0.5, 0.75, 1.0):
            best, kept_a = share[name, start, "best of all"], share[name, start, "node a sgd"]["frozen"]
            shares = (kept_a, by_descent(name, start), best["frozen"], best["learned"])
            row = shown[sentences.LABELS[name], f"{start:g}"]
            assert row == [*(f"{100 * x:.1f} %" for x in shares), best["chosen"]]
    assert "Below the critical value, `a` has 10 times the rate of the weights there" in text_of("crossing")
    below = [
        share[name, start, "best of all"]["chosen"] for name in ("ppns", "parametric_tanh") for start in (0.25, 0.5)
    ]
    assert all("of a 10 times" in chosen for chosen in below)
    rows = {row[0]: row[1:] for row in table("crossing", "| other help")}
    ways = [("ppns", "sgd"), ("ppns", "adam"), ("parametric_tanh", "sgd"), ("parametric_tanh", "adam")]
    for way, text in page_tables.OTHERWISE.items():
        assert rows[text] == [other[name, f"{way} {optimiser}"] for name, optimiser in ways]
