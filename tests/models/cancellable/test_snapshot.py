from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_gallery import random_codes

from src.models.cancellable import snapshot
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.parameters import Parameters


def test_equal_distances_are_in_the_order_of_pids(gallery: CancellableGallery) -> None:
    code = random_codes(1)
    pids = [pid for count in (5, 2, 1) for pid in gallery.enrol(code.expand(count, -1))]
    for k in (1, 3, 8, 10):
        expected = sorted(pids)[:k] + [-1] * (k - len(pids))
        assert gallery.identify(code, k).pids.tolist() == [expected]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), k=st.integers(1, 12), block=st.integers(1, 30))
def test_equals_the_definition(tmp_path_factory: pytest.TempPathFactory, seed: int, k: int, block: int) -> None:
    parameters = Parameters(network="", m=6, q=2, bits=1)
    folder = tmp_path_factory.mktemp("gallery")
    gallery = CancellableGallery.create(folder / "t", folder / "i", parameters)
    rng = np.random.default_rng(seed)
    codes, owners = random_codes(40, parameters, seed), []
    owners += gallery.enrol(codes[:10])
    for start in (10, 15, 25):
        part = codes[start : start + (5 if start == 10 else 10 if start == 15 else 15)]
        owners += gallery.enrol(part, rng.choice(owners, len(part)).tolist())
    probes = random_codes(4, parameters, seed + 1)
    before, snapshot._BLOCK = snapshot._BLOCK, block
    matches = gallery.identify(probes, k, 0.0)
    snapshot._BLOCK = before
    for row, probe in enumerate(probes):
        distances = (codes != probe).sum(1).tolist()
        nearest = {pid: min(d for d, owner in zip(distances, owners, strict=True) if owner == pid) for pid in owners}
        expected = sorted((distance, pid) for pid, distance in nearest.items())[:k]
        missing = [-1] * (k - len(expected))
        assert matches.pids[row].tolist() == [pid for _, pid in expected] + missing
        assert matches.distances[row].tolist() == [distance for distance, _ in expected] + missing
    gallery.close()


def test_a_search_of_several_blocks(gallery: CancellableGallery, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(50)
    gallery.enrol(codes[:40])
    gallery.enrol(codes[40:])
    whole = gallery.identify(codes, 4)
    monkeypatch.setattr(snapshot, "_BLOCK", 7)
    parts = gallery.identify(codes, 4)
    assert torch.equal(whole.pids, parts.pids)
    assert torch.equal(whole.distances, parts.distances)
