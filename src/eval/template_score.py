"""What a benchmark of templates reports: metrics, intervals and curves of one way of pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.template_sets import TemplatePairs, TemplateSet
from src.eval.bootstrap import (
    Interval,
    interval,
    resample_accuracy,
    resample_mean,
    resample_tar,
    verification_intervals,
)
from src.eval.ijb import (
    FARS,
    TemplateIdentification,
    Templates,
    TemplateVerification,
    search_templates,
    verify_templates,
)
from src.eval.kfold import FoldResult, fold_accuracy
from src.eval.matching import Matcher
from src.eval.operating_points import exponent
from src.eval.score import BenchmarkScore, HardPair, ScoreCurves
from src.eval.score_curves import hardest, score_histogram, thin_curve
from src.eval.unit_vectors import squared_distances

__all__ = ["FPIRS", "RANKS", "TemplateScore", "judge", "metric_names"]

RANKS = (1, 5, 10)
"""Ranks at which identification is reported."""

FPIRS = (1e-2, 1e-1)
"""False positive identification rates at which open-set identification is reported."""

_CMC_DEPTH = 20
_OPEN_SET_POINTS = 100


def metric_names(protocol: TemplateSet) -> list[str]:
    """Names of the metrics that a set has protocols for."""
    names = []
    if protocol.pairs is not None:
        if protocol.pairs.folds is not None:
            names += ["accuracy", "accuracy_std", "accuracy_stderr", "threshold"]
        names += ["auc", "eer"]
        names += [f"{rate}@{exponent(far)}" for far in FARS for rate in ("tar", "far", "tar_strict")]
    if protocol.searches:
        names += [f"rank{rank}" for rank in RANKS]
    if protocol.has_open_set:
        names += [f"tpir@{exponent(fpir)}" for fpir in FPIRS]
    return [*names, "unaligned"]


def judge(templates: Templates, protocol: TemplateSet, matcher: Matcher | None = None) -> TemplateScore:
    """Run the protocols of a set.

    Args:
        templates: float32 [T, D], of length 1, or what ``matcher`` takes.
        protocol: The set.
        matcher: Compares the templates; by default their dot product does.
    """
    verification = folds = identification = None
    if (pairs := protocol.pairs) is not None:
        verification = verify_templates(templates, pairs.first, pairs.second, pairs.same, matcher=matcher)
        if pairs.folds is not None:
            folds = _folds(templates, pairs, pairs.folds, matcher)
    if protocol.searches:
        identification = search_templates(templates, protocol.searches, matcher)
    return TemplateScore(protocol, verification, folds, identification)


def _folds(templates: Templates, pairs: TemplatePairs, n_folds: int, matcher: Matcher | None) -> FoldResult:
    first, second = templates[pairs.first], templates[pairs.second]
    if matcher is None:
        return fold_accuracy(squared_distances(first.astype(float), second.astype(float)), pairs.same, n_folds)
    compared = torch.from_numpy(first), torch.from_numpy(second)
    distances = matcher.distances(*compared, matcher.pairs(*compared))
    return fold_accuracy(distances, pairs.same, n_folds, matcher.thresholds)


@dataclass(frozen=True)
class TemplateScore:
    """What the protocols of a set made of templates; None where it has no such protocol.

    Attributes:
        protocol: The set.
        verification: Of its pairs.
        folds: Accuracy over the folds of its pairs.
        identification: Of its searches.
    """

    protocol: TemplateSet
    verification: TemplateVerification | None
    folds: FoldResult | None
    identification: TemplateIdentification | None

    def score(self, resamples: int = 0) -> BenchmarkScore:
        """All of it, with bootstrap intervals of so many ``resamples``; 0 for no intervals."""
        return BenchmarkScore(self.metrics(), self.intervals(resamples) if resamples else {}, self.curves())

    def metrics(self) -> dict[str, float]:
        """The metrics `metric_names`."""
        values = {"unaligned": float(self.protocol.unaligned)}
        if self.folds is not None:
            accuracies = self.folds.accuracies
            values |= {
                "accuracy": float(accuracies.mean()),
                "accuracy_std": float(accuracies.std()),
                "accuracy_stderr": float(accuracies.std(ddof=1) / math.sqrt(len(accuracies))),
                "threshold": float(self.folds.thresholds.mean()),
            }
        if self.verification is not None:
            values |= {"auc": self.verification.roc.auc, "eer": self.verification.roc.eer}
            for point in self.verification.operating_points:
                values |= point.metrics
        if self.identification is not None:
            cmc = self.identification.cmc(max(RANKS))
            values |= {f"rank{rank}": float(cmc[rank - 1]) for rank in RANKS}
        if self.identification is not None and self.protocol.has_open_set:
            rates = self.identification.tpir(FPIRS).tolist()
            values |= {f"tpir@{exponent(fpir)}": rate for fpir, rate in zip(FPIRS, rates, strict=True)}
        return {name: values[name] for name in metric_names(self.protocol)}

    def intervals(self, resamples: int) -> dict[str, Interval]:
        """Bootstrap intervals of accuracy, error rates, true accept rates, ranks and identification rates."""
        generator = np.random.default_rng(0)
        intervals = {}
        if self.folds is not None and self.verification is not None:
            sizes = [len(fold) for fold in np.array_split(self.verification.same, len(self.folds.accuracies))]
            accuracies = resample_accuracy(self.folds.accuracies, sizes, resamples, generator)
            intervals["accuracy"] = interval(accuracies)
        if self.verification is not None:
            points = self.verification.operating_points
            intervals |= verification_intervals(self.verification.roc, points, resamples, generator)
        if self.identification is not None:
            for rank in RANKS:
                hits = self.identification.ranks <= rank
                intervals[f"rank{rank}"] = interval(resample_mean(hits, resamples, generator))
        if self.identification is not None and self.protocol.has_open_set:
            for fpir in FPIRS:
                rates = _resample_tpir(self.identification, fpir, resamples, generator)
                intervals[f"tpir@{exponent(fpir)}"] = interval(rates)
        return intervals

    def curves(self) -> ScoreCurves:
        """Curves, histogram and hardest pairs, each template being shown by its first image."""
        curves = ScoreCurves()
        if self.verification is not None:
            roc, threshold = self.verification.roc, None
            if self.folds is not None:
                threshold = 1 - float(self.folds.thresholds.mean()) / 2  # of unit vectors at that squared distance
            false_matches, false_non_matches = hardest(self.verification.scores, self.verification.same)
            curves = replace(
                curves,
                roc=thin_curve(roc.fpr, roc.tpr),
                histogram=score_histogram(roc, threshold),
                fold_accuracies=[] if self.folds is None else self.folds.accuracies.tolist(),
                false_matches=self._hard_pairs(false_matches),
                false_non_matches=self._hard_pairs(false_non_matches),
            )
        if self.identification is not None:
            curves = replace(curves, cmc=self.identification.cmc(_CMC_DEPTH).tolist())
        if self.identification is not None and self.protocol.has_open_set:
            lowest = 1 / min(len(searches.open_set.impostor) for searches in self.identification.galleries)
            fpirs = np.geomspace(lowest, 1, _OPEN_SET_POINTS).tolist()
            curves = replace(curves, open_set=(fpirs, self.identification.tpir(fpirs).tolist()))
        return curves

    def _hard_pairs(self, pairs: NDArray[np.intp]) -> list[HardPair]:
        assert self.protocol.pairs is not None
        assert self.verification is not None
        images = self.protocol.first_image
        first, second = images[self.protocol.pairs.first[pairs]], images[self.protocol.pairs.second[pairs]]
        scores = self.verification.scores[pairs]
        return [HardPair(*facts) for facts in zip(first.tolist(), second.tolist(), scores.tolist(), strict=True)]


def _resample_tpir(
    identification: TemplateIdentification, fpir: float, resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """True positive identification rates [R], mean over the galleries."""
    rates = []
    for searches in identification.galleries:
        allowed = max(int(len(searches.open_set.impostor) * fpir), 1) - 1  # the rule of `tpir_at_fpir`
        rates.append(resample_tar(searches.open_set, allowed, resamples, generator))
    return np.mean(rates, axis=0)
