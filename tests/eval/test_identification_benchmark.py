from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support_codes import codes_of

from src.apps.overrides import CONF
from src.datamodules.identification_sets import IdentificationSet
from src.errors import UserError
from src.eval.identification import closed_set, open_set
from src.eval.identification_benchmark import IdentificationBenchmark, class_folders
from src.eval.matching import ProtectedMatcher, SymbolMatcher
from src.eval.score import BenchmarkScore

# 30 people with 6 images each, 60 with 2.
LABELS = np.concatenate([np.repeat(np.arange(30), 6), np.repeat(np.arange(30, 90), 2)])
REAL_DATA = Path(os.environ.get("PRIVFACE_REAL_DATA", Path(__file__).parents[3] / "shared" / "data" / "lfw-small"))


def benchmark(labels: np.ndarray = LABELS, flip: str = "sum") -> IdentificationBenchmark:
    return IdentificationBenchmark(lambda: IdentificationSet("toy", [None] * len(labels), labels), flip=flip)


def noisy_embeddings(labels: np.ndarray = LABELS, noise: float = 0.9) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    faces = torch.randn(int(labels.max()) + 1, 16, generator=generator)[torch.from_numpy(labels)]
    return {
        view: scale * (faces + noise * torch.randn(faces.shape, generator=generator))
        for view, scale in (("original", 1.0), ("flipped", 2.0))
    }


@pytest.fixture(scope="module")
def score() -> BenchmarkScore:
    return benchmark().score(noisy_embeddings(), resamples=300)


def test_metrics_are_those_of_the_split(score: BenchmarkScore) -> None:
    split = benchmark().split
    assert (len(split.gallery), len(split.mated), len(split.non_mated)) == (90, 90, 120)
    embeddings = noisy_embeddings()
    added = embeddings["original"].double() + embeddings["flipped"].double()
    unit = (added / added.norm(dim=1, keepdim=True)).float()
    similarity = unit[split.probes] @ unit[split.gallery].T
    probes, gallery = LABELS[split.probes], LABELS[split.gallery]
    best, median = (closed_set(similarity, probes, gallery, fusion) for fusion in ("max", "median"))
    for rank in (1, 5, 10):
        assert score.metrics[f"rank{rank}"] == pytest.approx(best.cmc[rank - 1])
        assert score.metrics[f"rank{rank}_median"] == pytest.approx(median.cmc[rank - 1])
    for depth in range(1, 6):
        assert score.metrics[f"map@{depth}"] == pytest.approx(best.average_precision(depth).mean())
    assert score.metrics["map"] == pytest.approx(best.average_precision().mean())
    expected = open_set(similarity, probes, gallery, (1e-2, 1e-1))
    assert score.metrics["dir@1e-2"] == pytest.approx(expected.dir[0, 0])
    assert [score.metrics["tpir@1e-2"], score.metrics["tpir@1e-1"]] == pytest.approx(expected.tpir.tolist())
    same = probes[:, None] == gallery
    threshold = np.sort(similarity.numpy()[~same])[-round(1e-3 * np.count_nonzero(~same))]
    assert score.metrics["vr@1e-3"] == pytest.approx(np.mean(similarity.numpy()[same] >= threshold))
    assert 0.3 < score.metrics["rank1"] < 0.99
    assert 0.2 < score.metrics["tpir@1e-1"] < score.metrics["rank1"]


def test_announces_the_metrics_it_gives(score: BenchmarkScore) -> None:
    assert tuple(score.metrics) == benchmark().metric_names
    # 120 non-mated searches and some 18,000 comparisons cannot tell.
    unresolved = {name for name, value in score.metrics.items() if math.isnan(value)}
    assert unresolved == {"dir@1e-3", "vr@1e-5"}
    assert set(score.intervals) == set(score.metrics) - unresolved
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] <= high, name
    assert benchmark().score(noisy_embeddings()).intervals == {}


def test_curves_are_what_a_report_draws(score: BenchmarkScore) -> None:
    curves = score.curves
    assert len(curves.cmc) == 20
    assert curves.cmc[0] == score.metrics["rank1"]
    assert curves.open_set is not None
    rates, values = curves.open_set
    assert rates[0] == pytest.approx(1 / 120)
    assert (rates[-1], values) == (pytest.approx(1), sorted(values))
    # The mate must be nearest at any rate of false alarms.
    assert values[-1] == pytest.approx(score.metrics["rank1"])
    assert curves.histogram is not None
    assert (sum(curves.histogram.genuine), sum(curves.histogram.impostor)) == (90, 210)
    assert curves.roc is not None
    assert len(curves.roc[0]) <= 400
    json.dumps(asdict(curves), allow_nan=False)


def test_hardest_pairs_are_images_of_the_collection(score: BenchmarkScore) -> None:
    embeddings = noisy_embeddings()
    added = torch.nn.functional.normalize((embeddings["original"] + embeddings["flipped"]).double())
    split = benchmark().split
    for pairs, same in ((score.curves.false_matches, False), (score.curves.false_non_matches, True)):
        assert len(pairs) == 12
        for pair in pairs:
            assert pair.first in split.probes
            assert pair.second in split.gallery
            assert (LABELS[pair.first] == LABELS[pair.second]) == same
            assert pair.score == pytest.approx(float(added[pair.first] @ added[pair.second]), abs=1e-6)
    assert [pair.score for pair in score.curves.false_matches] == sorted(
        (pair.score for pair in score.curves.false_matches), reverse=True
    )
    assert score.curves.false_non_matches[0].score == min(pair.score for pair in score.curves.false_non_matches)


def test_codes_are_searched_for_with_and_without_protection() -> None:
    codes = codes_of(torch.from_numpy(LABELS), 0.4)
    toy = benchmark()
    score = toy.score(codes, resamples=20, matcher=SymbolMatcher(8))
    assert tuple(score.metrics) == toy.metric_names
    assert toy.score(codes, resamples=20, matcher=ProtectedMatcher(8)) == score
    both, split = torch.cat([codes["original"], codes["flipped"]], dim=1), toy.split
    equal = (both[split.probes][:, None] == both[split.gallery]).float().mean(dim=2)
    best = closed_set(equal, LABELS[split.probes], LABELS[split.gallery])
    assert score.metrics["rank1"] == best.cmc[0] > 0.5
    assert score.metrics["map"] == pytest.approx(best.average_precision().mean())
    opened = open_set(equal, LABELS[split.probes], LABELS[split.gallery], (1e-2,))
    assert score.metrics["dir@1e-2"] == opened.dir[0, 0] > 0.3
    assert (
        score.curves.false_matches[0].score
        == equal.numpy()[LABELS[split.probes][:, None] != LABELS[split.gallery]].max()
    )


def test_everyone_enrolled_leaves_the_open_set_open() -> None:
    labels = np.repeat(np.arange(10), 5)
    score = benchmark(labels).score(noisy_embeddings(labels, 0.1), resamples=50)
    assert score.metrics["rank1"] == score.metrics["map"] == 1.0
    assert all(math.isnan(score.metrics[name]) for name in score.metrics if name.startswith(("dir", "tpir")))
    assert score.curves.open_set is None
    assert len(score.curves.cmc) == 10
    json.dumps(asdict(score.curves), allow_nan=False)


def test_refuses_wrong_embeddings_and_settings() -> None:
    embeddings = noisy_embeddings()
    with pytest.raises(UserError, match="toy: 5 embeddings for 300 images"):
        benchmark(flip="none").score({"original": embeddings["original"][:5]})
    with pytest.raises(UserError, match="toy: flip=concat needs embeddings of the mirror images"):
        benchmark(flip="concat").score({"original": embeddings["original"]})
    with pytest.raises(UserError, match=r"flip: expected .*found 'add'"):
        benchmark(flip="add")


def test_missing_photographs_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        class_folders(tmp_path, 16).check()


@pytest.mark.skipif(not REAL_DATA.exists(), reason=f"no real photographs at {REAL_DATA}")
def test_real_photographs() -> None:
    config = OmegaConf.merge(
        OmegaConf.load(CONF / "benchmark" / "identification.yaml"),
        {"paths": {"benchmarks": "nowhere"}, "datamodule": {"size": 112}},
        {"identification": {"root": str(REAL_DATA), "minimum_images": 12}},
    )
    real = instantiate(config.identification)
    real.check()
    split = real.split
    assert (len(real.images()), len(split.gallery), len(split.mated), len(split.non_mated)) == (2018, 240, 1325, 453)
    assert real.images()[2017]["image"].shape == (112, 112, 3)
    generator = torch.Generator().manual_seed(0)
    collector = real.collector()
    collector.add(torch.arange(2018), *torch.randn(2, 2018, 8, generator=generator))
    metrics = real.score(collector.collect()).metrics
    # Guesses: one of 80 people at rank 1, a hundredth of the genuine comparisons at a hundredth of the others.
    assert metrics["rank1"] == pytest.approx(1 / 80, abs=0.012)
    assert metrics["rank10"] == pytest.approx(10 / 80, abs=0.04)
    assert metrics["vr@1e-2"] == pytest.approx(0.01, abs=0.006)
