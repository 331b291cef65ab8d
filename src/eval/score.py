"""What a benchmark makes of embeddings: numbers, their uncertainty, and what a report draws."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BenchmarkScore", "HardPair", "Projection", "ScoreCurves", "ScoreHistogram"]

Line = tuple[list[float], list[float]]


@dataclass(frozen=True)
class ScoreHistogram:
    """Histogram of similarities.

    Attributes:
        edges: [B + 1] ascending.
        genuine: [B] number of genuine comparisons in each bin.
        impostor: [B] number of impostor comparisons.
        threshold: Similarity from which on the benchmark accepts; None where it has no single one.
    """

    edges: list[float]
    genuine: list[int]
    impostor: list[int]
    threshold: float | None = None


@dataclass(frozen=True)
class HardPair:
    """A comparison that went wrong, or nearly did.

    Attributes:
        first: Number of an image in the benchmark's ``images()``.
        second: Number of the other image.
        score: Their similarity.
    """

    first: int
    second: int
    score: float


@dataclass(frozen=True)
class Projection:
    """Templates in the plane, so that one sees how well a gender attacker tells them apart.

    Attributes:
        decision: [n] value by which a linear attacker that never met these people decides, in standard deviations;
            male above 0.
        component: [n] first principal component of the templates.
        attribute: [n] gender: 0 female, 1 male.
    """

    decision: list[float]
    component: list[float]
    attribute: list[int]


@dataclass(frozen=True)
class ScoreCurves:
    """What a report draws of one benchmark; what does not apply is empty. All of it is plain JSON.

    Attributes:
        roc: False accept rates, ascending, and true accept rates; thinned to some hundreds of corners.
        open_set: False positive identification rates, ascending, and true positive identification rates.
        cmc: Identification rate at rank 1, 2, ...
        fold_accuracies: Accuracy on each fold.
        histogram: Of the similarities.
        false_matches: Impostor pairs with the highest similarity, hardest first.
        false_non_matches: Genuine pairs with the lowest similarity, hardest first.
        projection: Of templates, where gender was attacked.
    """

    roc: Line | None = None
    open_set: Line | None = None
    cmc: list[float] = field(default_factory=list)
    fold_accuracies: list[float] = field(default_factory=list)
    histogram: ScoreHistogram | None = None
    false_matches: list[HardPair] = field(default_factory=list)
    false_non_matches: list[HardPair] = field(default_factory=list)
    projection: Projection | None = None


@dataclass(frozen=True)
class BenchmarkScore:
    """What a benchmark makes of embeddings.

    Attributes:
        metrics: Numbers by name; rates are fractions of 1, NaN means that the set is too small for the metric.
        intervals: Bootstrap confidence interval, low and high, of some of the metrics.
        curves: For figures.
        privacy: What the embeddings give away about a person beside the identity, by name of metric; empty where the
            benchmark does not measure it.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: ScoreCurves = field(default_factory=ScoreCurves)
    privacy: dict[str, float] = field(default_factory=dict)
