"""Benchmarks: images in, embeddings back, metrics out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch

from src.datamodules.verification_sets import VerificationImages, VerificationSet
from src.errors import UserError, check_choice
from src.eval.embedding import Embeddings
from src.eval.operating_points import Curves
from src.eval.verification import FARS, VerificationResult, verify

__all__ = ["BenchmarkScore", "Flip", "VerificationBenchmark"]

Flip = Literal["sum", "concat", "none"]


@dataclass(frozen=True)
class BenchmarkScore:
    """What a benchmark makes of embeddings.

    Attributes:
        metrics: Numbers by name; rates are fractions of 1, NaN means that the set is too small for the metric.
        curves: Scores and ROC for figures; None where they were not kept, as in a results file.
    """

    metrics: dict[str, float]
    curves: Curves | None = None


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
        try:
            _ = self.pairs
        except UserError as error:
            raise UserError(
                f"{error}\nThe section Benchmarks of README.md tells where each set comes from and which files it "
                "needs. To leave a set out, list the others: benchmark=[lfw,...]"
            ) from error

    def images(self) -> VerificationImages:
        """Images to embed: ``image`` float32 [3, size, size] in [-1, 1] and ``index``."""
        return VerificationImages(self.pairs, self.size)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` gives."""
        names = ["accuracy", "accuracy_std", "accuracy_stderr", "threshold", "eer", "auc"]
        names += ["val@1e-3", "val_std@1e-3", "val_far@1e-3"]
        names += [f"{rate}@{_exponent(far)}" for far in FARS for rate in ("tar", "far", "tar_strict")]
        return (*names, "embedding_norm") if self.flip == "none" else (*names, "embedding_norm", "accuracy_noflip")

    def score(self, embeddings: Embeddings) -> BenchmarkScore:
        """Judge the embeddings of all images.

        Args:
            embeddings: Raw; with mirror images unless ``flip`` is ``"none"``.

        Returns:
            The metrics `metric_names`, and curves.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        if len(embeddings) != len(self.pairs.images):
            raise UserError(
                f"{self.pairs.name}: {len(embeddings)} embeddings for {len(self.pairs.images)} images; "
                "validate on all batches (trainer.limit_val_batches=1.0)"
            )
        result = self._verify(self._compared(embeddings))
        views = [view for view in (embeddings.original, embeddings.flipped) if view is not None]
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
            "embedding_norm": float(torch.cat(views).double().norm(dim=1).mean()),
        }
        for point in result.operating_points:
            far = _exponent(point.far_target)
            values |= {f"tar@{far}": point.tar, f"far@{far}": point.far, f"tar_strict@{far}": point.tar_strict}
        if self.flip != "none":
            values["accuracy_noflip"] = self._verify(embeddings.original).accuracy
        return BenchmarkScore({name: values[name] for name in self.metric_names}, result.curves)

    def _compared(self, embeddings: Embeddings) -> torch.Tensor:
        if self.flip == "none":
            return embeddings.original
        if embeddings.flipped is None:
            raise UserError(f"{self.pairs.name}: flip={self.flip} needs embeddings of the mirror images too")
        original, flipped = embeddings.original.double(), embeddings.flipped.double()
        return original + flipped if self.flip == "sum" else torch.cat([original, flipped], dim=1)

    def _verify(self, embeddings: torch.Tensor) -> VerificationResult:
        return verify(embeddings[0::2], embeddings[1::2], self.pairs.same, self.pairs.folds)


def _exponent(rate: float) -> str:
    """``1e-3`` for 0.001."""
    return f"{rate:.0e}".replace("e-0", "e-")
