"""Synthetic people as a recogniser sees them: are they people, and do they give away who was trained on?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.datamodules.sources.generated_faces import GeneratedFaces
from src.datamodules.sources.source import FaceSource
from src.datamodules.sources.source_images import SourceImages
from src.errors import UserError, check_choice
from src.eval.benchmark import fingerprint
from src.eval.collector import Collected, EmbeddingCollector
from src.eval.embedding_matching import CosineMatcher
from src.eval.generative.identities import IdentityScores, identity_scores
from src.eval.generative.membership import membership, nearest_similarities
from src.eval.matching import Flip, Matcher
from src.eval.operating_points import RocCurve, exponent, far_operating_points
from src.eval.score import BenchmarkScore, HardPair
from src.eval.score_curves import HARDEST, score_histogram
from src.eval.verification import FARS

__all__ = ["SyntheticIdentitiesBenchmark", "generated_people"]

log = logging.getLogger(__name__)

OpenSource = Callable[[], FaceSource]

_FAR = 1e-3
"""Of the threshold from which on two images count as one person."""

_RATES = tuple(f"{rate}@{exponent(far)}" for far in FARS for rate in ("tar", "far", "tar_strict"))
_MOMENTS = ("eer_threshold", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "fdr", "decidability")
_OF_KNOWN = ("eer", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std")
_BREACHES = ("breach_threshold", "breached", "nearest_training", "nearest_training_max")
_MEMBERSHIP = ("nearest_gap", "membership_auc", "membership_advantage")


class SyntheticIdentitiesBenchmark:
    """Images of synthetic people beside those of the real people that their generator was trained on.

    Metrics are those of `src.eval.generative.identities.IdentityScores`, of the synthetic people and, as ``eer_known``
    and so on, of the known ones. Privacy metrics are those of `src.eval.generative.membership.Membership`, where every
    image stands for itself, and ``breach_threshold``, the cosine from which on a synthetic image shows a known person.

    Args:
        synthetic: Opens the collection of synthetic people.
        known: Opens that of the real people whom the generator was trained on.
        held_out: Opens a collection of people whom it was not trained on, from the same source and with as many images
            each; without it, whether members can be told is not measured.
        size: Side of the images that the network takes, in pixels.
        flip: What is compared, see `src.eval.benchmark.VerificationBenchmark`. The filter of generation compares images
            without their mirror images.
        threshold: The ``breach_threshold``; by default that of a false accept rate of 1e-3 among the known people.
    """

    def __init__(
        self,
        synthetic: OpenSource,
        known: OpenSource,
        held_out: OpenSource | None = None,
        *,
        size: int = 112,
        flip: Flip = "none",
        threshold: float | None = None,
    ) -> None:
        check_choice("flip", flip, get_args(Flip))
        if threshold is not None and not -1 <= threshold <= 1:
            raise UserError(f"threshold={threshold}: expected a cosine, -1 to 1, or null")
        self.collections = [synthetic, known] if held_out is None else [synthetic, known, held_out]
        self.size = size
        self.flip = flip
        self.threshold = threshold

    @cached_property
    def sources(self) -> list[FaceSource]:
        """The synthetic, the known and, if there are any, the held-out people."""
        return [open_source() for open_source in self.collections]

    @property
    def _has_held_out(self) -> bool:
        return len(self.collections) > 2

    def check(self) -> None:
        """Open the collections, so that mistakes show before long work.

        Raises:
            UserError: One cannot be read, or has too few people or images.
        """
        synthetic, known, *_ = self.sources
        _count_impostors(synthetic)
        impostors = _count_impostors(known)
        if self.threshold is None and impostors < 1 / _FAR:
            raise UserError(
                f"{known.name}: {impostors} comparisons of different people are too few for a false accept rate of "
                f"{exponent(_FAR)}; give more people, or the cosine from which on two images show one person as "
                "benchmark.synthetic_identities.threshold"
            )
        if not self._has_held_out:
            log.info("no held_out people: whether people who were trained on can be told is not measured")

    def images(self) -> SourceImages:
        """Images to embed: of the synthetic people, the known and the held-out ones."""
        return SourceImages(self.sources, self.size)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the images as they reach the network."""
        return fingerprint(self.size, " ".join(source.content_fingerprint for source in self.sources))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics and privacy metrics that `score` gives."""
        of_known = (f"{name}_known" for name in _OF_KNOWN)
        return ("eer", "auc", *_RATES, *_MOMENTS, *of_known, *_BREACHES, *(_MEMBERSHIP if self._has_held_out else ()))

    @property
    def needs_mirror_images(self) -> bool:
        """Whether embeddings of the mirror images are needed."""
        return self.flip != "none"

    def collector(self, alphabet: int | None = None) -> EmbeddingCollector:
        """Collector of the embeddings of one extraction.

        Raises:
            UserError: The network yields codes.
        """
        if alphabet is not None:
            raise UserError("synthetic_identities compares embeddings, this network yields codes; leave it out")
        return EmbeddingCollector(len(self.images()), self.sources[0].name)

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the embeddings of all images by their cosine.

        Args:
            collected: By `collector`: raw embeddings, with mirror images unless ``flip`` is ``"none"``.
            resamples: Not used, there are no intervals.
            matcher: Not used.

        Returns:
            The metrics and privacy metrics `metric_names`, curves of the synthetic people, and as false matches the
            synthetic images that come nearest to known people.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        counts = [len(source) for source in self.sources]
        templates = CosineMatcher().templates(collected, self.flip, sum(counts), self.sources[0].name)
        synthetic, known, *others = templates.split(counts)
        scores, real = (
            identity_scores(rows, torch.from_numpy(source.labels.astype(np.int64)))
            for rows, source in zip((synthetic, known), self.sources, strict=False)
        )
        nearest = nearest_similarities(synthetic, known)
        threshold = self._threshold(real)
        privacy = {
            "breach_threshold": threshold,
            "breached": float((nearest >= threshold).mean()),
            "nearest_training": float(nearest.mean()),
            "nearest_training_max": float(nearest.max()),
        }
        curves = replace(scores.score.curves, false_matches=_nearest_pairs(synthetic, known, nearest))
        for held_out in others:
            found = membership(synthetic, known, held_out, threshold)
            privacy |= found.metrics
            both = RocCurve(np.sort(found.compared_training), np.sort(found.compared_held_out))
            curves = replace(curves, membership=score_histogram(both, threshold))
        return BenchmarkScore(
            scores.metrics | {f"{name}_known": real.metrics[name] for name in _OF_KNOWN},
            curves=curves,
            privacy=privacy,
        )

    def _threshold(self, real: IdentityScores) -> float:
        return far_operating_points(real.curve, (_FAR,))[0].threshold if self.threshold is None else self.threshold


def generated_people(
    root: Path | str,
    size: int,
    known: OpenSource,
    held_out: OpenSource | None = None,
    flip: Flip = "none",
    threshold: float | None = None,
) -> SyntheticIdentitiesBenchmark:
    """The people of a folder that ``privface generate`` wrote; arguments: see `SyntheticIdentitiesBenchmark`."""
    synthetic = partial(GeneratedFaces, root)
    return SyntheticIdentitiesBenchmark(synthetic, known, held_out, size=size, flip=flip, threshold=threshold)


def _count_impostors(source: FaceSource) -> int:
    """Number of pairs of images of different people; raises UserError unless there are such and others."""
    people, images = np.unique(source.labels, return_counts=True)
    if len(people) < 2 or images.max() < 2:
        raise UserError(
            f"{source.name}: {len(source)} images of {len(people)} people; expected two people or more, one of them "
            "with two images or more"
        )
    return int(len(source) ** 2 - (images**2).sum()) // 2


def _nearest_pairs(synthetic: Tensor, known: Tensor, nearest: NDArray[np.float32]) -> list[HardPair]:
    """Synthetic images that come nearest to known people, each with the image that it resembles, nearest first."""
    closest = np.argsort(-nearest, kind="stable")[:HARDEST]
    resembled = CosineMatcher().matrix(synthetic[torch.from_numpy(closest)], known).argmax(axis=1)
    return [
        HardPair(int(image), len(synthetic) + int(real), float(nearest[image]))
        for image, real in zip(closest, resembled, strict=True)
    ]
