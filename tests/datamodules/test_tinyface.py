from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from src.datamodules.tinyface import read_tinyface
from src.errors import UserError

FILES = [
    "Probe/5_1.jpg", "Probe/12_7.png", "Gallery_Match/5_2.jpg", "Gallery_Match/12_1.JPG", "Gallery_Match/5_3.jpg",
    "Gallery_Distractor/a/x.jpg", "Gallery_Distractor/b/y.jpg",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, make_image: Callable[..., bytes]) -> Path:
    for seed, name in enumerate(FILES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_image(seed, 20, 20))
    (tmp_path / "Probe/readme.txt").write_text("no image")
    return tmp_path


def test_the_set(root: Path) -> None:
    tinyface = read_tinyface(root)
    assert len(tinyface) == len(tinyface.images) == 7
    (search,) = tinyface.searches
    names = [tinyface.images.name(number) for number in search.probe]
    assert dict(zip(names, search.probe_subject.tolist(), strict=True)) == {"Probe/12_7.png": 12, "Probe/5_1.jpg": 5}
    names = [tinyface.images.name(number) for number in search.gallery]
    assert dict(zip(names, search.gallery_subject.tolist(), strict=True)) == {
        "Gallery_Match/12_1.JPG": 12, "Gallery_Match/5_2.jpg": 5, "Gallery_Match/5_3.jpg": 5,
        "Gallery_Distractor/a/x.jpg": -1, "Gallery_Distractor/b/y.jpg": -2,
    }  # fmt: skip
    assert search.mated.all()
    assert not tinyface.has_open_set
    assert tinyface.images[3].load(16).shape == (16, 16, 3)


def test_missing_folders(root: Path) -> None:
    (root / "Probe/12_7.png").unlink()
    (root / "Probe/5_1.jpg").unlink()
    (root / "Gallery_Distractor").rename(root / "Distractor")
    with pytest.raises(UserError, match=r"no images in Probe, Gallery_Distractor$"):
        read_tinyface(root)


@pytest.mark.parametrize("name", ["x_1.jpg", "5.jpg", "\u0665_1.jpg", "99999999999_1.jpg"])
def test_a_file_without_subject(root: Path, name: str) -> None:
    (root / "Gallery_Match/5_3.jpg").rename(root / "Gallery_Match" / name)
    with pytest.raises(UserError, match=r"Gallery_Match/.*\.jpg: expected a name such as 123_2\.jpg"):
        read_tinyface(root)


def test_no_probe_with_a_match(root: Path) -> None:
    (root / "Probe/5_1.jpg").rename(root / "Probe/6_1.jpg")
    (root / "Probe/12_7.png").rename(root / "Probe/7_1.png")
    with pytest.raises(UserError, match="tinyface: no probe shows a subject of the gallery"):
        read_tinyface(root)
