"""Made-up faces, as coded by a random projection, and made-up results of attacks on their templates."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from src.eval.protection.attacks import Attacks
from src.eval.protection.faces import CodedFaces
from src.eval.score import BenchmarkScore, Collisions, Linkability, ProtectionCurves, Renewal, ScoreCurves
from src.ops.hashing import RankHash

LIGHT = Attacks(keys=4, key_pairs=5, pairs=2000, inverted=10, records=(1, 2))


def projection(m: int = 64, q: int = 8, d: int = 64, seed: int = 100) -> RankHash:
    """Normally distributed weights, no bias."""
    generator = torch.Generator().manual_seed(seed)
    return RankHash(torch.randn(m * q, d, generator=generator), torch.zeros(m * q), q)


@cache
def coded_faces(
    people: int = 40, images: int = 5, m: int = 64, q: int = 8, d: int = 64, cosine: float = 0.6, mean: float = 0.0
) -> CodedFaces:
    """Images of a person have embeddings of that ``cosine``; ``mean`` is the share of what all faces have in common."""
    generator = torch.Generator().manual_seed(people)
    labels = torch.arange(people).repeat_interleave(images)
    own = torch.randn(people, d, generator=generator)[labels]
    common, noise = torch.randn(1, d, generator=generator), torch.randn(len(labels), d, generator=generator)
    x = mean**0.5 * common + (1 - mean) ** 0.5 * (cosine**0.5 * own + (1 - cosine) ** 0.5 * noise)
    rank_hash = projection(m, q, d)
    return CodedFaces(x, rank_hash.codes(x).numpy(), labels.numpy(), rank_hash)


def pairs_of_cosine(count: int, cosine: float, d: int = 512, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two embeddings [count, d] of each of ``count`` people, as alike as ``cosine`` says."""
    generator = torch.Generator().manual_seed(seed)
    first, noise = torch.randn(2, count, d, generator=generator)
    return first, cosine * first + (1 - cosine**2) ** 0.5 * noise


def protection_score(linked: float, **privacy: float) -> BenchmarkScore:
    """Of an analysis in which templates alone link people by ``linked``; further metrics by name."""
    metrics = dict.fromkeys(Attacks().metric_names, 0.25)
    metrics |= {"dsys_identifier": linked, "dsys_chance": 0.01, "renewed_passes": 1.0, "renewed_equal": 1.0}
    edges = np.linspace(0.0, 0.5, 51)
    scores = np.random.default_rng(0).binomial(512, 0.125, (3, 1000)) / 512
    mated, others, renewed = (np.histogram(row, edges)[0].tolist() for row in scores)
    curves = ProtectionCurves(
        [
            Linkability(key, score, linked, 0.01, edges.tolist(), mated, others)
            for key in ("identifier", "stores", "lut_shared")
            for score in ("match", "relabelled")
        ],
        Renewal(edges.tolist(), mated, others, renewed),
        Collisions(([-1.0, 0.0, 1.0], [0.0, 0.125, 1.0]), [0.0, 0.6], [0.126, 0.389], [0.125, 0.42]),
    )
    return BenchmarkScore({}, {}, ScoreCurves(protection=curves), metrics | privacy)
