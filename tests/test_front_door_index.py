"""The index of the papers: nothing between its ranges is missing, and everything it names is there."""

import itertools
import pkgutil
import re
from pathlib import Path

import pytest

import paramact_jax as pa
from experiments.__main__ import parse
from paramact_jax.activations import errata

PAGE = (Path(__file__).parents[1] / "paramact_jax" / "papers" / "README.md").read_text(encoding="utf-8")
RANGES = {
    ("P", "eq."): range(4, 18),
    ("P", "Table"): range(1, 9),
    ("P", "Fig."): range(6, 15),
    ("A", "eq."): [3, *range(7, 25)],
    ("A", "Table"): [1],
    ("A", "Fig."): range(10, 15),
}
DRAWINGS = {("P", "Fig.", 6), ("P", "Fig.", 11), ("A", "Fig.", 10)}


def rows():
    index = PAGE.partition("\n## Index\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in index.splitlines() if line[:1] == "|"]
    assert cells[:2] == [["item", "what it is", "here"], ["---", "---", "---"]]
    return cells[2:]


ROWS = [pytest.param(*row, id=row[0].strip("[]")) for row in rows()]


def key(item):
    paper, kind, number = re.fullmatch(r"\[([PA]), (eq\.|Table|Fig\.) (\d+)\]", item).groups()
    return paper, kind, int(number)


def misprinted():
    """What the errata of the two papers cite."""
    for erratum in errata.ERRATA:
        paper, places = re.match(r"\[(\w+), ([^]]*)\]", erratum.where).groups()
        for kind, numbers in re.findall(r"(eq\.|Table) ([\d, ]+)", places):
            yield from ((paper, kind, int(number)) for number in re.findall(r"\d+", numbers) if paper in "PA")


def test_every_item_has_one_row_in_order():
    expected = [(*where, number) for where, numbers in RANGES.items() for number in numbers]
    assert [key(item) for item, *_ in rows()] == expected


@pytest.mark.parametrize(("item", "what", "here"), ROWS)
def test_what_a_row_names_is_there(item, what, here):
    names = re.findall(r"`((?:pa|paramact_jax)(?:\.\w+)+)`", here)
    commands = re.findall(r"`python -m experiments ([^`]+)`", here)
    assert what
    assert names or commands
    for name in names:
        top, *attributes = name.split(".")
        if top == "paramact_jax":
            assert pkgutil.resolve_name(name) is not None
        else:
            found = pa
            for attribute in attributes:
                found = getattr(found, attribute)
    for command in commands:
        assert parse(command.split())
    assert ("not reproduced" in here) == (key(item) in DRAWINGS)


def test_rows_say_misprinted_where_the_errata_do():
    assert {key(item) for item, _, here in rows() if here.startswith("misprinted; ")} == set(misprinted())


def test_a_name_or_command_that_is_gone_would_be_seen():
    with pytest.raises(AttributeError):
        test_what_a_row_names_is_there("[P, eq. 4]", "y", "`pa.networks.NoSuchNetwork`")
    with pytest.raises(AttributeError):
        test_what_a_row_names_is_there("[P, eq. 4]", "y", "`paramact_jax.networks.cnn.nothing`")
    with pytest.raises(SystemExit):
        test_what_a_row_names_is_there("[P, eq. 4]", "y", "`python -m experiments nothing`")


def test_the_table_is_folded_away():
    index = PAGE.partition("\n## Index\n")[2].partition("\n## ")[0].split("\n")
    positions = [index.index("<details>"), next(i for i, line in enumerate(index) if line[:1] == "|")]
    positions.append(index.index("</details>"))
    assert all(first < second for first, second in itertools.pairwise(positions))
