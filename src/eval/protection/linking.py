"""Can two templates of one face be linked? By kind of key and by attacker (Gomez-Barrero et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.eval.protection.faces import CodedFaces, Comparison
from src.eval.protection.keys import KEY_TYPES, KeyType
from src.eval.protection.scores import LinkScore, link_scores
from src.eval.score import Linkability
from src.eval.unlinkability import Integral, d_sys, null_bias

__all__ = ["LinkSettings", "link", "link_metric_names", "link_metrics"]

Array = NDArray[np.float64]
Codes = NDArray[np.uint8]

Score = Callable[[Codes, Codes], Array]


@dataclass(frozen=True)
class LinkSettings:
    """How linkability is measured.

    Attributes:
        keys: Number of keys of each kind.
        bins: See `src.eval.unlinkability.d_sys`.
        integral: See there.
        seed: Of the keys.
    """

    keys: int
    bins: int | None
    integral: Integral
    seed: int


def link(faces: CodedFaces, key_type: KeyType, plan: Sequence[Comparison], settings: LinkSettings) -> list[Linkability]:
    """Compare templates under different keys, by every score that suits the kind.

    Args:
        faces: Whose templates are made.
        key_type: What differs between them.
        plan: What is compared.
        settings: Number of keys, and how the scores are judged.
    """
    templates = key_type.templates(faces, settings.keys, settings.seed)
    scores = link_scores(faces.q)
    return [_judge(key_type.name, name, *_compare(templates, plan, scores[name]), settings) for name in key_type.scores]


def link_metrics(found: Sequence[Linkability]) -> dict[str, float]:
    """D_sys by kind of key and score, and ``dsys_chance``, the largest value that chance alone gives any of them."""
    return {_name(one.key, one.score): one.d_sys for one in found} | {"dsys_chance": max(one.chance for one in found)}


def link_metric_names() -> tuple[str, ...]:
    """Names of the metrics that `link_metrics` gives."""
    return (*(_name(key_type.name, score) for key_type in KEY_TYPES for score in key_type.scores), "dsys_chance")


def _name(key: str, score: str) -> str:
    return f"dsys_{key}" if score == "match" else f"dsys_{key}_{score}"


def _compare(templates: Sequence[Codes], plan: Sequence[Comparison], score: Score) -> tuple[Array, Array]:
    mated = [score(templates[c.a][c.mated.first], templates[c.b][c.mated.second]) for c in plan]
    others = [score(templates[c.a][c.non_mated.first], templates[c.b][c.non_mated.second]) for c in plan]
    return np.concatenate(mated), np.concatenate(others)


def _judge(key: str, score: LinkScore, mated: Array, non_mated: Array, settings: LinkSettings) -> Linkability:
    found = d_sys(mated, non_mated, bins=settings.bins, integral=settings.integral)
    return Linkability(
        key=key,
        score=score,
        d_sys=found.d_sys,
        chance=null_bias(mated, non_mated, bins=settings.bins, integral=settings.integral),
        edges=found.edges.tolist(),
        mated=found.mated.tolist(),
        non_mated=found.non_mated.tolist(),
    )
