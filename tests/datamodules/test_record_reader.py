from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules import record_reader, record_scan
from src.datamodules.decode import BadImage
from src.datamodules.record_reader import RecordReader
from src.datamodules.record_scan import rebuild_index, scan_records
from src.datamodules.record_writer import RecordWriter, closing_records
from src.datamodules.recordio import MAGIC, pack, write_index
from src.errors import UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["recordio"]
SPLIT = MAGIC.to_bytes(4, "little")
Row = tuple[int, float | Sequence[float], bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "privface" / "records"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    (tmp_path / "train.rec").write_bytes(bytes.fromhex(GOLDEN["rec_hex"]))
    (tmp_path / "train.idx").write_text(GOLDEN["idx"])
    return tmp_path / "train.rec"


def _write(path: Path, rows: Sequence[Row], *, index: bool = True) -> Path:
    """Write records (key, label, content) as they come."""
    packed = [pack(label, content, key) for key, label, content in rows]
    path.write_bytes(b"".join(packed))
    if index:
        write_index(path.with_suffix(".idx"), np.array([key for key, _, _ in rows]), _starts(packed))
    return path


def _starts(packed: Sequence[bytes]) -> np.ndarray:
    return np.cumsum([0, *map(len, packed[:-1])])


def _rows(reader: RecordReader) -> list[tuple[int, int, bytes]]:
    return [(int(reader.keys[i]), reader[i][1], reader[i][0]) for i in range(len(reader))]


def test_a_file_by_mxnet(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = RecordReader(golden)
    assert [content for _, _, content in _rows(reader)] == [
        bytes.fromhex(record["payload_hex"]) for record in GOLDEN["records"][:4]
    ]
    assert reader.keys.tolist() == [1, 2, 3, 4]
    assert reader.labels.tolist() == [0, 0, 1, 1]
    assert (len(reader), reader.num_classes) == (4, 2)
    assert reader.identity_ranges is not None
    assert reader.identity_ranges.tolist() == [[1, 3], [3, 5]]
    assert caplog.text == ""


def test_no_index(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = _rows(RecordReader(golden))
    golden.with_suffix(".idx").unlink()
    assert _rows(RecordReader(golden)) == expected
    assert "train.idx: not found, so the records are numbered anew" in caplog.text
    assert rebuild_index(golden) == golden.with_suffix(".idx")
    assert golden.with_suffix(".idx").read_text() == GOLDEN["idx"]


@pytest.mark.parametrize("lines", [0, 1, 3, 6])
def test_a_short_index_is_not_trusted(golden: Path, caplog: pytest.LogCaptureFixture, lines: int) -> None:
    expected = _rows(RecordReader(golden))
    golden.with_suffix(".idx").write_text("".join(GOLDEN["idx"].splitlines(keepends=True)[:lines]))
    assert _rows(RecordReader(golden)) == expected
    assert "train.idx: does not list all records of train.rec" in caplog.text


def test_an_index_that_is_given_selects_records(golden: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "some.idx").write_text("3\t124\n1\t0\n")
    assert RecordReader(golden, tmp_path / "some.idx").keys.tolist() == [1, 3]
    assert RecordReader(golden).keys.tolist() == [1, 2, 3, 4]
    assert caplog.text == ""
    beside = golden.with_suffix(".idx")
    beside.write_text("1\t0\n")
    assert RecordReader(golden).keys.tolist() == [1, 2, 3, 4]
    assert RecordReader(golden, beside).keys.tolist() == [1]


def test_lines_of_an_index_in_any_order(golden: Path) -> None:
    expected = _rows(RecordReader(golden))
    golden.with_suffix(".idx").write_text("".join(reversed(GOLDEN["idx"].splitlines(keepends=True))))
    assert _rows(RecordReader(golden)) == expected


labels = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(sorted)
pieces = st.lists(st.sampled_from([b"", b"a", b"bcd", b"efgh", SPLIT, SPLIT[:2]]), max_size=6).map(b"".join)


@given(labels, st.data())
def test_any_mixture_of_records(
    tmp_path_factory: pytest.TempPathFactory, classes: list[int], data: st.DataObject
) -> None:
    images: list[Row] = []
    for key, label in enumerate(classes, start=1):
        content = data.draw(pieces)
        vector = bool(content) and data.draw(st.booleans())
        images.append((key, (label, 1) if vector else label, content))
    closing: list[Row] = [(key, label, b"") for key, label in closing_records(np.array(classes))]
    rows = closing + images if data.draw(st.booleans()) else images + closing
    path = _write(tmp_path_factory.mktemp("rec") / "train.rec", rows, index=data.draw(st.booleans()))
    reader = RecordReader(path)
    assert _rows(reader) == [(key, label, content) for (key, _, content), label in zip(images, classes, strict=True)]
    assert reader.identity_ranges is not None
    assert reader.identity_ranges.tolist() == [list(label) for _, label, _ in closing[1:]]


def test_key_zero_with_labels_and_an_image_is_an_image(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.rec", [(0, (2, 9, 9), b"first"), (1, (1, 9, 9), b"second"), (2, (0.0,), b"")])
    reader = RecordReader(path)
    assert _rows(reader) == [(0, 2, b"first"), (1, 1, b"second"), (2, 0, b"")]
    assert reader.identity_ranges is None


def test_a_magic_inside_header_and_labels(tmp_path: Path) -> None:
    # The id of the record, bytes 8 to 16 of the header, is the magic: the first part is 8 bytes long.
    path = _write(tmp_path / "train.rec", [(0, 5, b"x"), (MAGIC, (3, 1), b"content"), (MAGIC + 1, 4, b"y")])
    assert path.read_bytes()[36 + 4 : 36 + 8] == (1 << 29 | 8).to_bytes(4, "little")
    assert _rows(RecordReader(path)) == [(0, 5, b"x"), (MAGIC, 3, b"content"), (MAGIC + 1, 4, b"y")]


def test_many_records_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_scan, "_RECORDS_AT_ONCE", 7)
    contents = [(SPLIT * (i % 11 == 0) + bytes([i % 256])) * (i % 5) for i in range(100)]
    path = _write(tmp_path / "train.rec", [(i, i // 3, content) for i, content in enumerate(contents)])
    assert _rows(RecordReader(path)) == [(i, i // 3, content) for i, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("meta", "identities", "message"),
    [
        ((5, 7), [(1, 3), (3, 5)], ""),
        ((6, 8), [(1, 3), (3, 5)], r"counts up to keys \[6.0, 8.0\], the index has \[5.0, 7.0\]"),
        ((5, 7), [(1, 2), (2, 5)], "identity records differ from the images' labels"),
        ((5, 6), [(1, 5)], "identity records differ from the images' labels"),
    ],
)
def test_contradictions_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, meta: Row, identities: list, message: str
) -> None:
    images = [(key, label, b"x") for key, label in zip((1, 2, 3, 4), (0, 0, 1, 1), strict=True)]
    closing = [(0, meta, b""), *((5 + i, label, b"") for i, label in enumerate(identities))]
    reader = RecordReader(_write(tmp_path / "train.rec", images + closing))  # type: ignore[operator]
    assert reader.labels.tolist() == [0, 0, 1, 1]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == bool(message)
    assert all(re.search(message, warning) for warning in warnings)


def test_counts_that_float32_rounds_are_no_contradiction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = (1 << 24) + 2
    rows = [(first, 0, b"x"), (first + 1, 1, b"y")]
    path = tmp_path / "train.rec"
    packed = [pack(label, content, key) for key, label, content in rows]
    floats = np.array([first + 2, first + 4, first, first + 1, first + 1, first + 2], "<f4")
    records = [bytearray(pack((0, 0), b"", key)) for key in (0, first + 2, first + 3)]
    for i, record in enumerate(records):
        record[32:40] = floats[2 * i : 2 * i + 2].tobytes()
    path.write_bytes(b"".join([*packed, *records]))
    write_index(
        path.with_suffix(".idx"), np.array([first, first + 1, 0, first + 2, first + 3]), _starts([*packed, *records])
    )
    assert RecordReader(path).keys.tolist() == [first, first + 1]
    assert caplog.text == ""


@pytest.mark.parametrize("label", [-1, 0.5, float("nan"), float("inf"), float(1 << 25)])
def test_a_label_that_is_no_class_number_is_named(tmp_path: Path, label: float) -> None:
    path = _write(tmp_path / "train.rec", [(1, 0, b"x"), (2, 0, b"y")])
    content = bytearray(path.read_bytes())
    content[36 + 12 : 36 + 16] = np.float32(label).tobytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.rec: record 2 has the label .*; expected a class number from 0"):
        RecordReader(path)


@pytest.mark.parametrize("cut", [1, 3, 8, 36, 100, 210, 300, 330])
@pytest.mark.parametrize("index", [True, False])
def test_a_truncated_file_is_named(golden: Path, cut: int, index: bool) -> None:
    golden.write_bytes(golden.read_bytes()[:-cut])
    if not index:
        golden.with_suffix(".idx").unlink()
    with pytest.raises(UserError, match=r"train\.rec: .*(truncated|cut short)"):
        RecordReader(golden)


@pytest.mark.parametrize("cut", [1, 36, 41])
def test_an_index_that_is_given_may_not_reach_past_the_end(golden: Path, cut: int) -> None:
    golden.write_bytes(golden.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"train\.rec: .* at byte 300, .*truncated"):
        RecordReader(golden, golden.with_suffix(".idx"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1\t4\n", "no record begins at byte 4"),
        ("1\t57\n", "no record begins at byte 57"),
        ("1\t100\n", "no record begins at byte 100"),
        ("1\t-8\n", "the file ends at byte -8"),
        ("1\t0\n2\t340\n", "the file ends at byte 340"),
        ("1\t0\n2\t99999999999\n", "the file ends at byte 99999999999"),
        ("1\t0\n1\t56\n", "the key 1 occurs twice"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_an_index_of_another_file_is_named(golden: Path, lines: str, message: str, given: bool) -> None:
    golden.with_suffix(".idx").write_text(lines)
    with pytest.raises(UserError, match=rf"{message}.*(, where a record should be by .*train\.idx.*another|delete)"):
        RecordReader(golden, golden.with_suffix(".idx") if given else None)


def test_a_record_that_lies_about_its_labels(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.rec", [(0, (1, 1), b"x"), (1, 0, b"y")])
    content = bytearray(path.read_bytes())
    content[8:12] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="a record too short for its labels begins at byte 0"):
        RecordReader(path)


def test_files_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.rec: not found"):
        RecordReader(tmp_path / "train.rec")
    with pytest.raises(UserError, match="holds no image"):
        RecordReader(_write(tmp_path / "train.rec", [(0, (1, 1), b"")]))
    (tmp_path / "empty.rec").touch()
    with pytest.raises(UserError, match=r"empty\.rec: cannot be read"):
        RecordReader(tmp_path / "empty.rec")


def test_a_file_cut_after_opening(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.rec", [(0, 0, b"content"), (1, 0, SPLIT + b"content")])
    reader = RecordReader(path)
    os.truncate(path, 34)
    with pytest.raises(BadImage, match="2 of 7 bytes"):
        reader.content(0)
    with pytest.raises(BadImage, match="record at byte 40 is cut short"):
        reader.content(1)


class TestCache:
    def test_headers_are_read_once(self, golden: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = _rows(RecordReader(golden))
        assert len(list(cache.iterdir())) == 1
        monkeypatch.setattr(record_reader, "scan_records", None)
        reader = RecordReader(golden)
        assert _rows(reader) == expected
        assert (reader.keys.dtype, reader.labels.dtype) == (np.int64, np.int32)

    @pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "flipped", "other"])
    def test_a_damaged_cache_is_made_again(
        self, golden: Path, cache: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        expected = _rows(RecordReader(golden))
        (file,) = cache.iterdir()
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[whole.index(np.array([0, 0, 1, 1], np.int32).tobytes())] ^= 1
        if damage == "other":
            np.savez(file, stamp=np.zeros(3))
        else:
            file.write_bytes({"cut": whole[:-30], "garbage": b"garbage", "empty": b"", "flipped": flipped}[damage])
        assert _rows(RecordReader(golden)) == expected
        assert file.read_bytes() == whole
        assert caplog.text == ""

    def test_a_changed_file_is_scanned_again(self, golden: Path, cache: Path) -> None:
        RecordReader(golden)
        content, time = golden.read_bytes(), golden.stat().st_mtime_ns
        golden.write_bytes(content.replace(b"xyz\0", b"uvw\0"))
        os.utime(golden, ns=(time, time + 1))
        assert RecordReader(golden).content(3) == b"uvw"
        with RecordWriter(golden.parent / "new", resolution=8) as writer:
            writer.add(b"content", 0)
        for name in ("train.rec", "train.idx"):
            os.replace(golden.parent / "new" / name, golden.parent / name)
        assert _rows(RecordReader(golden)) == [(1, 0, b"content")]
        assert len(list(cache.iterdir())) == 1

    def test_no_place_for_a_cache(
        self, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert len(RecordReader(golden)) == 4
        assert "so train.rec will be scanned again" in caplog.text

    def test_default_place(self, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        RecordReader(golden)
        assert len(list((tmp_path / "home" / ".cache" / "privface" / "records").iterdir())) == 1


def _read_all(reader: RecordReader) -> list[bytes]:
    return [reader.content(i) for i in range(len(reader))]


@pytest.fixture
def many(tmp_path: Path) -> tuple[RecordReader, list[bytes]]:
    contents = [(SPLIT * (i % 7 == 0)) + bytes([i % 256]) * (i % 50) for i in range(300)]
    path = _write(tmp_path / "train.rec", [(i, i, content) for i, content in enumerate(contents)])
    return RecordReader(path), contents


def test_a_reader_can_be_pickled(many: tuple[RecordReader, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, contents = many
    monkeypatch.setattr(record_reader, "scan_records", None)
    assert _read_all(pickle.loads(pickle.dumps(reader))) == contents


def test_forked_processes_share_a_reader(many: tuple[RecordReader, list[bytes]]) -> None:
    reader, contents = many
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(reader.content, range(300)) == contents


def test_threads_share_a_reader(many: tuple[RecordReader, list[bytes]]) -> None:
    reader, contents = many
    start = threading.Barrier(8)

    def read(seed: int) -> bool:
        start.wait()
        rows = np.random.default_rng(seed).permutation(300)
        return [reader.content(i) for i in rows] == [contents[i] for i in rows]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_the_table_is_in_the_order_of_keys(tmp_path: Path) -> None:
    table = scan_records(_write(tmp_path / "train.rec", [(7, 1, b"abc"), (3, 0, SPLIT), (5, 2, b"")]))
    assert table.keys.tolist() == [3, 5, 7]
    assert table.label.tolist() == [0, 2, 1]
    assert table.size.tolist() == [-1, 0, 3]
    assert table.start.tolist() == [36, 36 + 32 + 8 + 32, 32]
    assert (table.meta.shape, table.identities.shape) == ((0,), (0, 2))
