from __future__ import annotations

import pickle

import numpy as np
from memory_source import MemorySource
from support_arcbifacegan import GOLDEN
from support_source import LANDMARKS, ComputedSource

from src.datamodules.sources.view import SourceView, WithFeatures, random_subset, shuffled_rows


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
