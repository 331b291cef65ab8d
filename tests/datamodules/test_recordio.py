from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules import recordio
from src.datamodules.decode import BadImage
from src.datamodules.recordio import (
    FIRST,
    LAST,
    MIDDLE,
    WHOLE,
    image_of,
    iter_parts,
    join_parts,
    pack,
    read_index,
    record_offsets,
    write_index,
)
from src.errors import UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["recordio"]
REC = bytes.fromhex(GOLDEN["rec_hex"])
MAGIC = struct.pack("<I", 0xCED7230A)

contents = st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC)), max_size=8).map(b"".join)
records = st.tuples(
    st.one_of(
        st.integers(0, 1 << 24),
        st.lists(st.integers(0, 1 << 24), min_size=1, max_size=3).map(tuple),
    ),
    contents,
)


def test_records_are_packed_as_by_mxnet() -> None:
    packed = [
        pack(record["label"], bytes.fromhex(record["payload_hex"]), record["key"]) for record in GOLDEN["records"]
    ]
    assert b"".join(packed) == REC


def test_parts_of_a_file_by_mxnet(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(REC)
    parts = list(iter_parts(tmp_path / "train.rec"))
    assert parts[1:3] == [(56, FIRST, 36), (100, LAST, 13)]
    assert [kind for _, kind, _ in parts[3:6]] == [FIRST, MIDDLE, LAST]
    assert {kind for _, kind, _ in parts[6:]} == {WHOLE}
    (tmp_path / "train.idx").write_text(GOLDEN["idx"])
    keys, offsets = read_index(tmp_path / "train.idx")
    assert keys.tolist() == [1, 2, 3, 4, 0, 5, 6]
    assert record_offsets(tmp_path / "train.rec").tolist() == offsets.tolist()
    write_index(tmp_path / "again.idx", keys, offsets)
    assert (tmp_path / "again.idx").read_text() == GOLDEN["idx"]


def test_records_of_a_file_by_mxnet(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(REC)
    with open(tmp_path / "train.rec", "rb") as file:
        for record, offset in zip(GOLDEN["records"], record_offsets(tmp_path / "train.rec"), strict=True):
            assert image_of(join_parts(file.fileno(), offset)[0]) == bytes.fromhex(record["payload_hex"])


@given(st.lists(records, min_size=1, max_size=6))
def test_what_is_packed_can_be_read(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("rec") / "train.rec"
    packed = [pack(label, content, key) for key, (label, content) in enumerate(rows)]
    path.write_bytes(b"".join(packed))
    offsets = record_offsets(path)
    assert offsets.tolist() == np.cumsum([0, *map(len, packed[:-1])]).tolist()
    with open(path, "rb") as file:
        position = 0
        for (label, content), offset in zip(rows, offsets, strict=True):
            record, end = join_parts(file.fileno(), offset)
            assert (offset, image_of(record)) == (position, content)
            flag, scalar = struct.unpack_from("<If", record)
            assert (flag, scalar) == ((len(label), 0.0) if isinstance(label, tuple) else (0, label))
            position = end
        assert position == path.stat().st_size
    # Aligned magics are exactly the beginnings of parts.
    words = np.frombuffer(path.read_bytes(), "<u4")
    assert (4 * np.flatnonzero(words == 0xCED7230A)).tolist() == [part[0] for part in iter_parts(path)]


@pytest.mark.parametrize("label", [(1 << 24) + 1, (3, (1 << 24) + 1)])
def test_labels_that_float32_cannot_tell_apart_are_refused(label: int) -> None:
    with pytest.raises(UserError, match="record 7: label 16777217, expected at most 16777216"):
        pack(label, b"x", 7)
    assert len(pack(1 << 24, b"x", 7)) == 36


def test_a_record_that_does_not_fit_its_length_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "MAX_LENGTH", 30)
    assert len(pack(0, b"123456", 7)) == 40
    with pytest.raises(UserError, match="record 7: 31 bytes, expected at most 30"):
        pack(0, b"1234567", 7)


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (REC[:-4], 300),
        (REC[:303], 300),
        (REC[:100], 56),
        (REC[:56] + b"\0" + REC[57:], 56),
        (REC[:56] + REC[100:], 56),
        (REC + b"\0\0\0\0", 340),
        (b"not a record file", 0),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, offset: int) -> None:
    path = tmp_path / "train.rec"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"train\.rec: no whole record at byte {offset} of {len(content)}"):
        record_offsets(path)


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.rec: cannot be read .*No such file"):
        record_offsets(tmp_path / "train.rec")
    (tmp_path / "train.rec").touch()
    with pytest.raises(UserError, match=r"train\.rec: cannot be read .*empty"):
        record_offsets(tmp_path / "train.rec")
    with pytest.raises(UserError, match=r"train\.idx: not an index"):
        read_index(tmp_path / "train.idx")


def test_joining_refuses_what_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(REC[:110])
    with open(tmp_path / "train.rec", "rb") as file:
        for offset in (4, 56, 100, 120):
            with pytest.raises(BadImage, match=f"record at byte {offset} is cut short or damaged"):
                join_parts(file.fileno(), offset)


@pytest.mark.parametrize("text", ["1\t0\n2", "1\tx\n", "\x00\x01", "1.5\t3\n"])
def test_a_malformed_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.idx").write_text(text)
    with pytest.raises(UserError, match=r"train\.idx: not an index of records"):
        read_index(tmp_path / "train.idx")


def test_a_key_that_occurs_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.idx").write_text("5\t0\n3\t40\n5\t80\n")
    with pytest.raises(UserError, match=r"train\.idx: the key 5 occurs twice"):
        read_index(tmp_path / "train.idx")
