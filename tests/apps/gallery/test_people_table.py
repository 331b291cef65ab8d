from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.apps.gallery.people_table import PeopleTable, Row
from src.errors import UserError

ANN, BOB, EVE = Row("a/1.jpg", "Ann", 17), Row("b/1.jpg", "Bob, Jr.", 2**63 - 1), Row("e/1.jpg", 'Eve "e"\n', 3)


def written(path: Path, *rows: Row) -> PeopleTable:
    table = PeopleTable(path)
    table.add(rows)
    return table


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = written(tmp_path / "deep" / "people.csv", ANN, BOB)
    table.add([EVE])
    assert list(PeopleTable(table.path)) == list(table) == [ANN, BOB, EVE]
    assert table.path.read_text().splitlines()[:2] == ["image,person,pid", "a/1.jpg,Ann,17"]


def test_rows_are_appended(tmp_path: Path) -> None:
    table = written(tmp_path / "people.csv", ANN)
    file = table.path.stat().st_ino
    table.add([BOB])
    table.forget(["c/1.jpg"])
    table.add([EVE])
    assert table.path.stat().st_ino == file
    table.forget([BOB.image])
    assert len(PeopleTable(table.path)) == 3
    table.add([Row("b/1.jpg", "Bob", 5)])
    assert {row.image: row.pid for row in PeopleTable(table.path)} == {"a/1.jpg": 17, "e/1.jpg": 3, "b/1.jpg": 5}


@given(cut=st.integers(0, 60))
def test_whatever_a_crash_cuts_off_only_the_last_row_is_lost(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "people.csv"
    written(path, ANN, Row("b/2.jpg", "Bob", 123456))
    whole = path.read_bytes()
    start = whole.index(b"b/2.jpg")
    path.write_bytes(whole[: start + min(cut, len(whole) - start)])
    table = PeopleTable(path)
    assert ANN in list(table)
    table.add([EVE])
    rows = list(PeopleTable(path))
    assert rows[0] == ANN
    assert rows[-1] == EVE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is not image,person,pid"),
        ("image,pid\n", "the first line is not image,person,pid"),
        ("image,person,pid\na,Ann\nb,Bob,2\n", r"row 2: expected image,person,pid, found \['a', 'Ann'\]"),
        ("image,person,pid\na,Ann,4e3\n", "row 2: expected a number from 0 to 9223372036854775807, found '4e3'"),
        ("image,person,pid\na,Ann,4\na,Ann,5\n", "row 3: the image 'a' occurs twice"),
    ],
)
def test_what_is_no_table(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        PeopleTable(tmp_path / "people.csv")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        PeopleTable(tmp_path / "people.csv")
