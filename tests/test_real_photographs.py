"""On photographs of real people, where they are: PRIVFACE_REAL_DATA or ../shared/data/lfw-small."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sample import to_float
from src.datamodules.sources.class_folders import ClassFolders
from src.eval.verification_benchmarks import lfw
from src.models.networks.whitened_pca import WhitenedPCA

SIZE = 48


@pytest.fixture(scope="module")
def photographs() -> Path:
    folder = Path(os.environ.get("PRIVFACE_REAL_DATA", Path(__file__).parents[2] / "shared" / "data" / "lfw-small"))
    if not (folder / "pairs.txt").is_file():
        pytest.skip(f"no photographs at {folder}; set PRIVFACE_REAL_DATA to a folder with train/ and pairs.txt")
    return folder


def test_pairs_are_ten_folds_of_thirty_and_thirty(photographs: Path) -> None:
    pairs = lfw(photographs, SIZE).pairs
    assert pairs.folds == 10
    assert pairs.same.reshape(10, 60).sum(1).tolist() == [30] * 10


@pytest.mark.slow
def test_eigenfaces_of_aligned_faces_beat_chance_by_far(photographs: Path) -> None:
    source = ClassFolders(photographs / "train", landmarks=photographs / "landmarks.csv")
    assert (len(source), len(source.classes)) == (1565, 80)
    images = to_float(FaceDataset(source, size=SIZE, align=True).read(range(len(source)))["image"])
    network = WhitenedPCA(128, SIZE)
    network.fit(images.numpy())

    benchmark = lfw(photographs, SIZE)
    probes = to_float(torch.cat([batch["image"] for batch in DataLoader(benchmark.images(), batch_size=256)]))
    metrics = benchmark.score({"original": network(probes), "flipped": network(probes.flip(-1))}).metrics
    assert 0.68 < metrics["accuracy"] < 0.78
    assert np.isclose(metrics["accuracy_stderr"] * np.sqrt(9), metrics["accuracy_std"])
