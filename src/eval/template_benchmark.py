"""Benchmarks of templates: IJB-B, IJB-C and sets of that kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from src.datamodules.evaluation_images import EvaluationImages
from src.datamodules.template_sets import TemplateSet
from src.eval.benchmark import fingerprint
from src.eval.code_pooling import CODES, CodeTemplateCollector
from src.eval.collector import Collected
from src.eval.embedding_matching import CosineMatcher
from src.eval.matching import Matcher
from src.eval.score import BenchmarkScore
from src.eval.template_pooling import COMBINATIONS, Combination, TemplateCollector, unit_templates
from src.eval.template_score import TemplateScore, judge, metric_names

__all__ = ["TemplateBenchmark"]


class TemplateBenchmark:
    """Verification and identification by templates.

    Embeddings are pooled while they stream by; only sums per template are kept. Metrics of the combination of flags
    that the arguments name have plain names; some are given for every combination, its name first: `N0D1F1/tar@1e-4`.
    Codes are pooled as `code_pooling` tells, where norms and detector scores mean nothing: only ``flip`` matters, and
    there are plain names only.

    Args:
        reader: Reads the set, e.g. `src.datamodules.ijb_files.read_ijb` with its arguments bound.
        size: Side of the images that the network takes, in pixels.
        keep_norm: Pool raw embeddings; otherwise each is scaled to length 1 first. See `Combination`.
        detector: Weight every image by its detector score.
        flip: Add the embedding of the mirror image; without it mirror images are never used.
        combinations: Report all combinations of these flags.
    """

    def __init__(
        self,
        reader: Callable[[], TemplateSet],
        size: int = 112,
        *,
        keep_norm: bool = True,
        detector: bool = True,
        flip: bool = True,
        combinations: bool = True,
    ) -> None:
        self.reader = reader
        self.size = size
        self.flip = flip
        headline = Combination(keep_norm, detector, flip)
        others = (other for other in COMBINATIONS if other != headline and (flip or not other.flip))
        self.combinations = (headline, *(others if combinations else ()))

    @cached_property
    def templates(self) -> TemplateSet:
        """The set; its files are read once, when first needed, and its images one by one later."""
        return self.reader()

    def check(self) -> None:
        """Read everything but the pixels, so that mistakes show before long work.

        Raises:
            UserError: Files or images are missing or malformed.
        """
        _ = self.templates

    def images(self) -> EvaluationImages:
        """Images to embed."""
        return EvaluationImages(self.templates.images, self.size)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the images as they reach the network, and of how they are pooled."""
        combinations = " ".join(combination.name for combination in self.combinations)
        return fingerprint(self.size, f"{self.templates.fingerprint} {combinations}")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` gives."""
        names = metric_names(self.templates)
        if len(self.combinations) == 1:
            return tuple(names)
        return (*names, *(f"{flags.name}/{name}" for flags in self.combinations for name in _short(names)))

    @property
    def needs_mirror_images(self) -> bool:
        """Whether embeddings of the mirror images are needed."""
        return self.flip

    def collector(self, alphabet: int | None = None) -> TemplateCollector | CodeTemplateCollector:
        """Collector of the embeddings of one extraction or, given their alphabet size, of codes."""
        templates = self.templates
        if alphabet is not None:
            return CodeTemplateCollector(templates.template, alphabet, self.flip, templates.name)
        return TemplateCollector(
            templates.template, templates.medium, templates.weight, self.combinations, templates.name
        )

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the templates.

        Args:
            collected: By `collector`: sums of each combination, float32 [T, D], or codes.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            matcher: Compares the templates; by default embeddings by their cosine.

        Returns:
            The metrics `metric_names`; intervals and curves of the first combination.
        """
        if CODES in collected:
            codes = collected[CODES].numpy()
            return judge(codes, self.templates, matcher or CosineMatcher()).score(resamples)
        headline, *others = self.combinations
        score = self._judge(collected, headline, matcher).score(resamples)
        metrics = dict(score.metrics)
        if others:
            by_flags = {headline: score.metrics}
            by_flags |= {other: self._judge(collected, other, matcher).metrics() for other in others}
            for flags, values in by_flags.items():
                metrics |= {f"{flags.name}/{name}": values[name] for name in _short(list(values))}
        return replace(score, metrics=metrics)

    def _judge(self, collected: Collected, combination: Combination, matcher: Matcher | None) -> TemplateScore:
        return judge(unit_templates(collected[combination.name].numpy()), self.templates, matcher)


def _short(names: list[str]) -> list[str]:
    """Names of the metrics that are given for each combination."""
    return [name for name in names if name == "rank1" or name.startswith(("tar", "tpir"))]
