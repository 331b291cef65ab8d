"""The protocols by this project."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.evaluating.measure import Measured
from benchmarks.evaluating.sets import FOLDS, IjbLike, read_features
from src.datamodules.template_sets import ImageFiles, TemplatePairs, TemplateSearch, TemplateSet
from src.datamodules.text_tables import read_integers
from src.eval.ijb import score_pairs, search_templates
from src.eval.kfold import fold_accuracy, val_at_far
from src.eval.operating_points import far_operating_points, roc_curve
from src.eval.template_benchmark import TemplateBenchmark
from src.eval.template_pooling import pool_templates
from src.eval.unit_vectors import l2_normalise, squared_distances

__all__ = ["identify", "k_fold", "read_pairs", "streamed", "verify"]

Array = NDArray[Any]

_BATCH = 128  # images


def k_fold(embeddings: Array, same: Array, far: float) -> tuple[float, float, float, float]:
    """Accuracy, its deviation, validation rate and its false accept rate."""
    unit = l2_normalise(embeddings)
    distances = squared_distances(unit[0::2], unit[1::2])
    accuracies = fold_accuracy(distances, same, FOLDS).accuracies
    val = val_at_far(distances, same, far, FOLDS)
    return float(accuracies.mean()), float(accuracies.std()), val.val, val.far


def read_pairs(folder: Path) -> Measured:
    """The file of pairs, twice."""
    measured = Measured()
    for name in ("read the pairs", "read them again"):
        with measured.step(name):
            read_integers(folder / "pairs.txt", ["template", "template", "label"], folder / "cache")
    return measured


def verify(folder: Path, fars: Sequence[float]) -> Measured:
    """1:1 from embeddings that are all in memory; the result is true accept rates, scores and templates are written."""
    measured, ijb, features = Measured(), IjbLike.load(folder), read_features(folder / "features")
    with measured.step("pool templates"):
        _, templates = pool_templates(features, ijb.template, ijb.medium, ijb.weight)
    del features
    with measured.step("score pairs"):
        scores = score_pairs(templates, ijb.first, ijb.second)
    with measured.step("TAR at FAR"):
        points = far_operating_points(roc_curve(scores, ijb.same), fars)
    measured.result = [point.tar for point in points]
    np.save(folder / "templates.npy", templates)
    np.save(folder / "scores.npy", scores)
    return measured


def identify(folder: Path, ranks: Sequence[int], fpirs: Sequence[float]) -> Measured:
    """1:N of the templates that `verify` wrote; the result is identification rates."""
    measured, ijb, templates = Measured(), IjbLike.load(folder), np.load(folder / "templates.npy")
    with measured.step("1:N"):
        found = search_templates(templates, _searches(ijb))
        cmc = found.cmc(max(ranks))
        measured.result = [*(cmc[rank - 1] for rank in ranks), *found.tpir(fpirs)]
    return measured


def streamed(folder: Path) -> Measured:
    """A benchmark as it is run: embeddings arrive in batches, all combinations are pooled and scored."""
    measured = Measured()
    benchmark = TemplateBenchmark(partial(_template_set, folder))
    collector = benchmark.collector()
    with measured.step("pool while embeddings arrive"), open(folder / "features", "rb") as file:
        for index in torch.arange(len(benchmark.images())).split(_BATCH):
            half = torch.from_numpy(read_features(file, len(index)) / 2)
            collector.add(index, half, half)
    with measured.step("score: 1:1, 1:N, curves"):
        measured.result = benchmark.score(collector.collect()).metrics
    return measured


def _template_set(folder: Path) -> TemplateSet:
    ijb = IjbLike.load(folder)
    return TemplateSet(
        name="ijbc",
        images=ImageFiles(folder, [f"{number}.jpg" for number in range(len(ijb.template))]),
        template=ijb.template,
        medium=ijb.medium,
        weight=ijb.weight,
        pairs=TemplatePairs(ijb.first, ijb.second, ijb.same),
        searches=_searches(ijb),
    )


def _searches(ijb: IjbLike) -> tuple[TemplateSearch, ...]:
    probe, *galleries = (np.flatnonzero(ijb.gallery == half) for half in (0, 1, 2))
    return tuple(TemplateSearch(gallery, ijb.subject[gallery], probe, ijb.subject[probe]) for gallery in galleries)
