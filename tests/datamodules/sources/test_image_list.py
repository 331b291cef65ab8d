from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules.sources.image_list import ImageList, casia_identity_split
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

Configured = Callable[..., FaceSource]
# The mean of the landmarks in LFW's list.
POINTS = "104.67 112.49 145.09 111.73 124.85 136.51 107.60 157.14 143.56 156.73"


def _fill(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(file.encode())
    return root


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _keys(source: FaceSource) -> list[str]:
    return [source.key(row) for row in range(len(source))]


def test_casia(configured: Configured, tmp_path: Path) -> None:
    _fill(tmp_path / "CASIA-WebFace", "0000045/001.jpg")
    lines = [f"0000045/002.jpg 3 {POINTS}", f"0000045/001.jpg\t3\t{POINTS}", "", f"./0000099/001.jpg  0 {POINTS} "]
    file = _write(tmp_path / "casia_landmark.txt", *lines)
    source = pickle.loads(pickle.dumps(configured("casia_list", root=tmp_path / "CASIA-WebFace", list_file=file)))
    assert _keys(source) == ["0000045/002.jpg", "0000045/001.jpg", "0000099/001.jpg"]
    assert source.labels.tolist() == [3, 3, 0]
    assert source.classes == ["0", "1", "2", "3"]
    assert source.content(1) == b"0000045/001.jpg"
    assert source.has_landmarks
    expected = np.array(POINTS.split(), np.float32).reshape(5, 2)
    np.testing.assert_array_equal(source.landmarks(0), expected)
    assert source.landmarks(0).dtype == np.float32
    assert source.metadata(0) == {
        "subject": "3", "label": 3, "attribute": -1, "source": "0000045/002.jpg", "landmarks": expected.tolist(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "counts"),
    [(10574, (8456, 1059, 1059)), (10575, (8456, 1059, 1060)), (100, (76, 12, 12)), (10, (4, 3, 3))],
)
def test_casia_identity_split(labels: int, counts: tuple[int, int, int]) -> None:
    identities = np.arange(labels)
    train, test, validation = (identities[mask].tolist() for mask in casia_identity_split(identities))
    assert (len(train), len(test), len(validation)) == counts
    assert train + test + validation == identities.tolist()


def test_split_counts_the_labels_that_occur() -> None:
    # n = 9, m = 10: a = 8, b = 8 + (9 - 8) // 2 = 8.
    labels = np.array([10, 0, 1, 2, 3, 4, 5, 8, 9, 9])
    assert [np.unique(labels[mask]).tolist() for mask in casia_identity_split(labels)] == [
        [0, 1, 2, 3, 4, 5],
        [],
        [8, 9, 10],
    ]


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_every_image_is_in_one_part(labels: list[int]) -> None:
    masks = casia_identity_split(np.array(labels))
    assert np.sum(masks, axis=0).tolist() == [1] * len(labels)


def test_splitting_a_list(configured: Configured, tmp_path: Path) -> None:
    _fill(tmp_path, "a/0.jpg")
    file = _write(tmp_path / "list.txt", *(f"a/{i}.jpg {i // 2} {POINTS}" for i in range(20)))
    labels = {
        split: configured("casia_list", root=tmp_path, list_file=file, split=split).labels.tolist()
        for split in ("train", "test", "validation")
    }
    assert labels == {
        "train": [0, 0, 1, 1, 2, 2, 3, 3],
        "test": [4, 4, 5, 5, 6, 6],
        "validation": [7, 7, 8, 8, 9, 9],
    }
    source = configured("casia_list", root=tmp_path, list_file=file, split="test")
    assert (len(source.classes), source.metadata(0)["subject"]) == (10, "4")
    with pytest.raises(UserError, match="no image is left for split=train"):
        configured("casia_list", root=tmp_path, list_file=_write(file, f"a/0.jpg 3 {POINTS}"), split="train")


def test_lfw_with_boxes(configured: Configured, tmp_path: Path) -> None:
    _fill(tmp_path / "lfw", "B/B_0001.jpg")
    names = ["B/B_0001.jpg", "A/A_0002.jpg", "A/A_0001.jpg"]
    file = _write(tmp_path / "lfw_landmark.txt", *("\t".join([name, *POINTS.split()]) for name in names))
    source = configured("lfw_list", root=tmp_path / "lfw", list_file=file)
    assert _keys(source) == names
    assert source.classes == ["A", "B"]
    assert source.labels.tolist() == [1, 0, 0]
    assert "box" not in source.metadata(0)
    boxes = _write(
        tmp_path / "lfw_detection.txt",
        f"{names[2]} 80 70 170 190 0.99 7", f"{names[2]} 1 2 3 4", "C/C_0001.jpg 1 2 3 4", f"{names[0]}\t5.5\t6\t7\t8",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"lfw_detection\.txt: no box for 1 of 3 images, first: A/A_0002\.jpg"):
        configured("lfw_list", root=tmp_path / "lfw", list_file=file, boxes=boxes)
    source = configured("lfw_list", root=tmp_path / "lfw", list_file=file, boxes=boxes, missing_boxes="skip")
    assert _keys(source) == [names[0], names[2]]
    assert [source.metadata(row)["box"] for row in range(2)] == [[5.5, 6, 7, 8], [80, 70, 170, 190]]
    assert source.labels.tolist() == [1, 0]
    assert [left.name for left in source.left_out] == [names[1]]


def test_ffhq(configured: Configured, tmp_path: Path) -> None:
    names = ["60000/60000.png", "my folder/60001 copy.png", "top.png"]
    _fill(tmp_path, *names)
    file = tmp_path / "validation_paths.txt"
    file.write_bytes("\r\n".join(["\ufeff" + names[0], f" {names[1]} ", "", names[2]]).encode())
    source = configured("ffhq_list", root=tmp_path, list_file=file)
    assert _keys(source) == names
    assert (source.classes, source.labels.tolist(), source.has_landmarks) == (["0"], [0, 0, 0], False)
    assert source.content(1) == names[1].encode()
    with pytest.raises(UserError, match=r"line 4: top\.png lies in no folder that would tell its class"):
        configured("ffhq_list", root=tmp_path, list_file=file, one_class=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a/2.jpg {POINTS}", "expected `path label x1 y1 .* found 'a/2.jpg 104"),
        (f"a/2.jpg 1 {POINTS} 3", "expected `path label x1"),
        (f"a/2.jpg x {POINTS}", "could not convert string to float: 'x'"),
        (f"a/2.jpg 1.5 {POINTS}", "expected a whole number from 0 to 9999999 as label, found 1.5"),
        (f"a/2.jpg -1 {POINTS}", "expected a whole number .* found -1"),
        (f"a/2.jpg 99999999 {POINTS}", "expected a whole number"),
        (f"a/2.jpg 1 {POINTS.replace('104.67', 'nan')}", "finite numbers"),
        (f"/etc/2.jpg 1 {POINTS}", "unsafe path '/etc/2.jpg'"),
        (f"a/../../2.jpg 1 {POINTS}", "unsafe path 'a/../../2.jpg'"),
        (f"a/2\0.jpg 1 {POINTS}", "unsafe path"),
        (f"./a/1.jpg 2 {POINTS}", "a/1.jpg is in line 1 too"),
    ],
)
def test_bad_lines(line: str, message: str, tmp_path: Path) -> None:
    file = _write(_fill(tmp_path, "a/1.jpg") / "list.txt", f"a/1.jpg 0 {POINTS}", "", line, f"a/4.jpg 0 {POINTS}")
    with pytest.raises(UserError, match=rf"list\.txt, line 3: .*{message}"):
        ImageList(tmp_path, file, columns="path_label_landmarks")


def test_bad_boxes(tmp_path: Path) -> None:
    file = _write(_fill(tmp_path, "a/1.jpg") / "list.txt", "a/1.jpg")
    for line, message in {"a/1.jpg 1 2 3": "expected `path left", "a/1.jpg 5 2 5 4": "the box is empty"}.items():
        boxes = _write(tmp_path / "boxes.txt", line)
        with pytest.raises(UserError, match=rf"boxes\.txt, line 1: {message}"):
            ImageList(tmp_path, file, columns="path", boxes=boxes)


def test_bad_files(tmp_path: Path) -> None:
    file = _write(tmp_path / "list.txt", "a/1.jpg", "a/2.jpg")
    with pytest.raises(UserError, match=r"holds no a/1\.jpg, the first image of .*list\.txt; give the root"):
        ImageList(tmp_path, file, columns="path")
    assert len(ImageList(_fill(tmp_path, "a/2.jpg"), file, columns="path")) == 2
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        ImageList(tmp_path, tmp_path / "none.txt", columns="path")
    file.write_text("\n")
    with pytest.raises(UserError, match="holds no line; expected lines of `path`"):
        ImageList(tmp_path, file, columns="path")
    file.write_bytes(b"\xff\xd8")
    with pytest.raises(UserError, match="is no UTF-8 text"):
        ImageList(tmp_path, file, columns="path")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": "box"}, "columns: expected"),
        ({"columns": "path", "missing_boxes": "drop"}, "missing_boxes: expected error or skip"),
        ({"columns": "path", "split": "val"}, "split: expected train, test or validation"),
        ({"columns": "path_landmarks", "split": "train"}, "split=train: columns=path_landmarks .* no labels"),
        ({"columns": "path_label_landmarks", "one_class": True}, "one_class=true: .* holds labels"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        ImageList(tmp_path, tmp_path / "list.txt", **arguments)
