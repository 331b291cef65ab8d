from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules import text_tables
from src.datamodules.text_tables import MAX_INTEGER, read_integers, read_named_numbers, to_integer
from src.errors import UserError

COLUMNS = ["template", "template", "label"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "_BLOCK", 16)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 0\n30 4 1\n2147483647 0 1\n",
        "1 2 0\n30 4 1\n2147483647 0 1",
        "1\t2 0\r\n\n  30 4   1\n\n2147483647 0 1 \n",
    ],
)
def test_integers(tmp_path: Path, text: str) -> None:
    table = read_integers(write(tmp_path / "pairs.txt", text), COLUMNS)
    assert table.tolist() == [[1, 2, 0], [30, 4, 1], [MAX_INTEGER, 0, 1]]
    assert table.dtype == np.int32
    assert table[:, 0].flags.c_contiguous


def test_an_empty_file_holds_no_lines(tmp_path: Path) -> None:
    assert read_integers(write(tmp_path / "pairs.txt", "\n"), COLUMNS).shape == (0, 3)
    assert read_integers(write(tmp_path / "pairs.txt", ""), COLUMNS).shape == (0, 3)
    names, numbers = read_named_numbers(write(tmp_path / "names.txt", ""), ["name", "a", "b"], whole=False)
    assert (names, numbers.shape) == ([], (0, 2))


@pytest.mark.parametrize("line", ["1 2", "1 2 3 4", "1  2", "-1 2 3", "+1 2 3", "1.5 2 3", "2147483648 2 3", "1_0 2 3",
                                  "1 2 \u00b2", "1" * 5000 + " 2 3", "x y z"])  # fmt: skip
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "pairs.txt", "1 2 3\n" * 20 + line + "\n1 2 3\n")
    with pytest.raises(UserError, match=r"pairs\.txt, line 21: expected `template template label`, found "):
        read_integers(path, COLUMNS)


def test_fields_do_not_move_to_other_lines(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1"):
        read_integers(write(tmp_path / "pairs.txt", "1 2\n3 4 5 6\n"), COLUMNS)


@given(rows=st.lists(st.tuples(*[st.integers(0, MAX_INTEGER)] * 3), max_size=30), end=st.sampled_from(["\n", " \n"]))
def test_both_ways_of_reading_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]], end: str
) -> None:
    text = "".join(" ".join(map(str, row)) + end for row in rows)
    table = read_integers(write(tmp_path_factory.mktemp("table") / "pairs.txt", text), COLUMNS)
    assert table.tolist() == [list(row) for row in rows]


def test_named_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "names.txt", b"1.jpg 2 3\n\xff\xc3.jpg 4 5\n")
    names, numbers = read_named_numbers(path, ["image", "template", "medium"], whole=True)
    assert [os.fsencode(name) for name in names] == [b"1.jpg", b"\xff\xc3.jpg"]
    assert numbers.tolist() == [[2, 3], [4, 5]]
    assert numbers.dtype == np.int32


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_named_reals(tmp_path: Path, separator: str) -> None:
    text = "".join(separator.join(line) + "\n" for line in [("a", "1.5", "-2e3"), ("b", "nan", "0.1")])
    names, numbers = read_named_numbers(write(tmp_path / "names.txt", text), ["image", "x", "y"], whole=False)
    assert names == ["a", "b"]
    np.testing.assert_array_equal(numbers, [[1.5, -2000], [np.nan, 0.1]])


@pytest.mark.parametrize("line", ["a 1", "a 1 2 3", "a 1 x", "a\tb 1 2", " 1 2", "a 1 2.0"])
def test_a_malformed_named_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "names.txt", f"a 1 2\n{line}\n")
    with pytest.raises(UserError, match=r"names\.txt, line 2: expected `image template medium`, found "):
        read_named_numbers(path, ["image", "template", "medium"], whole=True)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: cannot be read \(No such file"):
        read_integers(tmp_path / "none.txt", COLUMNS, tmp_path / "cache")
    with pytest.raises(UserError, match=r"none\.txt: cannot be read \(No such file"):
        read_named_numbers(tmp_path / "none.txt", COLUMNS, whole=True)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = write(tmp_path / "pairs.txt", "1 2 0\n"), tmp_path / "cache"
    assert read_integers(path, COLUMNS, cache).tolist() == [[1, 2, 0]]
    (entry,) = cache.iterdir()
    with monkeypatch.context() as context:
        context.delattr(text_tables, "_parse_integers")
        table = read_integers(path, COLUMNS, cache)
        assert table.tolist() == [[1, 2, 0]]
        assert table[:, 0].flags.c_contiguous
    for damage in (b"", b"PK", entry.read_bytes()[:-30], b"\x80\x04N."):
        entry.write_bytes(damage)
        assert read_integers(path, COLUMNS, cache).tolist() == [[1, 2, 0]]
    np.savez(entry, table=np.array(["code"], dtype=object))
    assert read_integers(path, COLUMNS, cache).tolist() == [[1, 2, 0]]
    write(path, "3 4 1\n")
    os.utime(path, ns=(0, 1))
    assert read_integers(path, COLUMNS, cache).tolist() == [[3, 4, 1]]
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "pairs.txt", "1 2 0\n"), write(tmp_path / "cache", "no folder")
    assert read_integers(path, COLUMNS, cache).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("field", ["", "-1", "+1", "1.0", "1_0", " 1", "\u0661", "2147483648", "9" * 5000])
def test_what_is_no_integer(field: str) -> None:
    with pytest.raises(ValueError, match="is no whole number"):
        to_integer(field)
    assert to_integer("007") == to_integer(b"7") == 7
