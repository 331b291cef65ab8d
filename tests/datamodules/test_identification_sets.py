from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.datamodules.evaluation_images import ImageFile
from src.datamodules.identification_sets import read_class_folders
from src.datamodules.landmarks import HEADER
from src.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ann with images in two folders, Bob with one, and an image of nobody."""
    files = ("train/Ann/Ann_0002.jpg", "train/Ann/Ann_0001.png", "test/Ann/Ann_0003.jpg", "test/Bob/x.JPG", "all.jpg")
    for level, file in enumerate(files):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((112, 112, 3), 40 * level, np.uint8)).save(path)
    (tmp_path / "test/Bob/notes.txt").write_text("no image")
    return tmp_path


def test_people_by_folder_in_order_of_file_names(root: Path) -> None:
    faces = read_class_folders(root, name="people")
    assert faces.name == "people"
    assert faces.labels.tolist() == [0, 0, 0, 1]
    levels = [float(image.load(16).float().mean()) for image in faces.images]
    assert levels == pytest.approx([40, 0, 80, 120], abs=2)


def test_more_folders_below_each_person(root: Path) -> None:
    faces = read_class_folders(root, name="videos", levels=2)
    assert faces.labels.tolist() == [0, 0, 1, 1]  # of test and train
    with pytest.raises(UserError, match=r"expected <person>/<folder>/<folder>/<image>\.jpg at any depth"):
        read_class_folders(root, name="videos", levels=3)


def test_people_of_one_folder(root: Path) -> None:
    (root / "test/stray.jpg").write_bytes((root / "test/Bob/x.JPG").read_bytes())
    faces = read_class_folders(root, name="people", folder="test")
    assert faces.labels.tolist() == [0, 1]
    assert [float(image.load(16).float().mean()) for image in faces.images] == pytest.approx([80, 120], abs=2)


def test_landmarks_are_used_if_there(root: Path) -> None:
    files = ("train/Ann/Ann_0001.png", "train/Ann/Ann_0002.jpg", "test/Ann/Ann_0003.jpg", "test/Bob/x.JPG")
    rows = [",".join([file, *map(str, range(10))]) for file in files]
    (root / "landmarks.csv").write_text("\n".join([",".join(HEADER), *rows]))
    image = read_class_folders(root, name="people").images[3]
    assert isinstance(image, ImageFile)
    assert torch.equal(image.landmarks, torch.arange(10.0).view(5, 2))
    (root / "landmarks.csv").write_text("\n".join([",".join(HEADER), *rows[1:]]))
    with pytest.raises(UserError, match=r"landmarks\.csv: no row for 1 of 4 images, first: train/Ann/Ann_0001"):
        read_class_folders(root, name="people")
    assert read_class_folders(root, name="people", landmarks=None).images[3].landmarks is None


def test_fingerprint_follows_images_and_people(root: Path) -> None:
    before = read_class_folders(root, name="people").fingerprint
    assert read_class_folders(root, name="people").fingerprint == before
    os.utime(root / "test/Bob/x.JPG", ns=(0, 0))
    touched = read_class_folders(root, name="people").fingerprint
    (root / "test/Bob").rename(root / "test/Al")
    renamed = read_class_folders(root, name="people").fingerprint
    assert len({before, touched, renamed}) == 3


def test_refuses_doubtful_folders(root: Path, tmp_path: Path) -> None:
    (root / "copy/Bob").mkdir(parents=True)
    (root / "copy/Bob/x.jpg").write_bytes((root / "test/Bob/x.JPG").read_bytes())
    with pytest.raises(UserError, match=r"Bob/x\.(jpg|JPG) and .*Bob/x\.(jpg|JPG) have the same name"):
        read_class_folders(root, name="people")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no images .*<person>/<image>\.jpg"):
        read_class_folders(tmp_path / "empty", name="people")
