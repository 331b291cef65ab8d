from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.datamodules.sources.paired_folders import PairedFolders
from src.datamodules.sources.source import FaceSource
from src.errors import UserError


def _fill(root: Path, visible: list[str], infrared: list[str]) -> Path:
    for folder, files in (("VIS", visible), ("NIR", infrared)):
        for file in files:
            path = root / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{folder}/{file}".encode())
    return root


def _keys(source: FaceSource) -> list[str]:
    return [source.key(row) for row in range(len(source))]


def test_pairs_by_stem(configured: Callable[..., FaceSource], tmp_path: Path) -> None:
    _fill(
        tmp_path, ["10_1.jpg", "9_2.jpg", "9_1.jpg", "more/9_1.jpg"], ["9_1.png", "more/9_1.jpg", "10_1.png", "9_2.jpg"]
    )
    (tmp_path / "VIS/notes.txt").touch()
    source = pickle.loads(pickle.dumps(configured("vis_nir", root=tmp_path)))
    assert source.modalities == ("image", "nir")
    assert source.classes == ["9", "10"]
    assert source.labels.tolist() == [0, 0, 0, 1]
    assert _keys(source) == ["VIS/9_1.jpg", "VIS/9_2.jpg", "VIS/more/9_1.jpg", "VIS/10_1.jpg"]
    assert source.content(0) == b"VIS/9_1.jpg"
    assert [source.content(row, "nir") for row in range(4)] == [
        b"NIR/9_1.png", b"NIR/9_2.jpg", b"NIR/more/9_1.jpg", b"NIR/10_1.png",
    ]  # fmt: skip
    assert source.metadata(3) == {"subject": "10", "label": 1, "attribute": -1, "source": "VIS/10_1.jpg"}
    assert not source.has_features


def test_identity_is_the_text_before_the_first_underscore(tmp_path: Path) -> None:
    files = ["a_b_1.jpg", "a_c_2.jpg", "7.jpg"]
    source = PairedFolders(_fill(tmp_path, files, files))
    assert source.classes == ["7", "a"]
    assert source.labels.tolist() == [0, 1, 1]


def test_unmatched_stems(tmp_path: Path) -> None:
    _fill(tmp_path, ["1_1.jpg", "1_2.jpg", "2_1.jpg"], ["1_1.jpg", "2_2.jpg", "2_3.bmp"])
    with pytest.raises(UserError, match=r"3 images have no partner .*: VIS/1_2\.jpg, VIS/2_1\.jpg, NIR/2_2\.jpg\. Add"):
        PairedFolders(tmp_path)
    source = PairedFolders(tmp_path, unmatched="drop")
    assert _keys(source) == ["VIS/1_1.jpg"]
    assert source.classes == ["1"]
    assert {left.name: left.reason for left in source.left_out} == {
        "NIR/2_3.bmp": "no image format that is read, expected .jpg, .jpeg, .png",
        "VIS/1_2.jpg": "no image of this stem in NIR",
        "VIS/2_1.jpg": "no image of this stem in NIR",
        "NIR/2_2.jpg": "no image of this stem in VIS",
    }


def test_nothing_matches(tmp_path: Path) -> None:
    _fill(tmp_path, [f"1_{i:02d}.jpg" for i in range(12)], ["2_1.jpg"])
    with pytest.raises(UserError, match=r"13 images .* VIS/1_09\.jpg and 3 more"):
        PairedFolders(tmp_path, unmatched="drop")


def test_broken_layouts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="VIS: no such folder"):
        PairedFolders(tmp_path)
    _fill(tmp_path, ["1_1.jpg", "1_1.png"], ["1_1.txt"])
    with pytest.raises(UserError, match=r"VIS/1_1\.jpg and VIS/1_1\.png have the same stem"):
        PairedFolders(tmp_path)
    (tmp_path / "VIS/1_1.png").unlink()
    with pytest.raises(UserError, match="NIR: no image found"):
        PairedFolders(tmp_path)
    with pytest.raises(UserError, match="unmatched: expected error or drop"):
        PairedFolders(tmp_path, unmatched="skip")  # type: ignore[arg-type]


def test_features(configured: Callable[..., FaceSource], tmp_path: Path) -> None:
    files = ["2_1.jpg", "1_1.jpg", "more/1_2.jpg"]
    _fill(tmp_path, files, files)
    path = tmp_path / "identity_features.json"
    path.write_text(json.dumps({"more\\1_2.jpg": [5, 6.5], "1_1.jpg": [1, 2], "2_1.jpg": [3, 4], "other.jpg": [7, 8]}))
    source = configured("vis_nir", root=tmp_path, features=path)
    assert source.has_features
    features = np.stack([source.feature(row) for row in range(3)])
    assert features.dtype == np.float32
    assert features.tolist() == [[1, 2], [5, 6.5], [3, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1_1.jpg": [1, 2]}', r"no feature for 1 of 2 visible images, first: 1_2\.jpg"),
        ('{"1_1.jpg": [1, 2], "1_2.jpg": [1]}', "expected lists of numbers, all of one length"),
        ('{"1_1.jpg": [1, 2], "1_2.jpg": [1, "x"]}', "expected lists of numbers"),
        ('{"1_1.jpg": [1, 2], "1_2.jpg": [1, NaN]}', "expected one list of finite numbers"),
        ('{"1_1.jpg": 1.5, "1_2.jpg": 2}', "expected one list of finite numbers"),
        ('{"1_1.jpg": 1, "1_2.jpg": 2}', "class numbers from 1 to 2 for 2 images"),
        ("[]", "expected a JSON object"),
        ("{", "expected a JSON object"),
    ],
)
def test_bad_features(content: str, message: str, tmp_path: Path) -> None:
    _fill(tmp_path, ["1_1.jpg", "1_2.jpg"], ["1_1.jpg", "1_2.jpg"])
    (tmp_path / "features.json").write_text(content)
    with pytest.raises(UserError, match=rf"features\.json: {message}"):
        PairedFolders(tmp_path, features=tmp_path / "features.json")


def test_missing_features(tmp_path: Path) -> None:
    _fill(tmp_path, ["1_1.jpg"], ["1_1.jpg"])
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        PairedFolders(tmp_path, features=tmp_path / "none.json")
