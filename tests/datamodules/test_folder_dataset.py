from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.datamodules.alignment import ARCFACE_TEMPLATE, align
from src.datamodules.decode import decode
from src.datamodules.folder_dataset import FolderDataset
from src.errors import UserError

MakeImage = Callable[..., bytes]
HEADER = (
    "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
    "mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y\n"
)


def _fill(root: Path, make_image: MakeImage, counts: dict[str, int]) -> None:
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{name}_{i}.jpg").write_bytes(make_image(10 * number + i, 40, 30))


def _write_landmarks(path: Path, files: list[str], points: torch.Tensor = ARCFACE_TEMPLATE) -> None:
    numbers = ",".join(str(number) for number in points.flatten().tolist())
    path.write_text(HEADER + "".join(f"{file},{numbers}\n" for file in files))


def test_classes_are_sorted_folders(tmp_path: Path, make_image: MakeImage) -> None:
    _fill(tmp_path, make_image, {"b": 2, "a": 1, "c 10": 3})
    (tmp_path / "b/notes.txt").write_text("no image")
    dataset = FolderDataset(tmp_path, size=24)
    assert dataset.classes == ["a", "b", "c 10"]
    assert dataset.labels.tolist() == [0, 1, 1, 2, 2, 2]
    sample = dataset[1]
    assert sample["key"] == "b/b_0.jpg"
    assert sample["label"].item() == 1
    assert sample["image"].shape == (24, 24, 3)
    assert "landmarks" not in sample


def test_alignment_by_rows_relative_to_the_csv(tmp_path: Path, make_image: MakeImage) -> None:
    _fill(tmp_path / "train", make_image, {"a": 2, "b": 2})
    points = ARCFACE_TEMPLATE * 0.3 + 2
    files = [f"train/{name}/{name}_{i}.jpg" for name in "ab" for i in range(2)]
    _write_landmarks(tmp_path / "landmarks.csv", [*files, "test/z/z_0.jpg"], points)
    sample = FolderDataset(tmp_path / "train", landmarks=tmp_path / "landmarks.csv")[3]
    expected = align(decode((tmp_path / "train/b/b_1.jpg").read_bytes()), points)
    assert (sample["image"].int() - expected.int()).abs().max() <= 1
    assert torch.allclose(sample["landmarks"], ARCFACE_TEMPLATE.float(), atol=1e-3)


def test_images_without_landmarks(tmp_path: Path, make_image: MakeImage, caplog: pytest.LogCaptureFixture) -> None:
    _fill(tmp_path, make_image, {"a": 2, "b": 2})
    csv = tmp_path / "landmarks.csv"
    _write_landmarks(csv, ["a/a_0.jpg", "b/b_1.jpg"])
    with pytest.raises(UserError, match=r"no row for 2 of 4 images .*first: a/a_1\.jpg, b/b_0\.jpg"):
        FolderDataset(tmp_path, landmarks=csv)
    dataset = FolderDataset(tmp_path, landmarks=csv, missing_landmarks="skip")
    assert [dataset.key(i) for i in range(len(dataset))] == ["a/a_0.jpg", "b/b_1.jpg"]
    assert "left out 2 images" in caplog.text
    _write_landmarks(csv, ["other.jpg"])
    with pytest.raises(UserError, match="no row for 4 of 4 images"):
        FolderDataset(tmp_path, landmarks=csv, missing_landmarks="skip")


def test_degenerate_landmarks_are_counted(
    tmp_path: Path, make_image: MakeImage, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(tmp_path, make_image, {"a": 1})
    _write_landmarks(tmp_path / "landmarks.csv", ["a/a_0.jpg"], torch.ones(5, 2))
    dataset = FolderDataset(tmp_path, landmarks=tmp_path / "landmarks.csv")
    assert "1 images have degenerate landmarks" in caplog.text
    assert dataset[0]["image"].float().std() > 0


@pytest.mark.parametrize(
    ("counts", "message"),
    [({}, "holds no class folder"), ({"a": 0, "b": 0}, "no image found; expected <class>/<image>")],
)
def test_empty_folders(tmp_path: Path, make_image: MakeImage, counts: dict[str, int], message: str) -> None:
    _fill(tmp_path, make_image, counts)
    with pytest.raises(UserError, match=message):
        FolderDataset(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        FolderDataset(tmp_path / "none")


def test_one_class_and_single_images(tmp_path: Path, make_image: MakeImage, caplog: pytest.LogCaptureFixture) -> None:
    for name, counts in {"one": {"a": 3}, "single": {"a": 1, "b": 1}, "mixed": {"a": 1, "b": 2}}.items():
        _fill(tmp_path / name, make_image, counts)
    with pytest.raises(UserError, match=r"only one class \('a'\)"):
        FolderDataset(tmp_path / "one").check_classes()
    with pytest.raises(UserError, match="each of the 2 classes has a single image"):
        FolderDataset(tmp_path / "single").check_classes()
    with caplog.at_level(logging.WARNING):
        FolderDataset(tmp_path / "mixed").check_classes()
    assert "1 of 2 classes have a single image" in caplog.text


def test_a_vanished_image_counts_as_unreadable(tmp_path: Path, make_image: MakeImage) -> None:
    _fill(tmp_path, make_image, {"a": 2, "b": 2})
    dataset = FolderDataset(tmp_path)
    (tmp_path / "a/a_1.jpg").unlink()
    assert dataset[1] is None
    with pytest.raises(UserError, match=r"First: a/a_1\.jpg: No such file"):
        dataset.check_readable()
