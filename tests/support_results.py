"""Made-up results of a pair set and of a template set, with every curve that a report draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from src.eval.results import Results
from src.eval.score import BenchmarkScore, HardPair, Projection, ScoreCurves, ScoreHistogram


class Noise(torch.utils.data.Dataset):
    """Images as a benchmark yields them."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        return {"image": torch.randint(256, (24, 24, 3), generator=generator).byte(), "index": index}


def verification_score(separation: float) -> BenchmarkScore:
    """2,000 pairs; genuine similarities lie ``separation`` above the impostors'."""
    curves, accuracies = _curves(separation, 1000), np.linspace(0.02, -0.02, 10)
    accuracies = np.clip(0.5 + separation / 2 + accuracies, 0, 1)
    metrics = {
        "accuracy": float(accuracies.mean()),
        "accuracy_std": float(accuracies.std()),
        "threshold": 1.25,
        "auc": 0.5 + separation / 2.1,
        "tar@1e-3": float("nan"),
        "tar@1e-2": separation,
        "far@1e-2": 0.0102,
        "embedding_norm": 21.25,
    }
    intervals = {"accuracy": (metrics["accuracy"] - 0.01, metrics["accuracy"] + 0.01)}
    return BenchmarkScore(metrics, intervals, ScoreCurves(fold_accuracies=accuracies.tolist(), **curves))


def template_score(separation: float) -> BenchmarkScore:
    """Templates of IJB's kind, with flag combinations and searches."""
    rates = {f"tar@1e-{n}": separation ** (n / 3) for n in range(1, 6)}
    metrics = {"tar@1e-6": float("nan"), **rates, "rank1": 0.9 * separation, "rank5": separation, "tpir@1e-2": 0.5}
    for code in ("N0D0F0", "N0D1F1", "N1D1F1"):
        metrics |= {f"{code}/{name}": 0.99 * rate for name, rate in rates.items()}
    ranks = np.arange(1, 51)
    fpir = np.geomspace(1e-3, 1, 60)
    curves = ScoreCurves(
        open_set=(fpir.tolist(), (separation * fpir**0.05).tolist()),
        cmc=(1 - (1 - 0.9 * separation) / ranks**0.5).tolist(),
        **_curves(separation, 50_000),
    )
    return BenchmarkScore(metrics, {"rank1": (0.8 * separation, 0.95 * separation)}, curves)


def gender_score(separation: float, bacc: float, **privacy: float) -> BenchmarkScore:
    """Of 2,000 pairs and an attack that guesses the gender of 200 faces; further privacy metrics by name."""
    score = verification_score(separation)
    rng = np.random.default_rng(0)
    attribute = np.arange(200) % 2
    decision = rng.standard_normal(200) + 4 * (bacc - 0.5) * (2 * attribute - 1)
    projection = Projection(decision.tolist(), rng.standard_normal(200).tolist(), attribute.tolist())
    return replace(
        score,
        metrics=score.metrics
        | {"eer": (1 - separation) / 2, "eer_folds": (1 - separation) / 2, "val@1e-3": separation / 2},
        intervals=score.intervals | {"bacc": (bacc - 0.02, bacc + 0.02)},
        curves=replace(score.curves, projection=projection),
        privacy={"bacc": bacc, "bacc_logreg": bacc, "leakage": 2 * bacc - 1, "in_domain": 0.0, **privacy},
    )


def results(
    label: str, separation: float, privacy: dict[str, dict[str, float]] | None = None, **changes: object
) -> Results:
    """A row of three benchmarks, and of further ones that measure privacy only."""
    values: dict = {
        "experiment": "demo",
        "label": label,
        "checkpoint": f"runs/demo/checkpoints/{label}.ckpt",
        "seconds": 8.5,
        "environment": {"python": "3.11.7", "device": "cpu", "commit": None, "config_hash": label * 8},
        "scores": {
            "lfw": verification_score(separation),
            "cfp_fp": verification_score(0.9 * separation),
            "ijbc": template_score(0.95 * separation),
        },
    }
    row = Results(**(values | changes))
    measured = {name: BenchmarkScore({}, privacy=metrics) for name, metrics in (privacy or {}).items()}
    return replace(row, scores=row.scores | measured)


def _curves(separation: float, count: int) -> dict:
    rng = np.random.default_rng(0)
    impostor = np.sort(rng.normal(0.0, 0.25, count))[::-1]
    genuine = rng.normal(separation, 0.25, count)
    edges = np.linspace(-1.2, 2.2, 61)
    corners = np.unique(np.geomspace(1, count, 200).astype(int))
    return {
        "roc": (
            [0.0, *(corners / count).tolist()],
            [0.0, *((genuine[:, None] > impostor[corners - 1]).mean(axis=0)).tolist()],
        ),
        "histogram": ScoreHistogram(
            edges.tolist(),
            np.histogram(genuine, edges)[0].tolist(),
            np.histogram(impostor, edges)[0].tolist(),
            threshold=separation / 2,
        ),
        "false_matches": [HardPair(2 * i, 2 * i + 1, float(impostor[i])) for i in range(12)],
        "false_non_matches": [HardPair(2 * i, 39 - i, score) for i, score in enumerate(np.sort(genuine)[:5].tolist())],
    }
