from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_codes import DIMENSIONS, random_hash
from torch.nn import functional

from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.matching import BitMatcher, Matcher, ProtectedMatcher, SymbolMatcher
from src.eval.verification import verify
from tests.support import unread_images


def random_codes(count: int, m: int, q: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, q, (count, m), generator=generator, dtype=torch.uint8)


def test_symbols_are_counted() -> None:
    first, second = torch.tensor([[0, 1, 2, 3], [7, 7, 7, 7]]).byte(), torch.tensor([[0, 1, 3, 2], [7, 7, 7, 7]]).byte()
    assert SymbolMatcher(8).pairs(first, second).tolist() == [0.5, 1.0]
    assert SymbolMatcher(8, similarity="jaccard").pairs(first, second).tolist() == [2 / (8 - 2), 1.0]
    assert SymbolMatcher(8).matrix(first, second).tolist() == [[0.5, 0.0], [0.0, 1.0]]


def test_bits_of_the_natural_table_are_counted() -> None:
    matcher = BitMatcher(8, permute=False)
    # 000 against 001, 011 and 111.
    similarities = matcher.pairs(torch.zeros(3, 1).byte(), torch.tensor([[1], [3], [7]]).byte())
    assert similarities == pytest.approx([2 / 3, 1 / 3, 0])


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 140),
    q=st.sampled_from([2, 4, 8, 16, 256]),
    bits=st.one_of(st.none(), st.integers(1, 9)),
    metric=st.sampled_from(["symbols", "bits"]),
    scope=st.sampled_from(["shared", "per_position"]),
    similarity=st.sampled_from(["match", "jaccard"]),
)
def test_protection_changes_no_similarity(
    m: int, q: int, bits: int | None, metric: str, scope: str, similarity: str
) -> None:
    first, second = random_codes(7, m, q), random_codes(7, m, q, 1)
    second[:3, : m // 2] = first[:3, : m // 2]
    protected = ProtectedMatcher(q, bits, scope, metric=metric, similarity=similarity)  # type: ignore[arg-type]
    if metric == "bits":
        plain: Matcher = BitMatcher(q, bits, scope, similarity=similarity)  # type: ignore[arg-type]
    elif bits is None or 2**bits >= q:
        plain = SymbolMatcher(q, similarity)  # type: ignore[arg-type]
    else:
        return
    assert np.array_equal(protected.pairs(first, second), plain.pairs(first, second))
    assert np.array_equal(protected.matrix(first, second), plain.matrix(first, second))
    assert np.array_equal(plain.matrix(first, second).diagonal(), plain.pairs(first, second).astype(np.float32))


def test_every_template_gets_its_own_identifier() -> None:
    matcher = ProtectedMatcher(8)
    gallery = random_codes(1, 512, 8).expand(50, -1)
    stored, identifiers = matcher._protect(gallery)
    assert len({row.tobytes() for row in identifiers}) == len({row.tobytes() for row in stored}) == 50
    # 50 x 1536 stored bits of one and the same code.
    assert np.bitwise_count(stored).mean() / 64 == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(50 * 1536))
    again, _ = matcher._protect(gallery)
    assert not (stored == again).any(axis=1).any()


def test_independent_codes_agree_as_chance_has_it() -> None:
    first, second = random_codes(400, 512, 8), random_codes(300, 512, 8, 1)
    assert SymbolMatcher(8).matrix(first, second).mean() == pytest.approx(1 / 8, abs=2e-4)
    assert BitMatcher(8).matrix(first, second).mean() == pytest.approx(0.5, abs=2e-4)
    assert BitMatcher(8, bits=1, scope="per_position").matrix(first, second).mean() == pytest.approx(0.5, abs=4e-4)


def test_tables_follow_their_seed() -> None:
    first, second = random_codes(20, 64, 8), random_codes(20, 64, 8, 1)

    def scores(**options: object) -> list[float]:
        return BitMatcher(8, 1, "per_position", **options).pairs(first, second).tolist()  # type: ignore[arg-type]

    assert scores() == scores(seed=0)
    assert scores() != scores(seed=1)


def test_jaccard_keeps_the_order() -> None:
    first, second = random_codes(200, 32, 4), random_codes(200, 32, 4, 1)
    match, jaccard = (SymbolMatcher(4, similarity).pairs(first, second) for similarity in ("match", "jaccard"))
    assert np.allclose(jaccard, match / (2 - match))


def test_mirror_images_are_put_behind() -> None:
    views = {"original": random_codes(5, 6, 4), "flipped": random_codes(5, 6, 4, 1)}
    matcher = SymbolMatcher(4)
    for flip in ("sum", "concat"):
        both = matcher.templates(views, flip, 5, "toy")  # type: ignore[arg-type]
        assert torch.equal(both, torch.cat([views["original"], views["flipped"]], dim=1))
    assert torch.equal(matcher.templates(views, "none", 5, "toy"), views["original"])
    with pytest.raises(UserError, match="toy: 5 embeddings for 6 images"):
        matcher.templates(views, "none", 6, "toy")


def test_what_are_no_codes_is_refused() -> None:
    with pytest.raises(UserError, match="expected codes of uint8 with values below 4, found uint8 up to 7"):
        SymbolMatcher(4).pairs(*random_codes(2, 100, 8)[:, None])
    with pytest.raises(UserError, match="expected codes of uint8 with values below 8, found float32"):
        SymbolMatcher(8).pairs(torch.rand(2, 5), torch.rand(2, 5))
    with pytest.raises(UserError, match="q=6: expected a power of two"):
        SymbolMatcher(6)
    with pytest.raises(UserError, match="bits=17"):
        BitMatcher(8, 17)
    with pytest.raises(UserError, match="metric: expected"):
        ProtectedMatcher(8, metric="bytes")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="scope: expected"):
        BitMatcher(8, scope="global")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="seed=-1"):
        BitMatcher(8, seed=-1)
    with pytest.raises(UserError, match="similarity: expected"):
        SymbolMatcher(8, "cosine")  # type: ignore[arg-type]


class _Given(SymbolMatcher):
    """Distances, the share of symbols that differ, are known."""

    def pairs(self, first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
        return 1 - first[:, 0].numpy()


def test_the_golden_verification_of_codes() -> None:
    # DRH specification, section 7.1: thresholds 0, 0.001, ... on the share of symbols that differ.
    k = np.arange(600)
    same = k % 20 < 10
    u = k * 0.6180339887498949 % 1
    distance = np.where(same, 0.35 + 0.4 * u, 0.6 + 0.3 * u)
    result = verify(distance[:, None], distance[:, None], same, matcher=_Given(8))
    assert result.accuracy == pytest.approx(0.81, abs=1e-12)
    assert result.threshold / 2 == pytest.approx(0.6008, abs=1e-12)
    assert result.folds.auc == pytest.approx(0.9077611111, abs=1e-9)
    assert result.folds.eer == pytest.approx(0.2133333333, abs=1e-9)


@pytest.mark.parametrize(
    ("m", "cosine", "eer"), [(16, 0.3, 0.288), (32, 0.4, 0.139), (64, 0.6, 0.0065), (128, 0.3, 0.057)]
)
def test_random_hashes_verify_as_measured_before(m: int, cosine: float, eer: float) -> None:
    # DRH specification, section 8.6: 40,000 pairs, genuine ones at just this cosine and others at right angles.
    pairs = 4000
    same = np.tile([True, False], pairs // 2)
    first, noise = torch.randn(2, pairs, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    first = functional.normalize(first)
    noise = functional.normalize(noise - (noise * first).sum(dim=1, keepdim=True) * first)
    cosines = torch.where(torch.from_numpy(same), cosine, 0.0)[:, None]
    faces = torch.stack([first, cosines * first + (1 - cosines**2).sqrt() * noise], dim=1).flatten(0, 1)
    collected = {"original": random_hash(m, 8).codes(faces)}
    benchmark = VerificationBenchmark(lambda: VerificationSet("toy", unread_images(2 * pairs), same), flip="none")
    metrics = benchmark.score(collected, matcher=SymbolMatcher(8)).metrics
    assert metrics["eer"] == pytest.approx(eer, abs=4 * np.sqrt(eer * (1 - eer) / pairs) + 0.002)
    assert "embedding_norm" not in metrics
