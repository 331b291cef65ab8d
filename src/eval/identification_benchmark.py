"""Identification in a collection of faces: some images of some people are enrolled, all others are searched for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from src.datamodules.identification_sets import IdentificationSet, read_class_folders
from src.eval.bootstrap import Interval, interval, resample_mean, resample_tar
from src.eval.collector import Collected
from src.eval.embedding_matching import CosineMatcher
from src.eval.face_set_benchmark import FaceSetBenchmark
from src.eval.gallery_search import Fusion, Searches, search
from src.eval.identification import (
    closed_set,
    comparisons,
    open_set,
    tpir_at_fpir,
    verification_rates,
)
from src.eval.identification_split import IdentificationSplit, split_by_count
from src.eval.matching import Flip, Matcher
from src.eval.operating_points import RocCurve, Scores, allowed_false_accepts, exponent
from src.eval.score import BenchmarkScore, HardPair, Line, ScoreCurves
from src.eval.score_curves import hardest, score_histogram, thin_curve

__all__ = ["IdentificationBenchmark", "class_folders"]

Integers = NDArray[np.int64]

_RANKS = (1, 5, 10)
_DEPTHS = (1, 2, 3, 4, 5)
_VERIFICATION_FARS = (1e-5, 1e-4, 1e-3, 1e-2)
_FARS = (1e-3, 1e-2)
_FPIRS = (1e-2, 1e-1)
_CMC_DEPTH = 20
_OPEN_SET_POINTS = 100


class IdentificationBenchmark(FaceSetBenchmark):
    """Closed-set and open-set identification of the BLUFR kind (Liao et al. 2014; DRH specification, section 7.3).

    People with enough images are enrolled with the first few of them; their other images and all those of other people
    are probes. Four bytes for each probe and gallery image are held at once.

    Args:
        reader: Reads the collection.
        size: Side of the images that the network takes, in pixels.
        flip: What is compared, see `src.eval.benchmark.VerificationBenchmark`.
        minimum_images: From how many images on a person is enrolled.
        gallery_images: How many of them are.
        enrolled: At most so many people are, the first; None for everyone who can be. The images of all others are
            searched for in vain.
    """

    def __init__(
        self,
        reader: Callable[[], IdentificationSet],
        size: int = 112,
        flip: Flip = "sum",
        minimum_images: int = 4,
        gallery_images: int = 3,
        enrolled: int | None = None,
    ) -> None:
        super().__init__(reader, size, flip)
        self.minimum_images = minimum_images
        self.gallery_images = gallery_images
        self.enrolled = enrolled

    @cached_property
    def split(self) -> IdentificationSplit:
        """Who is enrolled and who searches."""
        return split_by_count(self.faces.labels, self.minimum_images, self.gallery_images, self.enrolled)

    def check(self) -> None:
        """List the images, so that mistakes show before long work.

        Raises:
            UserError: There are no images, landmarks of some are missing, or fewer than two people can be enrolled.
        """
        _ = self.split

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` gives."""
        return (
            *(f"rank{rank}" for rank in _RANKS),
            *(f"rank{rank}_median" for rank in _RANKS),
            *(f"map@{depth}" for depth in _DEPTHS),
            "map",
            *(f"vr@{exponent(far)}" for far in _VERIFICATION_FARS),
            *(f"dir@{exponent(far)}" for far in _FARS),
            *(f"tpir@{exponent(fpir)}" for fpir in _FPIRS),
        )

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the embeddings or codes of all images.

        Args:
            collected: By `collector`: raw embeddings or codes, with mirror images unless ``flip`` is ``"none"``.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            matcher: Forms templates and compares them; by default embeddings by their cosine.

        Returns:
            The metrics `metric_names`, an interval of each, and curves. Ranks are by the most similar image of each
            person in the gallery, those of ``_median`` by the median over their images. Rates at a false accept or
            false positive identification rate that the collection cannot resolve are NaN.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        matcher = matcher or CosineMatcher()
        templates = matcher.templates(collected, self.flip, len(self.faces.images), self.faces.name)
        labels, split = self.faces.labels, self.split
        similarity = matcher.matrix(templates[split.probes], templates[split.gallery])
        probes, gallery = labels[split.probes], labels[split.gallery]
        searches = search(similarity, probes, gallery)
        pairs = comparisons(similarity, probes, gallery)
        means = _means(similarity[: len(split.mated)], labels[split.mated], gallery)
        rates = _verification_rates(pairs) + _open_set_rates(similarity, probes, gallery, searches)
        metrics = dict.fromkeys(self.metric_names, math.nan)
        metrics |= {name: float(values.mean()) for name, values in means.items()}
        metrics |= {rate.name: rate.value for rate in rates}
        false_matches, false_non_matches = self._hard_pairs(similarity, searches)
        curves = ScoreCurves(
            roc=thin_curve(pairs.fpr, pairs.tpr),
            open_set=_open_set_curve(searches),
            cmc=searches.cmc(_CMC_DEPTH).tolist(),
            histogram=score_histogram(RocCurve(np.sort(searches.mate[searches.mated]), np.sort(searches.rival))),
            false_matches=false_matches,
            false_non_matches=false_non_matches,
        )
        return BenchmarkScore(metrics, _intervals(means, rates, resamples) if resamples else {}, curves)

    def _hard_pairs(self, similarity: Scores, searches: Searches) -> Iterator[list[HardPair]]:
        """Probes most similar to someone else, and enrolled people's probes least similar to themselves."""
        split, labels = self.split, self.faces.labels
        scores = np.concatenate([searches.rival, searches.mate[searches.mated]])
        is_mate = np.arange(len(scores)) >= len(split.probes)
        for found in hardest(scores, is_mate):
            rows = found % len(split.probes)  # mated probes come first among all
            own = labels[split.probes[rows], None] == labels[split.gallery]
            entries = np.where(own == is_mate[found, None], similarity[rows], -np.inf).argmax(axis=1)
            images = zip(split.probes[rows].tolist(), split.gallery[entries].tolist(), strict=True)
            yield [HardPair(*pair, score) for pair, score in zip(images, scores[found].tolist(), strict=True)]


@dataclass(frozen=True)
class _Rate:
    """A share of genuine scores above a threshold that an impostor score sets.

    Attributes:
        name: Of the metric.
        value: The rate.
        curve: Genuine and impostor scores.
        false_accepts: Impostor scores strictly above the threshold.
    """

    name: str
    value: float
    curve: RocCurve
    false_accepts: int


def _means(similarity: Scores, probes: Integers, gallery: Integers) -> dict[str, NDArray[Any]]:
    """What each mated probe contributes to the metrics that are means over them."""
    by_best, by_median = (closed_set(similarity, probes, gallery, fusion) for fusion in get_args(Fusion))
    return {
        **{f"rank{rank}": by_best.ranks <= rank for rank in _RANKS},
        **{f"rank{rank}_median": by_median.ranks <= rank for rank in _RANKS},
        **{f"map@{depth}": by_best.average_precision(depth) for depth in _DEPTHS},
        "map": by_best.average_precision(),
    }


def _verification_rates(pairs: RocCurve) -> list[_Rate]:
    return [
        _Rate(f"vr@{exponent(far)}", value, pairs, _false_accepts_by_blufr(far, pairs))
        for far, value in zip(_VERIFICATION_FARS, verification_rates(pairs, _VERIFICATION_FARS).tolist(), strict=True)
        if allowed_false_accepts(far, len(pairs.impostor))
    ]


def _open_set_rates(similarity: Scores, probes: Integers, gallery: Integers, searches: Searches) -> list[_Rate]:
    if searches.mated.all():
        return []
    curve = searches.open_set
    detected = open_set(similarity, probes, gallery, _FARS).dir[:, 0].tolist()
    _, identified = tpir_at_fpir(curve, _FPIRS)
    n = len(curve.impostor)
    return [
        _Rate(f"dir@{exponent(far)}", value, curve, _false_accepts_by_blufr(far, curve))
        for far, value in zip(_FARS, detected, strict=True)
        if allowed_false_accepts(far, n)
    ] + [
        _Rate(f"tpir@{exponent(fpir)}", value, curve, max(int(n * fpir), 1) - 1)
        for fpir, value in zip(_FPIRS, identified.tolist(), strict=True)
        if allowed_false_accepts(fpir, n)
    ]


def _false_accepts_by_blufr(far: float, curve: RocCurve) -> int:
    # The score that sets the threshold is accepted itself, which the bootstrap's rule does not do.
    return math.floor(far * len(curve.impostor) + 0.5) - 1


def _open_set_curve(searches: Searches) -> Line | None:
    if searches.mated.all():
        return None
    fpir = np.geomspace(1 / len(searches.open_set.impostor), 1, _OPEN_SET_POINTS)
    return fpir.tolist(), tpir_at_fpir(searches.open_set, fpir)[1].tolist()


def _intervals(means: dict[str, NDArray[Any]], rates: list[_Rate], resamples: int) -> dict[str, Interval]:
    generator = np.random.default_rng(0)
    samples = {name: resample_mean(values, resamples, generator) for name, values in means.items()}
    samples |= {rate.name: resample_tar(rate.curve, rate.false_accepts, resamples, generator) for rate in rates}
    return {name: interval(values) for name, values in samples.items()}


def class_folders(
    root: Path | str,
    size: int,
    flip: Flip = "sum",
    minimum_images: int = 4,
    gallery_images: int = 3,
    enrolled: int | None = None,
    folder: str = ".",
    landmarks: str | None = "landmarks.csv",
) -> IdentificationBenchmark:
    """Identification in photographs in one folder per person, as LFW's are.

    Args:
        root: Folder with, at any depth, ``<person>/<image>.jpg``.
        size: Side of the images that the network takes, in pixels.
        flip: See `IdentificationBenchmark`.
        minimum_images: From how many images on a person is enrolled.
        gallery_images: How many of them are.
        enrolled: See `IdentificationBenchmark`.
        folder: Of the root, whose photographs these are.
        landmarks: CSV file in ``root`` to align the photographs by, used if it exists; None to crop by position.
    """
    reader = partial(read_class_folders, root, name=Path(root).name, landmarks=landmarks, folder=folder)
    return IdentificationBenchmark(reader, size, flip, minimum_images, gallery_images, enrolled)
