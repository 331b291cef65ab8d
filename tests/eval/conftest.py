from __future__ import annotations

import numpy as np
import pytest
import torch

from src.datamodules.verification_sets import VerificationSet
from src.eval.benchmark import VerificationBenchmark
from src.eval.results import Results
from src.eval.score import BenchmarkScore
from tests.support import unread_images


def score_of_noise(name: str, noise: float) -> BenchmarkScore:
    """Score of random embeddings whose genuine pairs differ by ``noise``."""
    rng = np.random.default_rng(0)
    same = np.tile([True, False], 100)
    faces = rng.standard_normal((200, 2, 8))
    faces[same, 1] = faces[same, 0]
    original, flipped = (
        torch.tensor((faces + noise * rng.standard_normal(faces.shape)).reshape(400, 8), dtype=torch.float32)
        for _ in range(2)
    )
    benchmark = VerificationBenchmark(lambda: VerificationSet(name, unread_images(400), same))
    return benchmark.score({"original": original, "flipped": flipped}, resamples=100)


def _privacy(**metrics: float) -> dict[str, BenchmarkScore]:
    return {"gender": BenchmarkScore({}, privacy=metrics)}


@pytest.fixture(scope="session")
def untrained_and_trained() -> list[Results]:
    """Two runs on two benchmarks, the second one with a privacy evaluation."""
    environment = {"python": "3.11", "commit": None}
    return [
        Results(
            experiment="demo",
            label=label,
            checkpoint=checkpoint,
            seconds=1.5,
            environment=environment,
            scores={name: score_of_noise(name, noise) for name in ("lfw", "cfp_fp")} | privacy,
        )
        for label, checkpoint, noise, privacy in (
            ("untrained", None, 2.0, {}),
            ("trained", "checkpoints/best.ckpt", 0.4, _privacy(attack_accuracy=0.53, gap=float("nan"))),
        )
    ]
