from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from support_ijb import write_ijb

from src.apps.overrides import check
from src.errors import UserError
from src.eval.template_benchmark import TemplateBenchmark
from src.eval.template_benchmarks import ijb, tinyface, ytf


def photograph(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((112, 112, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def score(benchmark: TemplateBenchmark, embeddings: torch.Tensor) -> dict[str, float]:
    benchmark.check()
    collector = benchmark.collector()
    collector.add(torch.arange(len(benchmark.images())), embeddings, embeddings)
    metrics = benchmark.score(collector.collect()).metrics
    assert tuple(metrics) == benchmark.metric_names
    return metrics


@pytest.mark.parametrize("release", ["ijbb", "ijbc"])
def test_ijb(tmp_path: Path, release: str) -> None:
    root = write_ijb(tmp_path / release, photograph(100), release)
    benchmark = ijb(root, 16, release, cache=tmp_path / "cache")  # type: ignore[arg-type]
    right = score(benchmark, torch.eye(2)[[0, 0, 0, 0, 0, 1, 1, 1]])
    assert (right["auc"], right["rank1"], right["tpir@1e-1"], right["N0D0F0/rank1"]) == (1, 1, 1, 1)
    wrong = score(benchmark, torch.eye(2)[[1, 1, 0, 0, 0, 1, 0, 0]])
    assert (wrong["auc"], wrong["N0D0F0/tpir@1e-1"]) == (0, 0)
    assert float(benchmark.images()[7]["image"].float().mean()) == pytest.approx(100, abs=2)
    assert (tmp_path / "cache").is_dir()


def test_tinyface(tmp_path: Path) -> None:
    files = [
        "Gallery_Distractor/x.jpg",
        "Gallery_Match/5_2.jpg",
        "Gallery_Match/6_1.jpg",
        "Probe/5_1.jpg",
        "Probe/6_7.jpg",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photograph(7))
    benchmark = tinyface(tmp_path, 16)
    # The images are the probes, then the matches, then the distractors.
    metrics = score(benchmark, torch.tensor([[1.0, 0], [1, 1], [1, 0.1], [0.1, 1], [1, 0.9]]))
    assert metrics == {"rank1": 0.5, "rank5": 1.0, "rank10": 1.0, "unaligned": 0.0}


def test_ytf(tmp_path: Path) -> None:
    lines = ["split, pair, first, second, same"]
    for split in (1, 2):
        lines += [f"{split}, 1, A/0, A/1, 1", f"{split}, 2, A/0, B/0, 0"]
    (tmp_path / "splits.txt").write_text("\n".join(lines))
    for video in ("A/0", "A/1", "B/0"):
        folder = tmp_path / "aligned_images_DB" / video
        folder.mkdir(parents=True)
        for frame in (1, 2):
            (folder / f"{frame}.jpg").write_bytes(photograph(7))
    # By the sum of unit vectors A/0 and A/1 are near; with the norms kept B/0 would be nearer to A/0.
    embeddings = torch.tensor([[9.0, 0], [0, 1], [1, 0], [0, 1], [9, 0], [9, 1]])
    metrics = score(ytf(tmp_path, 16), embeddings)
    assert (metrics["accuracy"], metrics["auc"], metrics["eer"]) == (1, 1, 0)
    assert score(ytf(tmp_path, 16, keep_norm=True), embeddings)["auc"] == 0


def test_missing_files_are_named(tmp_path: Path) -> None:
    expected = {
        r"missing meta/ijbc_face_tid_mid\.txt, .*loose_crop$": ijb(tmp_path, 16, "ijbc"),
        "no images in Probe, Gallery_Match, Gallery_Distractor": tinyface(tmp_path, 16),
        r"splits\.txt: cannot be read": ytf(tmp_path, 16),
    }
    for message, benchmark in expected.items():
        with pytest.raises(UserError, match=message):
            benchmark.check()


def test_configs() -> None:
    config = check("eval", ["experiment=arcface", "benchmark=[ijbb,ijbc,tinyface,ytf]", "benchmark.ijbc.flip=false"])
    benchmarks = instantiate(config.benchmark)
    combinations = {name: benchmark.combinations for name, benchmark in benchmarks.items()}
    assert [len(flags) for flags in combinations.values()] == [8, 4, 1, 1]
    names = {name: flags[0].name for name, flags in combinations.items()}
    assert names == {"ijbb": "N1D1F1", "ijbc": "N1D1F0", "tinyface": "N1D1F1", "ytf": "N0D1F1"}
    with pytest.raises(UserError, match=r"IJBB: missing meta/ijbb_face_tid_mid\.txt"):
        benchmarks["ijbb"].check()
