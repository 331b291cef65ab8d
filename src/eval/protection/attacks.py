"""All attacks on the codes of some faces, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from src.errors import UserError, check_choice
from src.eval.protection.collision import collision_error, collisions
from src.eval.protection.faces import CodedFaces, ImagePairs, comparisons, draw_mated, draw_non_mated, joined
from src.eval.protection.guessing import GUESSING_METRICS, guessing
from src.eval.protection.inversion import InversionSettings, inversion_metric_names, invert
from src.eval.protection.keys import KEY_TYPES, fresh_projection
from src.eval.protection.linking import LinkSettings, link, link_metric_names, link_metrics
from src.eval.protection.operating import operating_scores
from src.eval.protection.renewal import RENEWAL_METRICS, renewal
from src.eval.score import Linkability, ProtectionCurves
from src.eval.unlinkability import RELIABLE, Integral
from src.ops.code_bits import plane_words

__all__ = ["Attacks", "Findings"]

_PROJECTIONS = 4  # that the collision law is tested with

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Findings:
    """What came of all attacks: ``metrics`` by name, and ``curves``."""

    metrics: dict[str, float]
    curves: ProtectionCurves


@dataclass(frozen=True)
class Attacks:
    """How thoroughly codes are attacked.

    Attributes:
        keys: Number of keys of each kind that templates are made under.
        key_pairs: So many of all pairs of keys are compared.
        pairs: Number of comparisons of one person's templates, and of different people's; of the former there are fewer
            if images are few.
        bins: Of the histograms that linkability is measured by; None: a tenth of the comparisons, at most 100.
        integral: How linkability is integrated, see `src.eval.unlinkability.d_sys`.
        inverted: At most so many people's codes are inverted.
        records: Numbers of codes of a face, by known projections, that are inverted together.
        seed: Of all keys and draws.

    Raises:
        UserError: An attribute has none of the values it may have.
    """

    keys: int = 20
    key_pairs: int = 50
    pairs: int = 50_000
    bins: int | None = None
    integral: Integral = "sum"
    inverted: int = 100
    records: Sequence[int] = (1, 2, 4, 8)
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("integral", self.integral, get_args(Integral))
        for name, value, least in (
            *(("keys", self.keys, 2), ("key_pairs", self.key_pairs, 1), ("pairs", self.pairs, 1000)),
            *(("inverted", self.inverted, 1), ("records", min(self.records, default=0), 1), ("seed", self.seed, 0)),
        ):
            if value < least:
                raise UserError(f"{name}: expected at least {least}, found {value}")
        possible = self.keys * (self.keys - 1) // 2
        if self.key_pairs > possible:
            raise UserError(f"key_pairs: there are {possible} pairs of {self.keys} keys, found {self.key_pairs}")
        if self.bins is not None and self.bins < 2:
            raise UserError(f"bins: expected at least 2, or null; found {self.bins}")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that come of them."""
        names = (*link_metric_names(), *RENEWAL_METRICS, *inversion_metric_names(self.records))
        return (*names, *GUESSING_METRICS, "collision_error", "template_bytes")

    def run(self, faces: CodedFaces, pairs: ImagePairs, tell: Callable[[str], None] | None = None) -> Findings:
        """Attack.

        Args:
            faces: Their codes are enrolled.
            pairs: All pairs of images of one person, by `src.eval.protection.faces.mated_pairs`.
            tell: Told what is under way.
        """
        tell = tell or (lambda _: None)
        generator = np.random.default_rng(self.seed)
        mated = draw_mated(joined(pairs, pairs.swapped), self.pairs, generator)
        non_mated = draw_non_mated(faces.labels, self.pairs, generator)
        linked = self._link(faces, pairs, tell)
        plain = operating_scores(faces.codes, mated, non_mated)
        tell("renewing identifiers")
        renewed = renewal(faces, plain, mated, non_mated, self.seed, self.bins, self.integral)
        tell("inverting codes")
        settings = InversionSettings(self.inverted, self.records, self.seed + self.keys)
        inverted = invert(faces, plain, mated, non_mated, settings)
        tell("collisions of codes")
        hashes = [fresh_projection(faces.rank_hash, self.seed + number) for number in range(_PROJECTIONS)]
        codes = [hash_.codes(faces.embeddings).numpy() for hash_ in hashes]
        found = collisions(faces, codes, joined(mated, non_mated))
        metrics = link_metrics(linked) | renewed.metrics | inverted | guessing(faces, plain)
        metrics["collision_error"] = collision_error(found)
        metrics["template_bytes"] = float(8 * plane_words(faces.codes.shape[1], faces.q.bit_length() - 1))
        return Findings(
            {name: metrics[name] for name in self.metric_names}, ProtectionCurves(linked, renewed.curves, found)
        )

    def _link(self, faces: CodedFaces, pairs: ImagePairs, tell: Callable[[str], None]) -> list[Linkability]:
        plan = list(comparisons(faces.labels, pairs, self.keys, self.key_pairs, self.pairs, self.seed))
        count = sum(len(comparison.mated) for comparison in plan)
        if count < RELIABLE:
            log.warning(
                "D_sys of %d comparisons of one person's templates is too high by chance; it takes %d, so more images "
                "or more key_pairs",
                *(count, RELIABLE),
            )
        settings = LinkSettings(self.keys, self.bins, self.integral, self.seed)
        found = []
        for key_type in KEY_TYPES:
            tell(f"linking {key_type.title}")
            found += link(faces, key_type, plan, settings)
        return found
