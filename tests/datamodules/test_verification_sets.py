from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.datamodules.decode import BadImage, decode
from src.datamodules.verification_sets import EncodedImage, VerificationImages, VerificationSet, read_bin, write_bin
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
    assert torch.equal(pairs.decode(7), decode(images[7]))
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
    assert torch.equal(pairs.decode(39), decode(images[39]))


def test_file_of_python_2(tmp_path: Path, images: list[bytes]) -> None:
    strings = b"".join(b"T" + len(image).to_bytes(4, "little") + image for image in images)
    flags = b"".join(b"\x88" if flag else b"\x89" for flag in SAME)
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x02](" + strings + b"e](" + flags + b"e\x86.")
    assert torch.equal(read_bin(path).decode(0), decode(images[0]))


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


def test_sizes(make_image: MakeImage) -> None:
    assert EncodedImage(make_image(0, 64, 64), "a").load(112).shape == (112, 112, 3)
    with pytest.raises(BadImage, match="a: 112 x 96 pixels, expected a square"):
        EncodedImage(make_image(0, 112, 96), "a").load(112)
    with pytest.raises(BadImage, match="a: not a readable"):
        EncodedImage(b"", "a").load(112)


def test_uneven_folds_follow_scikit_learn() -> None:
    same = np.array([True, False, True, True, False])
    VerificationSet("a", [EncodedImage(b"", "")] * 10, same, folds=2)
    with pytest.raises(UserError, match=r"fold 2 of 2 \(2 pairs\)"):
        VerificationSet("a", [EncodedImage(b"", "")] * 10, same[[0, 1, 4, 2, 3]], folds=2)


def test_images_for_a_loader(tmp_path: Path, images: list[bytes]) -> None:
    write_bin(tmp_path / "a.bin", images, SAME)
    batches = list(DataLoader(VerificationImages(read_bin(tmp_path / "a.bin"), size=112), batch_size=16))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(40))
    assert batches[2]["image"].shape == (8, 3, 112, 112)
    assert torch.equal(batches[0]["image"][3], decode(images[3]).permute(2, 0, 1) / 127.5 - 1)
