from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.datamodules.decode import decode
from src.datamodules.evaluation_images import EncodedImage
from src.datamodules.verification_sets import VerificationSet, read_bin, write_bin
from src.errors import UserError

MakeImage = Callable[..., bytes]
SAME = [True, False] * 10


@pytest.fixture
def images(make_image: MakeImage) -> list[bytes]:
    return [make_image(i, 112, 112) for i in range(40)]


def test_what_is_written_can_be_read(tmp_path: Path, images: list[bytes]) -> None:
    write_bin(tmp_path / "lfw.bin", images, np.array(SAME))
    pairs = read_bin(tmp_path / "lfw.bin")
    assert (pairs.name, pairs.folds, len(pairs)) == ("lfw", 10, 20)
    assert pairs.same.dtype == bool
    assert pairs.same.tolist() == SAME
    assert torch.equal(pairs.images[7].load(112), decode(images[7]))
    content = (tmp_path / "lfw.bin").read_bytes()
    assert content.startswith(b"\x80\x02")
    assert pickle.loads(content, encoding="bytes") == (images, SAME)


def _column(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)[:, None]


@pytest.mark.parametrize("convert", [bytes, bytearray, lambda data: np.frombuffer(data, np.uint8), _column, np.bytes_])
@pytest.mark.parametrize("flags", [list, np.array, tuple, lambda flags: [np.bool_(flag) for flag in flags]])
def test_variants_in_circulation(
    tmp_path: Path, images: list[bytes], convert: Callable[[bytes], Any], flags: Callable[[list[bool]], Any]
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps(([convert(image) for image in images], flags(SAME)), protocol=2))
    pairs = read_bin(path, name="agedb_30")
    assert pairs.same.tolist() == SAME
    assert torch.equal(pairs.images[39].load(112), decode(images[39]))


def test_file_of_python_2(tmp_path: Path, images: list[bytes]) -> None:
    strings = b"".join(b"T" + len(image).to_bytes(4, "little") + image for image in images)
    flags = b"".join(b"\x88" if flag else b"\x89" for flag in SAME)
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x02](" + strings + b"e](" + flags + b"e\x86.")
    assert torch.equal(read_bin(path).images[0].load(112), decode(images[0]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([b"x"], "expected a pair"),
        (([b"x", 3], [True]), "an image is a int"),
        (([b"x"] * 3, [True, False]), "3 images for 2 pairs"),
        (([b"x"] * 40, [True] * 20), "fold 1 of 10 .* no pair of different"),
        (([b"x"] * 40, [True, False] * 9 + [False] * 2), "fold 10 of 10 .* no pair of the same"),
        (([b"x"] * 4, [True, False]), "fold 1 of 10"),
        (([], []), "fold 1 of 10"),
    ],
)
def test_unusable_content(tmp_path: Path, value: object, message: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match=message):
        read_bin(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_bin(tmp_path / "none.bin")


def test_write_refuses_odd_counts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 images for 1 pairs"):
        write_bin(tmp_path / "a.bin", [b"x"], [True])
    assert not (tmp_path / "a.bin").exists()


def test_uneven_folds_follow_scikit_learn() -> None:
    same = np.array([True, False, True, True, False])
    VerificationSet("a", [EncodedImage(b"", "")] * 10, same, folds=2)
    with pytest.raises(UserError, match=r"fold 2 of 2 \(2 pairs\)"):
        VerificationSet("a", [EncodedImage(b"", "")] * 10, same[[0, 1, 4, 2, 3]], folds=2)


def test_the_fingerprint_changes_with_images_pairs_and_folds(tmp_path: Path, images: list[bytes]) -> None:
    def fingerprint(contents: list[bytes], same: list[bool], folds: int = 10) -> str:
        write_bin(tmp_path / "a.bin", contents, same)
        return read_bin(tmp_path / "a.bin", folds=folds).fingerprint

    original = fingerprint(images, SAME)
    assert fingerprint(images, SAME) == original
    assert fingerprint([*images[:-1], images[0]], SAME) != original
    assert fingerprint(images, [*SAME[2:], False, True]) != original
    assert fingerprint(images, SAME, folds=5) != original
