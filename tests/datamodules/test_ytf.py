from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from src.datamodules.ytf import read_ytf
from src.errors import UserError

SPLITS = """split number, pair number, first name, second name, is same
2, 1, A_B/0, A_B/1, 1
2, 2, A_B/1, C/3, 0
1, 1, C/3, A_B/0, 0
1, 2, A_B/1, A_B/0, 1
"""


@pytest.fixture
def root(tmp_path: Path, make_image: Callable[..., bytes]) -> Path:
    for video, count in {"A_B/0": 3, "A_B/1": 1, "C/3": 2, "D/0": 1}.items():
        folder = tmp_path / "aligned_images_DB" / video
        folder.mkdir(parents=True)
        for frame in range(count):
            (folder / f"aligned_detect_{frame}.jpg").write_bytes(make_image(frame, 20, 20))
    (tmp_path / "splits.txt").write_text(SPLITS)
    return tmp_path


def test_the_set(root: Path) -> None:
    ytf = read_ytf(root)
    assert [ytf.images.name(number) for number in ytf.first_image] == [
        f"aligned_images_DB/{video}/aligned_detect_0.jpg" for video in ("A_B/0", "A_B/1", "C/3")
    ]
    assert ytf.template.tolist() == [0, 0, 0, 1, 2, 2]
    assert len(set(ytf.medium.tolist())) == 6
    assert ytf.pairs is not None
    assert (ytf.pairs.first.tolist(), ytf.pairs.second.tolist()) == ([2, 1, 0, 1], [0, 0, 1, 2])
    assert (ytf.pairs.same.tolist(), ytf.pairs.folds) == ([False, True, True, False], 2)
    assert ytf.images[5].load(16).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2, A_B/1, C/3, 0", "2, A_B/1, C/3, -1", r"splits\.txt, line 3: expected `split, pair, name/video,"),
        ("2, A_B/1, C/3, 0", "2, A_B/1, C/3", "line 3: expected"),
        ("2, A_B/1, C/3, 0", "2, A_B/1, ../..,0", "line 3: expected"),
        ("2, A_B/1, C/3, 0", "2, A_B/1, C, 0", "line 3: expected"),
        ("2, 2, A_B", "x, 2, A_B", "line 3: expected"),
        ("2, 1, A_B/0", "2, 1, A_B/7", r"aligned_images_DB: 1 of 4 videos of splits\.txt have no frames, first: A_B/7"),
        ("2, 2, A_B", "1, 2, A_B", "splits of 3, 1 pairs; expected all of the same size"),
        ("C/3, A_B/0, 0", "C/3, A_B/0, 1", "splits of 2, 2 pairs; expected .* of the same and of different persons"),
        (SPLITS, "split number\n\n", "holds no pairs"),
    ],
)
def test_malformed_splits(root: Path, old: str, new: str, message: str) -> None:
    assert old in SPLITS
    (root / "splits.txt").write_text(SPLITS.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_ytf(root)


def test_files_that_cannot_be_read(root: Path) -> None:
    (root / "splits.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"splits\.txt: cannot be read"):
        read_ytf(root)
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_ytf(root, splits="none.txt")
