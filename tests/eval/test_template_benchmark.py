from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support_codes import codes_of

from src.datamodules.template_sets import ImageFiles, TemplatePairs, TemplateSearch, TemplateSet
from src.errors import UserError
from src.eval.code_pooling import pool_codes
from src.eval.collector import Collected
from src.eval.ijb import FARS, score_pairs, search_templates, verify_templates
from src.eval.kfold import fold_accuracy
from src.eval.matching import ProtectedMatcher, SymbolMatcher
from src.eval.operating_points import roc_curve
from src.eval.template_benchmark import TemplateBenchmark
from src.eval.template_pooling import pool_templates
from src.eval.unit_vectors import squared_distances

SUBJECTS, PER_SUBJECT, IMAGES = 40, 4, 6  # templates of a subject, images of a template
TEMPLATES = SUBJECTS * PER_SUBJECT


def protocol(folds: int | None = None) -> TemplateSet:
    """The first template of each subject is enrolled, in one of two galleries; the others are probes."""
    rng = np.random.default_rng(0)
    number = np.arange(TEMPLATES)
    subject = number // PER_SUBJECT
    enrolled = number % PER_SUBJECT == 0
    first, second = (axis.ravel() for axis in np.meshgrid(number[enrolled], number[~enrolled], indexing="ij"))
    order = rng.permutation(len(first))
    first, second = first[order], second[order]
    template = rng.permutation(np.repeat(number, IMAGES))
    galleries = [number[enrolled & (subject % 2 == half)] for half in (0, 1)]
    return TemplateSet(
        name="toy",
        images=ImageFiles(Path("toy"), [f"{i}.jpg" for i in range(len(template))]),
        template=template,
        medium=rng.integers(0, 3, len(template)),
        weight=rng.uniform(0.1, 1, len(template)).astype(np.float32),
        pairs=TemplatePairs(first, second, subject[first] == subject[second], folds),
        searches=tuple(
            TemplateSearch(gallery, subject[gallery], number[~enrolled], subject[~enrolled]) for gallery in galleries
        ),
        unaligned=3,
    )


def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Of images and mirror images, hard enough that errors occur."""
    rng = np.random.default_rng(1)
    faces = rng.standard_normal((SUBJECTS, 16))[protocol().template // PER_SUBJECT]
    quality = rng.uniform(0.3, 3, (len(faces), 1))
    original, flipped = (
        quality * (faces + 2.5 * rng.standard_normal(faces.shape)).astype(np.float32) for _ in range(2)
    )
    return original.astype(np.float32), flipped.astype(np.float32)


def collect(benchmark: TemplateBenchmark) -> Collected:
    original, flipped = map(torch.from_numpy, embeddings())
    collector = benchmark.collector()
    for index in torch.randperm(len(original), generator=torch.Generator().manual_seed(0)).split(100):
        collector.add(index, original[index], flipped[index] if benchmark.flip else None)
    return collector.collect()


@pytest.fixture(scope="module")
def benchmark() -> TemplateBenchmark:
    return TemplateBenchmark(protocol)


@pytest.fixture(scope="module")
def collected(benchmark: TemplateBenchmark) -> Collected:
    return collect(benchmark)


def flag_combinations() -> Iterator[tuple[str, bool, bool, bool]]:
    for number in range(8):
        norm, detector, flip = (not number >> bit & 1 for bit in (2, 1, 0))
        yield f"N{norm:d}D{detector:d}F{flip:d}", norm, detector, flip


def test_every_combination_is_scored_as_if_it_were_alone(benchmark: TemplateBenchmark, collected: Collected) -> None:
    metrics = benchmark.score(collected).metrics
    assert tuple(metrics) == benchmark.metric_names
    toy, (original, flipped) = protocol(), embeddings()
    assert toy.pairs is not None
    for name, norm, detector, flip in flag_combinations():
        features = original.astype(np.float64) + flipped if flip else original
        weight = toy.weight if detector else None
        _, templates = pool_templates(features, toy.template, toy.medium, weight, keep_norm=norm)
        points = verify_templates(templates, toy.pairs.first, toy.pairs.second, toy.pairs.same).operating_points
        expected = {key: value for point in points for key, value in point.metrics.items()}
        found = search_templates(templates, toy.searches)
        expected |= {"rank1": found.cmc(1)[0], "tpir@1e-1": found.tpir([0.1])[0]}
        prefix = "" if name == "N1D1F1" else f"{name}/"
        for metric, value in expected.items():
            if f"{prefix}{metric}" in metrics:
                assert metrics[f"{prefix}{metric}"] == pytest.approx(value, abs=1e-12, nan_ok=True), (name, metric)
    assert metrics["tar@1e-2"] != metrics["N0D0F0/tar@1e-2"]


def test_metric_names(benchmark: TemplateBenchmark) -> None:
    names = benchmark.metric_names
    headline = ["auc", "eer"]
    headline += [f"{rate}@1e-{i}" for i in range(6, 0, -1) for rate in ("tar", "far", "tar_strict")]
    headline += ["rank1", "rank5", "rank10", "tpir@1e-2", "tpir@1e-1", "unaligned"]
    assert names[: len(headline)] == tuple(headline)
    assert len(FARS) == 6
    assert len(names) == len(headline) + 8 * 15
    assert {"N0D1F1/tar@1e-4", "N0D0F0/tar_strict@1e-1", "N1D1F0/rank1", "N1D0F1/tpir@1e-2"} < set(names)
    assert not {"N0D1F1/far@1e-4", "N0D1F1/rank5", "N0D1F1/unaligned"} & set(names)


def test_what_the_set_is_too_small_for_is_nan(benchmark: TemplateBenchmark, collected: Collected) -> None:
    metrics = benchmark.score(collected).metrics
    # 40 x 120 pairs, 120 of them genuine: 1e-4 allows for no false accept.
    assert math.isnan(metrics["tar@1e-4"])
    assert math.isnan(metrics["N0D0F0/tar_strict@1e-6"])
    assert 0 < metrics["tar@1e-3"] < metrics["tar@1e-1"] < 1
    assert metrics["unaligned"] == 3


def test_the_headline_is_one_of_the_combinations(collected: Collected) -> None:
    full = TemplateBenchmark(protocol).score(collected).metrics
    benchmark = TemplateBenchmark(protocol, keep_norm=False, detector=True, flip=False, combinations=False)
    assert list(collect(benchmark)) == ["N0D1F0"]
    metrics = benchmark.score(collect(benchmark)).metrics
    assert tuple(metrics) == benchmark.metric_names
    assert not any("/" in name for name in metrics)
    for metric in ("tar@1e-2", "tar_strict@1e-1", "rank1", "tpir@1e-1"):
        assert metrics[metric] == full[f"N0D1F0/{metric}"]


def test_without_flip_mirror_images_are_never_used() -> None:
    benchmark = TemplateBenchmark(protocol, flip=False)
    assert sorted(collect(benchmark)) == ["N0D0F0", "N0D1F0", "N1D0F0", "N1D1F0"]
    assert "N0D0F0/rank1" in benchmark.metric_names
    assert "N1D1F1/rank1" not in benchmark.metric_names


def test_intervals_hold_their_metrics(benchmark: TemplateBenchmark, collected: Collected) -> None:
    assert benchmark.score(collected).intervals == {}
    score = benchmark.score(collected, resamples=300)
    expected = {f"{rate}@1e-{i}" for rate in ("tar", "tar_strict") for i in (1, 2, 3)}
    assert set(score.intervals) == expected | {"auc", "eer", "rank1", "rank5", "rank10", "tpir@1e-2", "tpir@1e-1"}
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] <= high, name
        assert 0.001 < high - low < 0.5, name
    assert score.intervals == benchmark.score(collected, resamples=300).intervals


def test_curves(benchmark: TemplateBenchmark, collected: Collected) -> None:
    score = benchmark.score(collected)
    curves = score.curves
    assert json.loads(json.dumps(asdict(curves)))["cmc"] == curves.cmc
    assert len(curves.cmc) == 20
    assert [curves.cmc[rank - 1] for rank in (1, 5, 10)] == [score.metrics[f"rank{rank}"] for rank in (1, 5, 10)]
    assert curves.roc is not None
    assert curves.open_set is not None
    fpirs, tpirs = curves.open_set
    assert fpirs[0] == pytest.approx(1 / 60)
    assert fpirs[-1] == 1
    assert np.interp(0.1, fpirs, tpirs) == pytest.approx(score.metrics["tpir@1e-1"], abs=0.02)
    assert curves.histogram is not None
    assert curves.histogram.threshold is None
    assert (sum(curves.histogram.genuine), sum(curves.histogram.impostor)) == (120, 4680)
    assert curves.fold_accuracies == []


def test_hardest_pairs_are_shown_by_the_first_image_of_each_template(
    benchmark: TemplateBenchmark, collected: Collected
) -> None:
    curves, template = benchmark.score(collected).curves, protocol().template
    for pairs, same in ((curves.false_matches, False), (curves.false_non_matches, True)):
        assert len(pairs) == 12
        for pair in pairs:
            first, second = template[pair.first], template[pair.second]
            assert bool(first // PER_SUBJECT == second // PER_SUBJECT) == same
            assert (pair.first, pair.second) == ((template == first).argmax(), (template == second).argmax())
    scores = [pair.score for pair in curves.false_matches]
    assert scores == sorted(scores, reverse=True)


def test_folds() -> None:
    benchmark = TemplateBenchmark(lambda: protocol(folds=10), combinations=False)
    collected = collect(benchmark)
    score = benchmark.score(collected, resamples=100)
    assert tuple(score.metrics) == benchmark.metric_names
    toy = benchmark.templates
    assert toy.pairs is not None
    original, flipped = embeddings()
    _, templates = pool_templates(original + flipped, toy.template, toy.medium, toy.weight)
    distances = squared_distances(templates[toy.pairs.first].astype(float), templates[toy.pairs.second].astype(float))
    expected = fold_accuracy(distances, toy.pairs.same, 10)
    assert score.metrics["accuracy"] == pytest.approx(expected.accuracies.mean())
    assert score.metrics["accuracy_std"] == pytest.approx(expected.accuracies.std())
    assert score.metrics["threshold"] == pytest.approx(expected.thresholds.mean())
    assert score.curves.fold_accuracies == pytest.approx(expected.accuracies.tolist())
    assert score.curves.histogram is not None
    assert score.curves.histogram.threshold == pytest.approx(1 - expected.thresholds.mean() / 2)
    low, high = score.intervals["accuracy"]
    assert low <= score.metrics["accuracy"] <= high


def test_a_set_of_pairs_only_and_one_of_closed_searches_only() -> None:
    toy = protocol()
    pairs_only = TemplateBenchmark(lambda: replace(toy, searches=()))
    assert not any(name.startswith(("rank", "tpir")) for name in pairs_only.metric_names)
    score = pairs_only.score(collect(pairs_only), resamples=10)
    assert tuple(score.metrics) == pairs_only.metric_names
    assert score.curves.cmc == []
    both = np.concatenate([search.gallery for search in toy.searches])
    search = replace(toy.searches[0], gallery=both, gallery_subject=both // PER_SUBJECT)
    closed = TemplateBenchmark(lambda: replace(toy, pairs=None, searches=(search,)), combinations=False)
    assert closed.metric_names == ("rank1", "rank5", "rank10", "unaligned")
    score = closed.score(collect(closed), resamples=10)
    assert tuple(score.metrics) == closed.metric_names
    assert (score.curves.roc, score.curves.open_set) == (None, None)
    assert len(score.curves.cmc) == 20


def collect_codes(benchmark: TemplateBenchmark) -> Collected:
    codes = codes_of(torch.from_numpy(protocol().template // PER_SUBJECT), 0.2)
    collector = benchmark.collector(8)
    for index in torch.arange(len(codes["original"])).split(100):
        collector.add(index, codes["original"][index], codes["flipped"][index] if benchmark.flip else None)
    return collector.collect()


def test_codes_are_pooled_compared_and_searched_for() -> None:
    benchmark = TemplateBenchmark(lambda: protocol(folds=10))
    collected = collect_codes(benchmark)
    score = benchmark.score(collected, resamples=20, matcher=SymbolMatcher(8))
    assert tuple(score.metrics) == tuple(name for name in benchmark.metric_names if "/" not in name)
    toy = benchmark.templates
    assert toy.pairs is not None
    codes = codes_of(torch.from_numpy(toy.template // PER_SUBJECT), 0.2)
    both = torch.cat([codes["original"], codes["flipped"]], dim=1).numpy()
    _, pooled = pool_codes(both, toy.template, 8)
    equal = (pooled[toy.pairs.first] == pooled[toy.pairs.second]).mean(axis=1)
    curve = roc_curve(equal, toy.pairs.same)
    assert score.metrics["eer"] == pytest.approx(curve.eer)
    assert 0 < curve.eer < 0.2
    folds = fold_accuracy(2 - 2 * equal, toy.pairs.same, 10, 2 * np.arange(0, 1.001, 0.001))
    assert score.metrics["accuracy"] == folds.accuracies.mean()
    for task, searches in zip(
        toy.searches, search_templates(pooled, toy.searches, SymbolMatcher(8)).galleries, strict=True
    ):
        similarity = (pooled[task.probe][:, None] == pooled[task.gallery]).mean(axis=2)
        mated = task.probe_subject[:, None] == task.gallery_subject
        assert searches.mate[searches.mated] == pytest.approx(similarity[mated])
        assert searches.rank[searches.mated].tolist() == [
            1 + (similarity[i] > similarity[i, mated[i]]).sum() for i in np.flatnonzero(searches.mated)
        ]
    assert score.metrics["rank1"] > 0.5


def test_protected_templates_score_the_same() -> None:
    benchmark = TemplateBenchmark(lambda: protocol(folds=10), flip=False)
    collected = collect_codes(benchmark)
    assert collected["codes"].shape == (TEMPLATES, 64)
    plain = benchmark.score(collected, matcher=SymbolMatcher(8))
    assert benchmark.score(collected, matcher=ProtectedMatcher(8)) == plain
    with pytest.raises(UserError, match="expected codes of uint8 with values below 8, found float32"):
        benchmark.score(collect(benchmark), matcher=SymbolMatcher(8))


def test_few_and_many_pairs_are_compared_alike() -> None:
    pooled = collect_codes(TemplateBenchmark(protocol))["codes"].numpy()
    first, second = (axis.ravel() for axis in np.meshgrid(np.arange(TEMPLATES), np.arange(TEMPLATES), indexing="ij"))
    many = score_pairs(pooled, first, second, SymbolMatcher(8))
    few = score_pairs(pooled, first[::37], second[::37], SymbolMatcher(8))
    assert np.array_equal(few, many[::37])


def test_the_fingerprint_follows_images_templates_size_and_combinations(tmp_path: Path) -> None:
    for number in range(TEMPLATES * IMAGES):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    toy = replace(protocol(), images=ImageFiles(tmp_path, [f"{i}.jpg" for i in range(TEMPLATES * IMAGES)]))
    variants = [
        TemplateBenchmark(lambda: toy),
        TemplateBenchmark(lambda: toy, size=96),
        TemplateBenchmark(lambda: toy, combinations=False),
        TemplateBenchmark(lambda: replace(toy, medium=toy.template)),
    ]
    assert TemplateBenchmark(lambda: toy).fingerprint == variants[0].fingerprint
    assert len({variant.fingerprint for variant in variants}) == 4
    assert len(variants[0].images()) == TEMPLATES * IMAGES
