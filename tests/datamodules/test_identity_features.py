from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.datamodules.identity_features import feature_name, medoids, read_identity_features, write_identity_features
from src.datamodules.storage import Location
from src.errors import UserError


def test_names_are_relative_to_the_visible_images() -> None:
    assert feature_name("VIS/more/1_2.jpg") == "more/1_2.jpg"
    assert feature_name("000012_0003") == "000012_0003"


def test_medoid_is_the_image_most_like_the_others() -> None:
    angles = np.deg2rad([0, 10, 80, 15, 30, 90])
    labels = np.array([4, 4, 4, 1, 1, 1])
    features = np.stack([np.cos(angles), np.sin(angles)], 1) * [[9], [1], [5], [2], [7], [3]]
    assert medoids(features, labels, list("abcdef")).tolist() == [1, 1, 1, 4, 4, 4]


def test_medoid_of_one_image_and_the_first_of_equally_typical_ones() -> None:
    features = np.random.default_rng(0).normal(size=(200, 512)).astype(np.float32)
    labels = np.append(np.repeat(np.arange(99), 2), [100, 101])
    names = [f"{label}_{9 + row % 2}" for row, label in enumerate(labels)]
    assert medoids(features, labels, names).tolist() == [*np.repeat(np.arange(0, 198, 2), 2), 198, 199]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20))
def test_medoid_follows_its_definition(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    features, labels = random.normal(size=(count, 5)), random.integers(0, 4, count)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    chosen = medoids(features, labels, [str(row) for row in range(count)])
    for row in range(count):
        own = np.flatnonzero(labels == labels[row])
        assert chosen[row] in own
        mean = {i: similarity[i, own[own != i]].mean() if len(own) > 1 else 0 for i in own}
        assert mean[chosen[row]] >= max(mean.values()) - 1e-12


def test_file_has_natural_order_and_keeps_every_bit(tmp_path: Path) -> None:
    names = ["10_1.jpg", "9_10.jpg", "9_2.jpg", 'od"d/1_1.jpg']
    features = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
    features[0, :3] = [1e-38, -3e38, 0.1]
    path = tmp_path / "identity_features.json"
    write_identity_features(path, names, features)
    content = json.loads(path.read_text())
    assert list(content) == ["9_2.jpg", "9_10.jpg", "10_1.jpg", 'od"d/1_1.jpg']
    assert content["10_1.jpg"][2] == float(np.float32(0.1))
    read = read_identity_features(Location(path), names)
    assert read.dtype == np.float32
    assert read.tobytes() == features.tobytes()


def test_class_numbers_are_one_hot(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"a\\\\1.jpg": 2, "a/2.jpg": 0, "b.jpg": 2}')
    vectors = read_identity_features(Location(path), ["b.jpg", "a/1.jpg", "a/2.jpg"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": -1, "b": 0}', "class numbers from -1 to 0 for 2 images"),
        ('{"a": 1000000000, "b": 0}', "class numbers from 0 to 1000000000 for 2 images"),
        ('{"a": true, "b": false}', "one list of finite numbers per image"),
        ('{"a": [1' + "0" * 400 + '], "b": [1]}', "expected lists of numbers"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_hostile_files(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(UserError, match=rf"f\.json: .*{message}"):
        read_identity_features(Location(tmp_path / "f.json"), ["a", "b"])
