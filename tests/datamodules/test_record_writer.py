from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from src.datamodules import record_writer
from src.datamodules.record_writer import RecordWriter, closing_records
from src.datamodules.recordio import iter_parts, read_index
from src.errors import UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["recordio"]


@contextmanager
def _disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond a number of bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def _write(root: Path, labels: Iterable[int], layout: record_writer.Layout = "insightface", size: int = 1) -> None:
    with RecordWriter(root, layout, resolution=8) as writer:
        for label in labels:
            writer.add(bytes(size), label)


def test_layout_insightface_is_that_of_mxnet(tmp_path: Path) -> None:
    with RecordWriter(tmp_path, resolution=112) as writer:
        for record in GOLDEN["records"][:4]:
            label = record["label"]
            writer.add(bytes.fromhex(record["payload_hex"]), int(label[0] if isinstance(label, list) else label))
    assert _names(tmp_path) == ["property", "train.idx", "train.rec"]
    assert (tmp_path / "property").read_text() == "2,112,112\n"
    keys, offsets = read_index(tmp_path / "train.idx")
    assert keys.tolist() == [1, 2, 3, 4, 0, 5, 6]
    # Meta and identity records of the reference: 3 x 40 bytes. Its classes were [0, 0, 1, 1].
    written, expected = (tmp_path / "train.rec").read_bytes(), bytes.fromhex(GOLDEN["rec_hex"])
    assert written[offsets[4] :][:40] == expected[220:260]
    assert len(written) - offsets[4] == 120
    assert written[:56] == expected[:56]


def test_closing_records_are_those_of_mxnet() -> None:
    assert closing_records(np.array([0, 0, 1, 1])) == [
        (record["key"], tuple(record["label"])) for record in GOLDEN["records"][4:]
    ]
    assert closing_records(np.array([7, 2, 2])) == [(0, (4, 6)), (4, (1, 2)), (5, (2, 4))]
    with pytest.raises(UserError, match="images of each class must follow one another"):
        closing_records(np.array([0, 1, 0]))


def test_layout_im2rec_numbers_from_zero(tmp_path: Path) -> None:
    with RecordWriter(tmp_path, "im2rec", resolution=112) as writer:
        for label in (3, 0, 3):
            writer.add(b"content", label)
    assert _names(tmp_path) == ["train.idx", "train.rec"]
    assert (tmp_path / "train.idx").read_text() == "0\t0\n1\t40\n2\t80\n"
    assert [length for _, _, length in iter_parts(tmp_path / "train.rec")] == [31, 31, 31]


@pytest.mark.parametrize("layout", ["insightface", "im2rec"])
def test_same_images_give_the_same_bytes(tmp_path: Path, layout: record_writer.Layout) -> None:
    for name in "ab":
        with RecordWriter(tmp_path / name, layout, resolution=8) as writer:
            for i in range(5):
                writer.add(bytes([i] * i), i // 2)
    for name in _names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0], "image 2 is of class 0, which had ended before"),
        ([-1], "image 0 has the label -1; expected 0"),
        ([1 << 25], "record 1: label 33554432, expected at most 16777216"),
        ([], "no image was written"),
    ],
)
def test_a_mistake_leaves_nothing_behind(tmp_path: Path, labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _write(tmp_path, labels)
    assert _names(tmp_path) == []


def test_too_many_images_for_float_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_writer, "MAX_LABEL", 7)
    assert closing_records(np.array([0, 0, 1, 1]))[0] == (0, (5, 7))
    _write(tmp_path / "fits", [0, 0, 1, 1])
    with pytest.raises(UserError, match="5 images are too many for layout insightface"):
        _write(tmp_path / "not", [0, 0, 1, 1, 1])
    _write(tmp_path / "im2rec", [0, 0, 1, 1, 1], "im2rec")


@pytest.mark.parametrize("count", [100, 2])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="the disk is full"), _disk_of(50):
        _write(tmp_path, [0] * count, size=200)
    assert _names(tmp_path) == []


@pytest.mark.parametrize("name", ["train.rec", "train.idx", "property"])
def test_no_dataset_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match=rf"{name}: exists already"):
        RecordWriter(tmp_path, resolution=8)
    assert (tmp_path / name).read_text() == "precious"


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="layout: expected insightface or im2rec, found 'tar'"):
        RecordWriter(tmp_path, "tar", resolution=8)  # type: ignore[arg-type]
