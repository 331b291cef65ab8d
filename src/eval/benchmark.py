"""Benchmarks: images in, embeddings back, metrics out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.datamodules.evaluation_images import EvaluationImages, first_copies
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError, check_choice
from src.eval.bootstrap import Interval, interval, resample_accuracy, verification_intervals
from src.eval.collector import Collected, EmbeddingCollector
from src.eval.operating_points import exponent
from src.eval.score import BenchmarkScore, HardPair, ScoreCurves
from src.eval.score_curves import hardest, score_histogram, thin_curve
from src.eval.verification import FARS, Compare, VerificationResult, verify

__all__ = ["Flip", "VerificationBenchmark", "combine_views", "fingerprint"]

Flip = Literal["sum", "concat", "none"]


class VerificationBenchmark:
    """Verification of pairs: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW and any set of that form.

    Args:
        reader: Reads the set, e.g. `src.datamodules.verification_sets.read_bin` with its path bound
            (``_partial_: true`` in a config).
        size: Side of the images that the network takes, in pixels.
        flip: What is compared. ``"sum"``: the raw embeddings of the image and its mirror image added, as published
            results are made (Deng et al. 2019, section 3.1); ``"concat"``: both, one after the other; ``"none"``: the
            image alone.
    """

    def __init__(self, reader: Callable[[], VerificationSet], size: int = 112, flip: Flip = "sum") -> None:
        check_choice("flip", flip, get_args(Flip))
        self.reader = reader
        self.size = size
        self.flip = flip

    @cached_property
    def pairs(self) -> VerificationSet:
        """The set; its files are read once, when first needed, and its images decoded one by one later."""
        return self.reader()

    def check(self) -> None:
        """Read everything but the pixels, so that mistakes show before long work.

        Raises:
            UserError: Files are missing or malformed, or a fold lacks genuine or impostor pairs.
        """
        _ = self.pairs

    def images(self) -> EvaluationImages:
        """Images to embed; those of pair i are number 2i and 2i + 1."""
        return EvaluationImages(self.pairs.images, self.size, self.copy_of)

    @cached_property
    def copy_of(self) -> NDArray[np.int64]:
        """For each image the first one with the same pixels, which alone is embedded, int64 [2P]."""
        return first_copies(self.pairs.images)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the images as they reach the network."""
        return fingerprint(self.size, self.pairs.fingerprint)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` gives."""
        return _metric_names(self.flip)

    @property
    def needs_mirror_images(self) -> bool:
        """Whether embeddings of the mirror images are needed."""
        return self.flip != "none"

    def collector(self) -> EmbeddingCollector:
        """Collector of the embeddings of one extraction."""
        return EmbeddingCollector(len(self.copy_of), self.pairs.name, self.copy_of)

    def score(self, collected: Collected, resamples: int = 0, compare: Compare | None = None) -> BenchmarkScore:
        """Judge the embeddings of all images.

        Args:
            collected: By `collector`: raw embeddings, with mirror images unless ``flip`` is ``"none"``.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            compare: Gives the similarity of two templates; by default their cosine.

        Returns:
            The metrics `metric_names`, intervals of the accuracy, error rates and true accept rates, and curves.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        return self._describe(self._verify(collected, self.flip, compare), collected, resamples, compare)

    def _describe(
        self, result: VerificationResult, collected: Collected, resamples: int, compare: Compare | None
    ) -> BenchmarkScore:
        views = torch.cat([collected[name] for name in sorted(collected)])
        values = {
            "accuracy": result.accuracy,
            "accuracy_std": result.accuracy_std,
            "accuracy_stderr": result.accuracy_stderr,
            "threshold": result.threshold,
            "eer": result.eer,
            "auc": result.auc,
            "val@1e-3": result.val.val,
            "val_std@1e-3": result.val.val_std,
            "val_far@1e-3": result.val.far,
            "embedding_norm": float(views.double().norm(dim=1).mean()),
        }
        for point in result.operating_points:
            values |= point.metrics
        if self.flip != "none":
            values["accuracy_noflip"] = self._verify(collected, "none", compare).accuracy
        metrics = {name: values[name] for name in _metric_names(self.flip)}
        return BenchmarkScore(metrics, self._intervals(result, resamples) if resamples else {}, _curves(result))

    def _verify(self, collected: Collected, flip: Flip, compare: Compare | None) -> VerificationResult:
        templates = combine_views(collected, flip, len(self.pairs.images), self.pairs.name)
        return verify(templates[0::2], templates[1::2], self.pairs.same, self.pairs.folds, compare)

    def _intervals(self, result: VerificationResult, resamples: int) -> dict[str, Interval]:
        generator = np.random.default_rng(0)
        folds = [len(fold) for fold in np.array_split(self.pairs.same, self.pairs.folds)]
        accuracies = resample_accuracy(result.folds.accuracies, folds, resamples, generator)
        rates = verification_intervals(result.roc, result.operating_points, resamples, generator)
        return {"accuracy": interval(accuracies), **rates}


def _metric_names(flip: Flip) -> tuple[str, ...]:
    names = ["accuracy", "accuracy_std", "accuracy_stderr", "threshold", "eer", "auc"]
    names += ["val@1e-3", "val_std@1e-3", "val_far@1e-3"]
    names += [f"{rate}@{exponent(far)}" for far in FARS for rate in ("tar", "far", "tar_strict")]
    return (*names, "embedding_norm") if flip == "none" else (*names, "embedding_norm", "accuracy_noflip")


def _curves(result: VerificationResult) -> ScoreCurves:
    false_matches, false_non_matches = (
        [HardPair(2 * int(pair), 2 * int(pair) + 1, float(result.scores[pair])) for pair in pairs]
        for pairs in hardest(result.scores, result.same)
    )
    return ScoreCurves(
        roc=thin_curve(result.roc.fpr, result.roc.tpr),
        fold_accuracies=result.folds.accuracies.tolist(),
        # Cosine of unit vectors whose squared distance is the threshold.
        histogram=score_histogram(result.roc, 1 - result.threshold / 2),
        false_matches=false_matches,
        false_non_matches=false_non_matches,
    )


def combine_views(collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
    """What a benchmark compares of raw embeddings.

    Args:
        collected: By `src.eval.collector.EmbeddingCollector`.
        flip: See `VerificationBenchmark`.
        count: Number of images N.
        name: Of the benchmark, for messages.

    Returns:
        float64 [N, D], or [N, 2D] for ``"concat"``; not normalised.

    Raises:
        UserError: Their number is not that of the images, or mirror images are missing.
    """
    original = collected["original"].double()
    if len(original) != count:
        raise UserError(
            f"{name}: {len(original)} embeddings for {count} images; "
            "validate on all batches (trainer.limit_val_batches=1.0)"
        )
    if flip == "none":
        return original
    if "flipped" not in collected:
        raise UserError(f"{name}: flip={flip} needs embeddings of the mirror images too")
    flipped = collected["flipped"].double()
    return original + flipped if flip == "sum" else torch.cat([original, flipped], dim=1)


def fingerprint(size: int, images: str) -> str:
    """Hex digest of images as they reach a network that takes them at ``size``.

    Args:
        size: Side in pixels.
        images: Fingerprint of where they come from.
    """
    return hashlib.sha256(f"{size} {images}".encode()).hexdigest()
