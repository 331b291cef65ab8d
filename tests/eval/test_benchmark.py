from __future__ import annotations

import io
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.datamodules.verification_sets import VerificationSet, read_bin, write_bin
from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.embedding import Embeddings
from src.eval.verification import verify

SAME = np.tile([True, False], 20)


def random_embeddings(seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.randn(40, 2, 8, generator=generator)
    faces[::2, 1] = faces[::2, 0]
    views = [(faces + 0.5 * torch.randn(40, 2, 8, generator=generator)).reshape(80, 8) for _ in range(2)]
    return Embeddings(views[0], 3 * views[1])


def benchmark_with(flip: str) -> VerificationBenchmark:
    return VerificationBenchmark(lambda: VerificationSet("toy", [None] * 80, SAME, 4), flip=flip)


def test_sum_adds_raw_embeddings_before_normalising() -> None:
    embeddings = random_embeddings()
    assert embeddings.flipped is not None
    score = benchmark_with("sum").score(embeddings)
    added = embeddings.original.double() + embeddings.flipped.double()
    expected = verify(added[0::2], added[1::2], SAME, 4)
    assert score.metrics["accuracy"] == expected.accuracy
    assert score.metrics["auc"] == expected.auc
    alone = verify(embeddings.original[0::2], embeddings.original[1::2], SAME, 4)
    assert score.metrics["accuracy_noflip"] == alone.accuracy
    norms = torch.cat([embeddings.original, embeddings.flipped]).norm(dim=1)
    assert score.metrics["embedding_norm"] == pytest.approx(norms.mean().item(), rel=1e-6)


def test_concat_compares_both_views() -> None:
    embeddings = random_embeddings()
    assert embeddings.flipped is not None
    both = torch.cat([embeddings.original, embeddings.flipped], dim=1)
    expected = verify(both[0::2], both[1::2], SAME, 4)
    assert benchmark_with("concat").score(embeddings).metrics["auc"] == expected.auc


def test_none_ignores_mirror_images() -> None:
    embeddings = random_embeddings()
    metrics = benchmark_with("none").score(Embeddings(embeddings.original)).metrics
    assert metrics["accuracy"] == verify(embeddings.original[0::2], embeddings.original[1::2], SAME, 4).accuracy
    assert "accuracy_noflip" not in metrics


@pytest.mark.parametrize("flip", ["sum", "concat", "none"])
def test_announces_the_metrics_it_gives(flip: str) -> None:
    benchmark = benchmark_with(flip)
    metrics = benchmark.score(random_embeddings()).metrics
    assert tuple(metrics) == benchmark.metric_names
    assert {"accuracy", "val@1e-3", "tar@1e-2", "far@1e-2", "tar_strict@1e-1"} <= set(metrics)
    assert math.isnan(metrics["tar@1e-3"])  # 20 impostor pairs cannot tell
    assert metrics["tar_strict@1e-1"] <= metrics["tar@1e-1"] or metrics["far@1e-1"] <= 0.1


def test_refuses_wrong_embeddings_and_settings() -> None:
    embeddings = random_embeddings()
    with pytest.raises(UserError, match="toy: 79 embeddings for 80 images"):
        benchmark_with("none").score(Embeddings(embeddings.original[:79]))
    with pytest.raises(UserError, match="toy: flip=sum needs embeddings of the mirror images"):
        benchmark_with("sum").score(Embeddings(embeddings.original))
    with pytest.raises(UserError, match=r"flip: expected .*found 'add'"):
        benchmark_with("add")


def test_reads_files_only_when_checked(tmp_path: Path) -> None:
    path = tmp_path / "agedb_30.bin"
    benchmark = VerificationBenchmark(partial(read_bin, path, folds=2), size=8)
    with pytest.raises(UserError, match=r"agedb_30\.bin(?s:.*)README\.md(?s:.*)benchmark="):
        benchmark.check()
    images = []
    for shade in range(8):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (shade * 30,) * 3).save(buffer, "PNG")
        images.append(buffer.getvalue())
    write_bin(path, images, [True, False, True, False])
    benchmark.check()
    item = benchmark.images()[7]
    assert item["index"] == 7
    assert item["image"].shape == (3, 8, 8)
    assert item["image"].unique().tolist() == pytest.approx([210 / 127.5 - 1], abs=1e-6)
