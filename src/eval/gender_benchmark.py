"""Verification of pairs together with an attack that guesses gender from templates (Rezgui et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.datamodules.evaluation_images import EvaluationImages, ImageSource, first_copies
from src.datamodules.gender_sets import GenderSet, read_gender_bin
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError
from src.eval import per_gender
from src.eval.benchmark import Flip, VerificationBenchmark, fingerprint
from src.eval.collector import Collected, EmbeddingCollector, check_count
from src.eval.embedding_matching import CosineMatcher
from src.eval.gender import AttackResult, mean_of_standard
from src.eval.gender_attack import GenderAttack
from src.eval.gender_attackers import STANDARD, AttackerName, Progress, check_attackers, prefixed
from src.eval.gender_projection import project
from src.eval.matching import Matcher
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated
from src.eval.trade_off import TRADE_OFF, privacy_identity_coefficient, trade_off

__all__ = ["MAX_SAMPLES", "GenderBenchmark", "gender_bin"]

MAX_SAMPLES = 20_000
"""Faces that are attacked at most by default: all of LFW and of AgeDB, in a minute and 3 GB."""


class GenderBenchmark(VerificationBenchmark):
    """Verification, and how well gender can be told from the same embeddings.

    What is verified is told by `VerificationBenchmark`; what is attacked is the embedding of a face without its mirror
    image. Attackers learn from templates like those they attack, of other people, in subject-disjoint folds; given
    what was evaluated before protection, others learn from that (naive), and given further sets, from each of them.

    Args:
        reader: Reads the set.
        size: Side of the images that the network takes, in pixels.
        flip: What is verified, see `VerificationBenchmark`.
        attackers: See `src.eval.gender_attackers.AttackerName`.
        folds: Number of folds of the attack.
        max_samples: At most so many faces are attacked, see `src.eval.gender_folds.choose_faces`; None for all.
        in_domain: Whether the method is trained on images of this set; reported as 1 or 0.

    Raises:
        UserError: An argument has none of the values it may have.
    """

    def __init__(
        self,
        reader: Callable[[], GenderSet],
        size: int = 112,
        flip: Flip = "sum",
        *,
        attackers: Sequence[AttackerName] = STANDARD,
        folds: int = 3,
        max_samples: int | None = MAX_SAMPLES,
        in_domain: bool = False,
    ) -> None:
        super().__init__(self._read_pairs, size, flip)
        check_attackers(attackers)
        if max_samples is not None and max_samples < 2 * folds:
            raise UserError(
                f"max_samples: expected at least {2 * folds} for {folds} folds, or null; found {max_samples}"
            )
        self.set_reader = reader
        self.attackers = tuple(attackers)
        self.folds = folds
        self.max_samples = max_samples
        self.in_domain = in_domain

    @cached_property
    def gender_set(self) -> GenderSet:
        """The set; its files are read once, when first needed, and its images decoded one by one later."""
        return self.set_reader()

    def _read_pairs(self) -> VerificationSet:
        return self.gender_set.pairs

    @cached_property
    def attack(self) -> GenderAttack | None:
        """Attacks on the faces; None if the set has none.

        Raises:
            UserError: There are too few people of a gender; the set is named.
        """
        if self.gender_set.faces is None:
            return None
        try:
            return GenderAttack(self.gender_set.faces, self.attackers, self.folds, self.max_samples)
        except UserError as error:
            raise UserError(f"{self.gender_set.name}: {error}") from error

    def check(self) -> None:
        """Read everything but the pixels, so that mistakes show before long work.

        Raises:
            UserError: Files are missing or malformed, or there are too few people of a gender.
        """
        _ = self.attack

    def images(self) -> EvaluationImages:
        """Images to embed; those of pair i are number 2i and 2i + 1, after them come the faces to attack."""
        return EvaluationImages(self._sources, self.size, self.copy_of)

    @cached_property
    def copy_of(self) -> NDArray[np.int64]:
        """For each image the first one with the same pixels, which alone is embedded, int64 [2P + G]."""
        return first_copies(self._sources)

    @property
    def _sources(self) -> list[ImageSource]:
        faces = self.gender_set.faces
        return [*self.pairs.images, *([] if faces is None else faces.images)]

    @property
    def fingerprint(self) -> str:
        """Hex digest of the images as they reach the network."""
        return fingerprint(self.size, self.gender_set.fingerprint)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` and `privacy` give, but for ``bacc_cross@NAME`` of other sets.

        The trade-off and ``bacc_naive`` are known only if the embeddings before protection are.
        """
        names = (*super().metric_names, "eer_folds")
        if self.gender_set.faces is not None:
            own = ("bacc", *(f"bacc_{name}" for name in self.attackers))
            names += (*own, "attack_accuracy", "leakage", "attacker_auc", "v_information", "in_domain")
            names += (*TRADE_OFF, "pic_folds", "bacc_naive")
        return names if self.gender_set.pair_attributes is None else (*names, *per_gender.metric_names())

    def collector(self, alphabet: int | None = None) -> EmbeddingCollector:
        """Collector of the embeddings of one extraction.

        Raises:
            UserError: Codes are evaluated, whose symbols are names: the attackers learn from numbers.
        """
        if alphabet is not None:
            raise UserError(
                f"{self.gender_set.name}: gender is guessed from embeddings, not from codes; leave this benchmark out"
            )
        return super().collector()

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the embeddings of the pairs, see `VerificationBenchmark.score`.

        Returns:
            Its metrics and ``eer_folds``, the equal error rate of the mean ROC over the folds; as privacy metrics, if
            the genders of the pairs are known, error rates by gender.
        """
        check_count(collected, len(self.images()), self.gender_set.name)
        matcher = matcher or CosineMatcher()
        pairs = {view: embeddings[: len(self.pairs.images)] for view, embeddings in collected.items()}
        result = self._verify(pairs, self.flip, matcher)
        score = self._describe(result, pairs, resamples, matcher)
        attributes = self.gender_set.pair_attributes
        return replace(
            score,
            metrics=score.metrics | {"eer_folds": result.folds.eer},
            privacy={} if attributes is None else per_gender.verify_per_gender(result, attributes),
        )

    def privacy(
        self,
        name: str,
        benchmarks: Mapping[str, Any],
        evaluated: Evaluated,
        *,
        unprotected: Evaluated | None = None,
        resamples: int = 0,
        on_progress: Progress = None,
    ) -> BenchmarkScore:
        """Attack the embeddings of the faces, see `src.eval.scoring.PrivacyBenchmark`.

        Returns:
            The score of ``evaluated`` with the privacy metrics of `metric_names`, an interval of ``bacc`` and the
            projection; unchanged if the set has no faces to attack.
        """
        score = evaluated.scores[name]
        if self.attack is None:
            return score
        templates = self._templates(evaluated.collected[name])
        result = self.attack.adaptive(templates, prefixed(f"{name}: ", on_progress))
        values = _attack_metrics(result) | {"in_domain": float(self.in_domain)}
        if unprotected is not None:
            before = unprotected.scores[name]
            baccs = (before.privacy["bacc"], values["bacc"])
            values |= trade_off(before.metrics["eer"], score.metrics["eer"], *baccs)
            # The grid of thresholds of the reference is coarse where all templates are alike.
            folds = (before.metrics["eer_folds"], score.metrics["eer_folds"])
            values["pic_folds"] = privacy_identity_coefficient(*folds, *baccs)
            values["bacc_naive"] = self.attack.naive(
                templates,
                self._templates(unprotected.collected[name]),
                unprotected,
                prefixed(f"{name}, before protection: ", on_progress),
            )
        for other, benchmark in benchmarks.items():
            if other != name and isinstance(benchmark, GenderBenchmark) and benchmark.attack is not None:
                visitors = benchmark.attack.visitors(
                    benchmark._templates(evaluated.collected[other]),
                    evaluated,
                    prefixed(f"{other}, to attack others: ", on_progress),
                )
                values[f"bacc_cross@{other}"] = self.attack.cross(templates, visitors)
        measured = resamples and not math.isnan(values["bacc"])
        return replace(
            score,
            privacy=values | score.privacy,
            intervals=score.intervals | ({"bacc": result.interval(resamples)} if measured else {}),
            curves=replace(score.curves, projection=project(templates, result)),
        )

    def _templates(self, collected: Collected) -> Tensor:
        """float64 [G, D] unit templates of the faces."""
        return F.normalize(collected["original"][len(self.pairs.images) :].double())


def gender_bin(
    path: Path | str,
    size: int,
    flip: Flip = "sum",
    pair_folds: int = 10,
    gender_codes: Mapping[int | str, int] | None = None,
    attackers: Sequence[AttackerName] = STANDARD,
    folds: int = 3,
    max_samples: int | None = MAX_SAMPLES,
    in_domain: bool = False,
) -> GenderBenchmark:
    """Sets as Rezgui et al. (2024) pack them: pairs, and faces with subjects and genders, in one ``.bin``.

    Args:
        path: The file.
        size: Side of the images that the network takes, in pixels.
        flip: See `VerificationBenchmark`.
        pair_folds: Number of contiguous folds of the pairs.
        gender_codes: What the file's genders stand for, see `read_gender_bin`.
        attackers: See `GenderBenchmark`.
        folds: Number of folds of the attack.
        max_samples: See `GenderBenchmark`.
        in_domain: See `GenderBenchmark`.
    """
    return GenderBenchmark(
        partial(read_gender_bin, path, folds=pair_folds, gender_codes=gender_codes),
        size,
        flip,
        attackers=attackers,
        folds=folds,
        max_samples=max_samples,
        in_domain=in_domain,
    )


def _attack_metrics(result: AttackResult) -> dict[str, float]:
    by_attacker = result.balanced_accuracies
    mean = mean_of_standard(by_attacker)
    return {
        "bacc": mean,
        **{f"bacc_{name}": value for name, value in by_attacker.items()},
        "attack_accuracy": mean_of_standard(result.accuracies),
        "leakage": 2 * mean - 1,
        "attacker_auc": result.auc,
        "v_information": result.v_information,
    }
