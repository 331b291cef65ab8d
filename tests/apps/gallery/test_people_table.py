from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.apps.gallery.people_table import Announcement, PeopleTable, Row
from src.errors import UserError

ANN, BOB, EVE = Row("a/1.jpg", "Ann", 17), Row("b/1.jpg", "Bob, Jr.", 2**63 - 1), Row("e/1.jpg", 'Eve "e"\n', 3)


def announcement(*rows: Row) -> Announcement:
    return Announcement("gallery", 1, rows)


def written(path: Path, *rows: Row) -> PeopleTable:
    table = PeopleTable(path)
    table.announce(announcement(*rows))
    table.confirm()
    return table


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = written(tmp_path / "deep" / "people.csv", ANN, BOB)
    table.announce(announcement(EVE))
    table.confirm()
    assert list(PeopleTable(table.path)) == list(table) == [ANN, BOB, EVE]
    assert table.path.read_text().splitlines()[:2] == ["image,person,pid", "a/1.jpg,Ann,17"]


def test_only_the_owner_may_read_names(tmp_path: Path) -> None:
    table = written(tmp_path / "people.csv", ANN)
    assert table.path.stat().st_mode & 0o777 == 0o600
    table.path.chmod(0o644)
    table.announce(announcement(BOB))
    assert table.pending_path.stat().st_mode & 0o777 == 0o600
    table.confirm()
    assert table.path.stat().st_mode & 0o777 == 0o600


def test_rows_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    written(path, ANN)
    file = path.stat().st_ino
    written(path, BOB, EVE)
    assert path.stat().st_ino == file
    assert list(PeopleTable(path)) == [ANN, BOB, EVE]


def test_announced_rows_wait_beside_the_table(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    PeopleTable(path).announce(announcement(ANN, EVE))
    assert not path.exists()
    table = PeopleTable.existing(path)
    assert (list(table), table.pending) == ([], announcement(ANN, EVE))
    table.withdraw()
    assert (list(PeopleTable(path)), PeopleTable(path).pending, list(tmp_path.iterdir())) == ([], None, [])
    with pytest.raises(UserError, match=r"people.csv: there is no such file"):
        PeopleTable.existing(path)


@given(cut=st.integers(0, 60))
def test_an_interrupted_confirmation_loses_no_row_and_writes_none_twice(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "people.csv"
    written(path, ANN)
    start = path.stat().st_size
    rows = (Row("c/1.jpg", "B\u00f6b", 123456), EVE, BOB)
    table = PeopleTable(path)
    table.announce(announcement(*rows))
    pending = table.pending_path.read_bytes()
    table.confirm()
    path.write_bytes(path.read_bytes()[: start + cut])
    table.pending_path.write_bytes(pending)
    table = PeopleTable(path)
    table.confirm()
    assert list(table) == list(PeopleTable(path)) == [ANN, *rows]
    assert not table.pending_path.exists()


def test_a_last_line_that_an_editor_left_without_an_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("image,person,pid\na/1.jpg,Ann,17")
    assert list(PeopleTable(path)) == [ANN]
    written(path, BOB)
    assert list(PeopleTable(path)) == [ANN, BOB]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is not image,person,pid"),
        ("image,pid\n", "the first line is not image,person,pid"),
        ("image,person,pid\na,Ann\nb,Bob,2\n", r"row 2: expected image,person,pid, found \['a', 'Ann'\]"),
        ("image,person,pid\na,Ann,4e3\n", "row 2: expected a number from 1 to 9223372036854775807, found '4e3'"),
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


def test_what_is_no_announcement(tmp_path: Path) -> None:
    (tmp_path / "people.csv.pending").write_text('{"gallery": "g"}')
    with pytest.raises(UserError, match=r"people.csv.pending: cannot be read"):
        PeopleTable(tmp_path / "people.csv")
