from __future__ import annotations

import io
import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support_codes import codes_of

from src.datamodules.verification_sets import VerificationSet, read_bin, write_bin
from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.collector import Collected
from src.eval.matching import BitMatcher, ProtectedMatcher, SymbolMatcher
from src.eval.verification import verify
from tests.support import unread_images

SAME = np.tile([True, False], 20)


def random_embeddings(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.randn(40, 2, 8, generator=generator)
    faces[::2, 1] = faces[::2, 0]
    original, flipped = ((faces + 0.5 * torch.randn(40, 2, 8, generator=generator)).reshape(80, 8) for _ in range(2))
    return {"original": original, "flipped": 3 * flipped}


def added(embeddings: Collected) -> torch.Tensor:
    return embeddings["original"].double() + embeddings["flipped"].double()


def benchmark_with(flip: str) -> VerificationBenchmark:
    return VerificationBenchmark(lambda: VerificationSet("toy", unread_images(80), SAME, 4), flip=flip)


def test_sum_adds_raw_embeddings_before_normalising() -> None:
    embeddings = random_embeddings()
    score = benchmark_with("sum").score(embeddings)
    both = added(embeddings)
    expected = verify(both[0::2], both[1::2], SAME, 4)
    assert score.metrics["accuracy"] == expected.accuracy
    assert score.metrics["auc"] == expected.auc
    alone = verify(embeddings["original"][0::2], embeddings["original"][1::2], SAME, 4)
    assert score.metrics["accuracy_noflip"] == alone.accuracy
    norms = torch.cat([embeddings["original"], embeddings["flipped"]]).norm(dim=1)
    assert score.metrics["embedding_norm"] == pytest.approx(norms.mean().item(), rel=1e-6)


def test_concat_compares_both_views() -> None:
    embeddings = random_embeddings()
    both = torch.cat([embeddings["original"], embeddings["flipped"]], dim=1)
    expected = verify(both[0::2], both[1::2], SAME, 4)
    assert benchmark_with("concat").score(embeddings).metrics["auc"] == expected.auc


def test_none_ignores_mirror_images() -> None:
    original = random_embeddings()["original"]
    metrics = benchmark_with("none").score({"original": original}).metrics
    assert metrics["accuracy"] == verify(original[0::2], original[1::2], SAME, 4).accuracy
    assert "accuracy_noflip" not in metrics


@pytest.mark.parametrize("flip", ["sum", "concat", "none"])
def test_announces_the_metrics_it_gives(flip: str) -> None:
    benchmark = benchmark_with(flip)
    metrics = benchmark.score(random_embeddings()).metrics
    assert tuple(metrics) == benchmark.metric_names
    assert {"accuracy", "val@1e-3", "tar@1e-2", "far@1e-2", "tar_strict@1e-1"} <= set(metrics)
    assert math.isnan(metrics["tar@1e-3"])  # 20 impostor pairs cannot tell
    assert metrics["tar_strict@1e-1"] <= metrics["tar@1e-1"] or metrics["far@1e-1"] <= 0.1


def test_curves_are_what_a_report_draws() -> None:
    embeddings = random_embeddings()
    both = added(embeddings)
    expected = verify(both[0::2], both[1::2], SAME, 4)
    score = benchmark_with("sum").score(embeddings)
    curves = score.curves
    assert curves.roc == (expected.roc.fpr.tolist(), expected.roc.tpr.tolist())
    assert curves.fold_accuracies == expected.folds.accuracies.tolist()
    assert curves.histogram is not None
    assert (sum(curves.histogram.genuine), sum(curves.histogram.impostor)) == (20, 20)
    # Unit vectors at squared distance d have the cosine 1 - d / 2.
    assert curves.histogram.threshold == 1 - score.metrics["threshold"] / 2
    worst = int(np.where(SAME, np.inf, -expected.scores).argmin())
    assert len(curves.false_matches) == len(curves.false_non_matches) == 12
    assert asdict(curves.false_matches[0]) == {
        "first": 2 * worst,
        "second": 2 * worst + 1,
        "score": expected.scores[worst],
    }
    assert curves.false_non_matches[0].score == expected.scores[SAME].min()
    json.dumps(asdict(curves), allow_nan=False)


def test_intervals_hold_the_headline_numbers() -> None:
    benchmark = benchmark_with("sum")
    embeddings = random_embeddings()
    assert benchmark.score(embeddings).intervals == {}
    score = benchmark.score(embeddings, resamples=500)
    assert set(score.intervals) == {"accuracy", "eer", "auc", "tar@1e-1", "tar_strict@1e-1"}
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] <= high, name
        assert high - low < 0.6
    assert benchmark.score(embeddings, resamples=500).intervals == score.intervals


def test_codes_are_verified_with_and_without_protection() -> None:
    labels = torch.arange(80)
    labels[1::4] = labels[0::4]
    codes = codes_of(labels, 0.5)
    benchmark = benchmark_with("sum")
    scores = {
        name: benchmark.score(codes, resamples=20, matcher=matcher)
        for name, matcher in {
            "symbols": SymbolMatcher(8),
            "protected": ProtectedMatcher(8),
            "bits": BitMatcher(8),
        }.items()
    }
    metrics = scores["symbols"].metrics
    assert tuple(metrics) == tuple(name for name in benchmark.metric_names if name != "embedding_norm")
    assert scores["protected"] == scores["symbols"] != scores["bits"]
    both = torch.cat([codes["original"], codes["flipped"]], dim=1)
    equal = (both[0::2] == both[1::2]).double().mean(dim=1).numpy()
    assert metrics["auc"] == pytest.approx((equal[SAME][:, None] > equal[~SAME]).mean(), abs=0.01)
    assert metrics["accuracy"] > metrics["accuracy_noflip"] - 0.1
    assert scores["symbols"].curves.histogram is not None
    assert scores["symbols"].curves.histogram.threshold == 1 - metrics["threshold"] / 2
    assert scores["symbols"].curves.false_matches[0].score == equal[~SAME].max()
    assert 0.125 < equal[~SAME].max() < scores["symbols"].curves.histogram.threshold + 0.1
    json.dumps(asdict(scores["symbols"].curves), allow_nan=False)


def test_collects_what_it_scores() -> None:
    embeddings = random_embeddings()
    benchmark = benchmark_with("sum")
    collector = benchmark.collector()
    order = torch.randperm(80)
    for index in order.split(30):
        collector.add(index, embeddings["original"][index], embeddings["flipped"][index])
    assert benchmark.score(collector.collect()).metrics["auc"] == benchmark.score(embeddings).metrics["auc"]
    codes = codes_of(torch.arange(80), 0.5)
    collector = benchmark.collector(8)
    collector.add(torch.arange(80), codes["original"], codes["flipped"])
    assert collector.collect()["flipped"].equal(codes["flipped"])


def test_refuses_wrong_embeddings_and_settings() -> None:
    embeddings = random_embeddings()
    with pytest.raises(UserError, match="toy: 79 embeddings for 80 images"):
        benchmark_with("none").score({"original": embeddings["original"][:79]})
    with pytest.raises(UserError, match="toy: flip=sum needs embeddings of the mirror images"):
        benchmark_with("sum").score({"original": embeddings["original"]})
    with pytest.raises(UserError, match=r"flip: expected .*found 'add'"):
        benchmark_with("add")


def test_reads_files_only_when_checked(tmp_path: Path) -> None:
    path = tmp_path / "agedb_30.bin"
    benchmark = VerificationBenchmark(partial(read_bin, path, folds=2), size=8)
    with pytest.raises(UserError, match=r"agedb_30\.bin: cannot be read"):
        benchmark.check()
    images = []
    for shade in range(8):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (shade * 30,) * 3).save(buffer, "PNG")
        images.append(buffer.getvalue())
    write_bin(path, images, [True, False, True, False])
    benchmark.check()
    item = benchmark.images()[7]
    assert item["index"] == 7
    assert item["image"].shape == (8, 8, 3)
    assert item["image"].unique().tolist() == [210]


def test_fingerprint_tells_images_and_sizes_apart(tmp_path: Path) -> None:
    def benchmark(shade: int, size: int) -> VerificationBenchmark:
        path = tmp_path / f"{shade}.bin"
        buffers = [io.BytesIO() for _ in range(8)]
        for number, buffer in enumerate(buffers):
            Image.new("L", (4, 4), shade + number).save(buffer, "PNG")
        write_bin(path, [buffer.getvalue() for buffer in buffers], [True, False, True, False])
        return VerificationBenchmark(partial(read_bin, path, folds=2), size)

    prints = [benchmark(shade, size).fingerprint for shade, size in ((0, 8), (0, 8), (1, 8), (0, 9))]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert all(len(value) == 64 for value in prints)
