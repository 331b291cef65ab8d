"""Benchmarks: images in, embeddings back, metrics out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.evaluation_images import EvaluationImages, first_copies
from src.datamodules.verification_sets import VerificationSet
from src.errors import check_choice
from src.eval.bootstrap import Interval, interval, resample_accuracy, verification_intervals
from src.eval.collector import Collected, EmbeddingCollector
from src.eval.embedding_matching import CosineMatcher
from src.eval.matching import Flip, Matcher
from src.eval.operating_points import exponent
from src.eval.score import BenchmarkScore, HardPair, ScoreCurves
from src.eval.score_curves import hardest, score_histogram, thin_curve
from src.eval.verification import FARS, VerificationResult, verify

__all__ = ["Flip", "VerificationBenchmark", "fingerprint"]


class VerificationBenchmark:
    """Verification of pairs: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW and any set of that form.

    Args:
        reader: Reads the set, e.g. `src.datamodules.verification_sets.read_bin` with its path bound
            (``_partial_: true`` in a config).
        size: Side of the images that the network takes, in pixels.
        flip: What is compared. ``"sum"``: the raw embeddings of the image and its mirror image added, as published
            results are made (Deng et al. 2019, section 3.1); ``"concat"``: both, one after the other; ``"none"``: the
            image alone. Codes have no sum: where one is wanted, both are put one after the other.
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

    def collector(self, alphabet: int | None = None) -> EmbeddingCollector:
        """Collector of the embeddings of one extraction or, given their alphabet size, of codes."""
        return EmbeddingCollector(len(self.copy_of), self.pairs.name, self.copy_of, alphabet)

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the embeddings or codes of all images.

        Args:
            collected: By `collector`: raw embeddings or codes, with mirror images unless ``flip`` is ``"none"``.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            matcher: Forms templates and compares them; by default embeddings by their cosine.

        Returns:
            The metrics `metric_names`, intervals of the accuracy, error rates and true accept rates, and curves. Codes
            have no norm.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        matcher = matcher or CosineMatcher()
        return self._describe(self._verify(collected, self.flip, matcher), collected, resamples, matcher)

    def _describe(
        self, result: VerificationResult, collected: Collected, resamples: int, matcher: Matcher
    ) -> BenchmarkScore:
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
            **_norm(collected),
        }
        for point in result.operating_points:
            values |= point.metrics
        if self.flip != "none":
            values["accuracy_noflip"] = self._verify(collected, "none", matcher).accuracy
        metrics = {name: values[name] for name in _metric_names(self.flip) if name in values}
        return BenchmarkScore(metrics, self._intervals(result, resamples) if resamples else {}, _curves(result))

    def _verify(self, collected: Collected, flip: Flip, matcher: Matcher) -> VerificationResult:
        templates = matcher.templates(collected, flip, len(self.pairs.images), self.pairs.name)
        return verify(templates[0::2], templates[1::2], self.pairs.same, self.pairs.folds, matcher)

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


def _norm(collected: Collected) -> dict[str, float]:
    """Mean length of all embeddings."""
    views = torch.cat([collected[name] for name in sorted(collected)])
    return {"embedding_norm": float(views.double().norm(dim=1).mean())} if views.is_floating_point() else {}


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


def fingerprint(size: int, images: str) -> str:
    """Hex digest of images as they reach a network that takes them at ``size``.

    Args:
        size: Side in pixels.
        images: Fingerprint of where they come from.
    """
    return hashlib.sha256(f"{size} {images}".encode()).hexdigest()
