import json
import re
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.findings import kept, sentences

README = Path(__file__).parents[2] / "README.md"


def test_readme_opens_with_the_sentences_that_the_kept_runs_give():
    stands = re.search(r"<!-- python -m experiments findings -->\n(.*?)\n<!-- end -->", README.read_text(), re.DOTALL)
    assert stands is not None
    assert stands[1] == sentences.lines(kept.Summaries())


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
    assert dict(kept.Summaries(tmp_path)) == {"xor10-literal": {"numbers": [1], "protocol": "literal"}}


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
