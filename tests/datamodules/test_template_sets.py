from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.template_sets import ImageFiles, TemplateSet
from src.errors import UserError

NAMES = ["b.jpg", "sub/a.jpg", "\udcff.jpg"]


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., bytes]) -> Path:
    (tmp_path / "sub").mkdir()
    for seed, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(make_image(seed, 20, 20))
    return tmp_path


def template_set(folder: Path, weight: float = 1.0) -> TemplateSet:
    weights = np.array([0.5, weight, 1], dtype=np.float32)
    return TemplateSet("test", ImageFiles(folder, NAMES), np.array([1, 0, 1]), np.array([7, 7, 8]), weights)


def test_image_files(folder: Path) -> None:
    landmarks = (ARCFACE_TEMPLATE.float().numpy() / 6 + np.arange(3)[:, None, None]).astype(np.float32)
    images = ImageFiles(folder, NAMES, landmarks)
    assert len(images) == 3
    assert [image.path for image in images] == [folder / name for name in NAMES]
    assert [image.path.name for image in images[1:]] == ["a.jpg", "\udcff.jpg"]
    assert torch.equal(images[2].landmarks, torch.from_numpy(landmarks[2]))
    assert images[0].load(8).shape == (8, 8, 3)
    assert pickle.loads(pickle.dumps(images)).digest() == images.digest()
    for index in (3, -1):
        with pytest.raises(IndexError):
            images[index]
    with pytest.raises(ValueError, match="landmarks of shape"):
        ImageFiles(folder, NAMES, landmarks[:2])


def test_an_image_file_holds_no_object_per_image(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(100_000)]
    images = ImageFiles(tmp_path, names, np.zeros((100_000, 5, 2), np.float32))
    assert len(pickle.dumps(images)) < 6_000_000


def test_the_digest_follows_files_and_landmarks(folder: Path) -> None:
    landmarks = np.ones((3, 5, 2), np.float32)
    digests = {ImageFiles(folder, NAMES).digest(), ImageFiles(folder, NAMES, landmarks).digest()}
    landmarks[2, 4, 1] += 1e-3
    digests.add(ImageFiles(folder, NAMES, landmarks).digest())
    digests.add(ImageFiles(folder, NAMES[::-1]).digest())
    os.utime(folder / "b.jpg", ns=(0, 1))
    digests.add(ImageFiles(folder, NAMES).digest())
    (folder / "b.jpg").write_bytes(b"shorter")
    os.utime(folder / "b.jpg", ns=(0, 1))
    digests.add(ImageFiles(folder, NAMES).digest())
    assert len(digests) == 6
    (folder / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"b\.jpg: cannot be read \(No such file"):
        ImageFiles(folder, NAMES).digest()


def test_template_set(folder: Path) -> None:
    templates = template_set(folder)
    assert len(templates) == 2
    assert templates.first_image.tolist() == [1, 0]
    assert templates.fingerprint == template_set(folder).fingerprint
    for other in (
        template_set(folder, weight=0.9),
        replace(templates, template=np.array([1, 0, 0])),
        replace(templates, medium=np.array([7, 7, 7])),
    ):
        assert other.fingerprint != templates.fingerprint


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf])
def test_scores_of_the_detector(folder: Path, weight: float) -> None:
    with pytest.raises(
        UserError, match=r"test: 1 detector scores are negative or not finite, first: .* of 'sub/a\.jpg'"
    ):
        template_set(folder, weight)


def test_arrays_of_different_length(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) for 3 images"):
        replace(template_set(folder), medium=np.array([7, 7]))
