from __future__ import annotations

import numpy as np
import pytest
import torch
from support_codes import random_hash
from support_gender import benchmark, embeddings, gender_set

from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.embedding_matching import PairMatcher
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, PrivacyBenchmark, score_benchmarks
from src.eval.verification import verify


class Plain:
    """A benchmark without privacy."""

    def score(self, collected: dict[str, torch.Tensor], resamples: int = 0) -> BenchmarkScore:
        return BenchmarkScore({"sum": float(collected["original"].sum()), "resamples": resamples})


class Nosy(Plain):
    """One that counts what it is shown."""

    def privacy(self, name: str, benchmarks: dict, evaluated: Evaluated, **options: object) -> BenchmarkScore:
        known = {
            "benchmarks": len(benchmarks),
            "scores": len(evaluated.scores),
            "own": evaluated.scores[name].metrics["sum"],
        }
        return BenchmarkScore(evaluated.scores[name].metrics, privacy=known | {"resamples": options["resamples"]})


ONES = {"original": torch.ones(3, 2)}


def test_privacy_comes_after_all_scores() -> None:
    scores = score_benchmarks({"nosy": Nosy(), "plain": Plain()}, {"nosy": ONES, "plain": ONES}, 7)
    assert list(scores) == ["nosy", "plain"]
    assert scores["plain"] == BenchmarkScore({"sum": 6.0, "resamples": 7})
    assert scores["nosy"].privacy == {"benchmarks": 2, "scores": 2, "own": 6.0, "resamples": 7}
    assert isinstance(benchmark(), PrivacyBenchmark)
    assert not isinstance(Plain(), PrivacyBenchmark)


def test_privacy_is_told_what_made_the_codes() -> None:
    seen = []

    class Curious(Plain):
        def privacy(self, name: str, benchmarks: dict, evaluated: Evaluated, **options: object) -> BenchmarkScore:
            seen.append(evaluated.rank_hash)
            return evaluated.scores[name]

    rank_hash = random_hash(4, 8)
    score_benchmarks({"curious": Curious()}, {"curious": ONES}, rank_hash=rank_hash, show_progress=False)
    score_benchmarks({"curious": Curious()}, {"curious": ONES}, show_progress=False)
    assert seen == [rank_hash, None]


def test_templates_are_compared_by_a_rule_of_their_own() -> None:
    seen: list[torch.Size] = []

    def compare(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        seen.append(first.shape)
        return -(first - second).abs().mean(dim=1).clamp(max=1)

    pairs = VerificationBenchmark(lambda: gender_set().pairs)
    collected = {view: rows[:120] for view, rows in embeddings(size=4).items()}
    scores = score_benchmarks({"pairs": pairs}, {"pairs": collected}, matcher=PairMatcher(compare), show_progress=False)
    assert seen == [(60, 4), (60, 4)]  # with and without mirror images
    added = collected["original"].double() + collected["flipped"].double()
    similarities = compare(added[0::2], added[1::2]).numpy()
    genuine, impostor = (similarities[gender_set().pairs.same == flag] for flag in (True, False))
    assert scores["pairs"].metrics["auc"] == pytest.approx(
        (genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2
    )
    assert 2 < scores["pairs"].metrics["threshold"] < 4


def test_the_cosine_as_a_rule_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    same = np.tile([True, False], 300)
    a = rng.standard_normal((600, 8))
    b = np.where(same[:, None], a, 0) + rng.standard_normal((600, 8))
    cosine = PairMatcher(torch.nn.functional.cosine_similarity)
    expected, found = verify(a, b, same), verify(a, b, same, matcher=cosine)
    assert found.accuracy == expected.accuracy
    assert found.val == expected.val
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    assert np.abs(found.scores - expected.scores).max() < 1e-12


@pytest.mark.parametrize(
    "compare", [lambda a, b: a.sum(dim=1) + 50, lambda a, b: (a * b).clamp(-1, 1), lambda a, b: a[:, 0] * torch.nan]
)
def test_refuses_what_are_no_similarities(compare: object) -> None:
    with pytest.raises(UserError, match=r"compare: expected 4 similarities in \[-1, 1\], found"):
        verify(np.eye(4), np.eye(4), [True, False, True, False], 2, PairMatcher(compare))  # type: ignore[arg-type]


def test_searches_take_no_rule_for_pairs_only() -> None:
    matcher = PairMatcher(torch.nn.functional.cosine_similarity)
    with pytest.raises(UserError, match="benchmark plain compares whole galleries of templates"):
        score_benchmarks({"plain": Plain()}, {"plain": ONES}, matcher=matcher)
    with pytest.raises(UserError, match="these templates can only be compared one by one"):
        matcher.matrix(ONES["original"], ONES["original"])
