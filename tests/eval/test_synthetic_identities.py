"""Synthetic people beside real ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support_source import ComputedSource

from src.errors import UserError
from src.eval.generative.identities import identity_scores
from src.eval.generative.membership import membership
from src.eval.synthetic_identities import SyntheticIdentitiesBenchmark

PEOPLE = partial(ComputedSource, images=60, classes=10, width=16, height=16)
LABELS = torch.arange(60) % 10
SYNTHETIC, KNOWN, HELD_OUT = (slice(start, start + 60) for start in (0, 60, 120))


def benchmark(**options: Any) -> SyntheticIdentitiesBenchmark:
    collections = {"synthetic": PEOPLE, "known": PEOPLE, "held_out": PEOPLE, "size": 16, **options}
    return SyntheticIdentitiesBenchmark(**collections)


def embeddings(copied: float, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Of ten people of each kind, whose synthetic ones are ``copied`` from the known ones or their own."""
    generator = torch.Generator().manual_seed(seed)
    own, known, held_out = torch.randn(3, 10, 32, generator=generator)
    people = torch.cat([(1 - copied) * own + copied * known, known, held_out])[:, None]
    images = people + 0.4 * torch.randn(30, 6, 32, generator=generator)
    return scale * images.view(3, 10, 6, 32).movedim(2, 1).reshape(180, 32)  # image i is of person i % 10


def test_metrics_are_those_of_the_parts() -> None:
    found = embeddings(0.3)
    score = benchmark().score({"original": found})
    assert score.metrics.items() >= identity_scores(found[SYNTHETIC], LABELS).metrics.items()
    real = identity_scores(found[KNOWN], LABELS)
    assert score.metrics["genuine_mean_known"] == real.metrics["genuine_mean"]
    threshold = score.privacy["breach_threshold"]
    assert np.mean(real.curve.impostor >= threshold) == pytest.approx(1e-3, abs=1e-3)
    parts = membership(found[SYNTHETIC], found[KNOWN], found[HELD_OUT], threshold)
    assert score.privacy == {"breach_threshold": threshold, **parts.metrics}
    assert (*score.metrics, *score.privacy) == benchmark().metric_names
    assert score.curves.roc
    assert score.curves.histogram
    assert score.curves.membership
    assert sum(score.curves.membership.genuine) == sum(score.curves.membership.impostor) == 60


def test_copies_of_known_people_are_noticed() -> None:
    strangers, copies = (benchmark().score({"original": embeddings(copied)}) for copied in (0.0, 1.0))
    assert strangers.privacy["breached"] < 0.05 < 0.9 < copies.privacy["breached"]
    assert strangers.privacy["membership_auc"] < 0.7 < 0.99 < copies.privacy["membership_auc"]
    assert abs(strangers.privacy["nearest_gap"]) < 0.15 < 0.3 < copies.privacy["nearest_gap"]
    assert copies.metrics["eer"] < 0.05


def test_shown_pairs_are_the_nearest_known_people() -> None:
    found = embeddings(1.0)
    pairs = benchmark().score({"original": found}).curves.false_matches
    assert len(pairs) == 12
    unit = torch.nn.functional.normalize(found.double())
    similarity = unit[SYNTHETIC] @ unit[KNOWN].mT
    for pair in pairs:
        assert pair.second in range(60, 120)
        assert similarity[pair.first, pair.second - 60] == pytest.approx(pair.score, abs=1e-6)
    highest = similarity.max(dim=1).values.sort(descending=True).values[:12]
    assert [pair.score for pair in pairs] == pytest.approx(highest.tolist(), abs=1e-6)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_lengths_of_embeddings_do_not_count(seed: int, scale: float) -> None:
    one, other = (benchmark().score({"original": embeddings(0.5, seed, s)}) for s in (1.0, scale))
    assert other.metrics == pytest.approx(one.metrics, abs=1e-4)
    assert other.privacy == pytest.approx(one.privacy, abs=1e-4)


def test_without_held_out_people(caplog: pytest.LogCaptureFixture) -> None:
    toy = benchmark(held_out=None)
    with caplog.at_level("INFO"):
        toy.check()
    assert "no held_out people" in caplog.text
    assert len(toy.images()) == 120
    found = embeddings(0.3)
    score, full = toy.score({"original": found[:120]}), benchmark().score({"original": found})
    assert (*score.metrics, *score.privacy) == toy.metric_names
    assert "membership_auc" not in score.privacy
    assert score.privacy == {name: full.privacy[name] for name in score.privacy}


def test_mirror_images_and_threshold() -> None:
    found = embeddings(0.3)
    toy = benchmark(flip="sum", threshold=0.5)
    assert toy.needs_mirror_images
    score = toy.score({"original": found - 1, "flipped": torch.ones_like(found)})
    assert score.metrics == pytest.approx(benchmark().score({"original": found}).metrics, abs=1e-5)
    assert score.privacy["breach_threshold"] == 0.5
    with pytest.raises(UserError, match="flip=sum needs embeddings of the mirror images"):
        toy.score({"original": found})


def test_fingerprint() -> None:
    other = partial(PEOPLE, version=1)
    benchmarks = [
        benchmark(), benchmark(size=32), benchmark(held_out=None), benchmark(synthetic=other), benchmark(known=other)
    ]  # fmt: skip
    assert len({b.fingerprint for b in benchmarks}) == 5
    assert benchmark().fingerprint == benchmark(flip="sum").fingerprint


def test_collects_embeddings_but_no_codes() -> None:
    found = embeddings(0.3)
    collector = benchmark().collector()
    collector.add(torch.arange(180), found, None)
    assert torch.equal(collector.collect()["original"], found)
    with pytest.raises(UserError, match="yields codes"):
        benchmark().collector(8)


def test_refusals() -> None:
    with pytest.raises(UserError, match="computed: 30 images of 1 people; expected two people or more"):
        benchmark(synthetic=partial(PEOPLE, images=30, classes=1)).check()
    with pytest.raises(UserError, match="computed: 10 images of 10 people"):
        benchmark(known=partial(PEOPLE, images=10, classes=10)).check()
    few = partial(PEOPLE, images=20, classes=10)
    with pytest.raises(UserError, match=r"180 comparisons of different people are too few.*1e-3.*threshold"):
        benchmark(known=few).check()
    benchmark(known=few, threshold=0.4).check()
    with pytest.raises(UserError, match="threshold=2: expected a cosine"):
        benchmark(threshold=2)
    with pytest.raises(UserError, match=r"flip.*sum.*concat.*none"):
        benchmark(flip="mean")
    with pytest.raises(UserError, match="179 embeddings for 180 images"):
        benchmark().score({"original": embeddings(0.3)[:179]})
