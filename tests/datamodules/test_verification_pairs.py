from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.datamodules.alignment import ARCFACE_TEMPLATE, align
from src.datamodules.decode import decode
from src.datamodules.verification_pairs import read_calfw_pairs, read_lfw_pairs
from src.errors import UserError

MakeImage = Callable[..., bytes]
HEADER = (
    "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
    "mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y\n"
)
PAIRS = "2\t1\nA_B\t1\t2\nA_B\t1\tC\t3\nC\t1\t3\nC\t1\tA_B\t2\n"


@pytest.fixture
def root(tmp_path: Path, make_image: MakeImage) -> Path:
    for seed, (person, image) in enumerate([("A_B", 1), ("A_B", 2), ("C", 1), ("C", 3)]):
        folder = tmp_path / "test" / person
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{person}_{image:04d}.jpg").write_bytes(make_image(seed, 250, 250))
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return tmp_path


def test_lfw(root: Path) -> None:
    pairs = read_lfw_pairs(root)
    names = [source.path.name for source in pairs.images]
    assert names == [
        "A_B_0001.jpg", "A_B_0002.jpg", "A_B_0001.jpg", "C_0003.jpg",
        "C_0001.jpg", "C_0003.jpg", "C_0001.jpg", "A_B_0002.jpg",
    ]  # fmt: skip
    assert pairs.same.tolist() == [True, False, True, False]
    assert (pairs.name, pairs.folds) == ("lfw", 2)
    assert pairs.images[0].load(112).shape == (112, 112, 3)


def test_first_line_may_hold_the_folds_only(root: Path) -> None:
    (root / "pairs.txt").write_text(PAIRS.replace("2\t1\n", "2\n", 1))
    assert read_lfw_pairs(root).folds == 2


def test_lfw_by_landmarks(root: Path) -> None:
    points = ARCFACE_TEMPLATE * 1.2 + torch.tensor([60.0, 50.0])
    numbers = ",".join(str(number) for number in points.flatten().tolist())
    files = ["test/A_B/A_B_0001.jpg", "test/A_B/A_B_0002.jpg", "test/C/C_0001.jpg", "test/C/C_0003.jpg"]
    (root / "landmarks.csv").write_text(HEADER + "".join(f"{file},{numbers}\n" for file in files))
    image = decode((root / files[3]).read_bytes())
    assert torch.equal(read_lfw_pairs(root).images[3].load(112), align(image, points.float()))
    assert not torch.equal(read_lfw_pairs(root, landmarks=None).images[3].load(112), align(image, points.float()))
    (root / "landmarks.csv").write_text(HEADER + f"{files[0]},{numbers}\n")
    with pytest.raises(UserError, match=r"no row for 6 of 8 images, first: test/A_B/A_B_0002\.jpg"):
        read_lfw_pairs(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\t1\n", "holds no pairs"),
        ("2\t2\nC\t1\t3\n", "1 pairs, but line 1 promises 2 folds of 2 x 2"),
        ("folds\nC\t1\t3\n", "line 1: expected `<folds> <pairs>`"),
        ("2\t1\n" + 4 * "C\t1\n", "line 2: expected `name i j`"),
        (PAIRS.replace("C\t1\t3", "C\t1\tx"), "line 4: expected `name i j`"),
        (PAIRS.replace("C\t1\t3", "../C\t1\t3"), r"2 of 8 images are not below .*first: \.\./C/\.\./C_0001"),
        (PAIRS.replace("A_B\t1\tC\t3", "A_B\t1\t2"), "fold 1 of 2"),
    ],
)
def test_malformed_pairs(root: Path, text: str, message: str) -> None:
    (root / "pairs.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_lfw_pairs(root)


def test_ambiguous_and_missing_files(root: Path) -> None:
    (root / "copy/C").mkdir(parents=True)
    (root / "copy/C/C_0001.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="have the same name"):
        read_lfw_pairs(root)
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_lfw_pairs(root, pairs="none.txt")


def test_calfw(root: Path) -> None:
    lines = ["A_B_0001.jpg 1", "A_B_0002.jpg 1", "A_B_0001.jpg 0", "C_0003.jpg 0"]
    (root / "pairs_CALFW.txt").write_text("\n".join(lines))
    pairs = read_calfw_pairs(root, name="calfw", pairs="pairs_CALFW.txt", folds=1)
    assert pairs.same.tolist() == [True, False]
    assert pairs.images[3].path.name == "C_0003.jpg"
    for bad in (lines[:3], [*lines[:3], "C_0003.jpg 2"]):
        (root / "pairs_CALFW.txt").write_text("\n".join(bad))
        with pytest.raises(UserError, match="differ in their flag, or a line is missing"):
            read_calfw_pairs(root, name="calfw", pairs="pairs_CALFW.txt", folds=1)
    (root / "pairs_CALFW.txt").write_text("\n".join([*lines, "x"]))
    with pytest.raises(UserError, match="line 5: expected `<image> <flag>`"):
        read_calfw_pairs(root, name="calfw", pairs="pairs_CALFW.txt")
