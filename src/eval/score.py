"""What a benchmark makes of embeddings: numbers, their uncertainty, and what a report draws."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "BenchmarkScore",
    "Collisions",
    "HardPair",
    "Linkability",
    "Projection",
    "ProtectionCurves",
    "Renewal",
    "ScoreCurves",
    "ScoreHistogram",
]

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
class Linkability:
    """Whether protected templates of one person can be told from those of two, see `src.eval.unlinkability`.

    Attributes:
        key: What differs between two templates, see `src.eval.protection.keys.KEY_TYPES`.
        score: How they are compared, see `src.eval.protection.scores.LinkScore`.
        d_sys: 0 for no link at all, 1 where everyone is linked.
        chance: What the same scores give when their labels are shuffled.
        edges: [B + 1] ascending scores.
        mated: [B] number of comparisons of one person's templates in each bin.
        non_mated: [B] number of comparisons of different people's.
    """

    key: str
    score: str
    d_sys: float
    chance: float
    edges: list[float]
    mated: list[int]
    non_mated: list[int]


@dataclass(frozen=True)
class Renewal:
    """Scores of probes against templates, and against templates whose identifier was renewed.

    Attributes:
        edges: [B + 1] ascending shares of equal symbols.
        genuine: [B] number of comparisons with the same person's template.
        impostor: [B] with another person's.
        renewed: [B] with the same person's template, by an identifier drawn after it was made.
    """

    edges: list[float]
    genuine: list[int]
    impostor: list[int]
    renewed: list[int]


@dataclass(frozen=True)
class Collisions:
    """Share of equal symbols of two codes over the cosine of the embeddings that they were made of.

    Attributes:
        law: Cosines, ascending, and what random projections give by theory.
        cosine: [n] ascending, mean of the pairs in a bin.
        projection: [n] what random projections give.
        code: [n] what the method's own projection gives.
    """

    law: Line
    cosine: list[float]
    projection: list[float]
    code: list[float]


@dataclass(frozen=True)
class ProtectionCurves:
    """What is drawn of an analysis of protected templates.

    Attributes:
        linkability: By key and score.
        renewal: Before and after identifiers are renewed.
        collisions: How much codes tell of embeddings.
    """

    linkability: list[Linkability]
    renewal: Renewal
    collisions: Collisions


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
        protection: Where protected templates were attacked.
        membership: Similarities of synthetic images to the nearest person who was trained on, in the place of genuine
            ones, and to the nearest of as many held-out people, in that of impostors.
    """

    roc: Line | None = None
    open_set: Line | None = None
    cmc: list[float] = field(default_factory=list)
    fold_accuracies: list[float] = field(default_factory=list)
    histogram: ScoreHistogram | None = None
    false_matches: list[HardPair] = field(default_factory=list)
    false_non_matches: list[HardPair] = field(default_factory=list)
    projection: Projection | None = None
    protection: ProtectionCurves | None = None
    membership: ScoreHistogram | None = None


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
