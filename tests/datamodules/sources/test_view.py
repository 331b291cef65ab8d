from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from memory_source import MemorySource
from support_arcbifacegan import GOLDEN
from support_source import LANDMARKS, ComputedSource

from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sources.view import (
    SourceView,
    WithFeatures,
    infrared_samples,
    random_subset,
    shuffled_rows,
)
from src.errors import UserError


def test_rows_of_a_view() -> None:
    source = ComputedSource(images=20, classes=4, infrared=True, points=True)
    view = pickle.loads(pickle.dumps(SourceView(source, np.array([7, 2]))))
    assert len(view) == 2
    assert (view.key(0), view.key(1)) == (source.key(7), source.key(2))
    assert view.content(0, "nir") == source.content(7, "nir")
    assert view.labels.tolist() == [3, 2]
    assert view.attributes.tolist() == [source.attributes[7], source.attributes[2]]
    assert view.metadata(1) == source.metadata(2)
    assert np.array_equal(view.landmarks(0), LANDMARKS.astype(np.float32))
    assert (view.classes, view.modalities, view.left_out) == (source.classes, source.modalities, source.left_out)
    others = [source, SourceView(source), SourceView(source, np.array([2, 7])), view]
    assert len({other.fingerprint for other in others}) == 4
    assert len({other.content_fingerprint for other in others}) == 4


def test_features_of_a_view() -> None:
    source = MemorySource({"image": [b"0", b"1", b"2"]}, features=np.eye(3))
    assert SourceView(source, np.array([2])).feature(0).tolist() == [0, 0, 1]
    assert not SourceView(ComputedSource()).has_features


def test_features_that_were_computed_later() -> None:
    source = MemorySource({"image": [b"0", b"1"]}, features=np.eye(2))
    view = WithFeatures(source, {"mode": "all"})
    view.features = np.array([[5, 6], [7, 8]], np.float32)
    assert view.has_features
    assert view.feature(1).tolist() == [7, 8]
    assert view.content(1) == b"1"
    assert view.facts == {"features": {"mode": "all"}}
    assert view.fingerprint != WithFeatures(source, {"mode": "medoid"}).fingerprint
    assert view.content_fingerprint == WithFeatures(source, {"mode": "all"}).content_fingerprint


def test_subset_and_grid_are_those_of_stylegan2_ada() -> None:
    source = ComputedSource(images=10)
    view = random_subset(source, 4, seed=0)
    assert [view.key(row) for row in range(4)] == [source.key(r) for r in GOLDEN["dataset.subset_n10_max4_seed0"]]
    assert shuffled_rows(10, 0).tolist() == GOLDEN["grid.shuffle_n10_seed0"]
    assert len(random_subset(source, 99, seed=0)) == 10


def test_infrared_images_as_further_samples() -> None:
    source = ComputedSource(images=6, classes=3, infrared=True, points=True)
    view = pickle.loads(pickle.dumps(infrared_samples(lambda: source)))
    assert len(view) == 12
    assert view.modalities == ("image",)
    assert view.labels.tolist() == [*source.labels, *source.labels]
    assert view.content(4) == source.content(4)
    assert view.content(10) == source.content(4, "nir") != source.content(4)
    assert len({view.key(row) for row in range(12)}) == 12
    assert np.array_equal(view.landmarks(10), source.landmarks(4))
    assert view.fingerprint not in (source.fingerprint, SourceView(source, np.tile(np.arange(6), 2)).fingerprint)
    batch = FaceDataset(view, size=64).read([4, 10])["image"]
    assert torch.equal(batch[1], batch[1, ..., :1].expand(-1, -1, 3))
    assert not torch.equal(batch[0], batch[0, ..., :1].expand(-1, -1, 3))


def test_no_infrared_images() -> None:
    with pytest.raises(UserError, match=r"computed: has no near-infrared images.*near_infrared=none"):
        infrared_samples(ComputedSource)
