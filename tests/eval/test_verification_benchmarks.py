from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.datamodules.verification_sets import write_bin
from src.errors import UserError
from src.eval.verification_benchmarks import bin_file, calfw, lfw

SAME = [True, False, True, False]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Persons a and b with two plain grey images each, and the same four pairs in every format."""
    for level, stem in enumerate(("a_0001", "a_0002", "b_0001", "b_0002")):
        path = tmp_path / stem[0] / f"{stem}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((112, 112, 3), 40 * level, np.uint8)).save(path)
    (tmp_path / "pairs.txt").write_text("2 1\na 1 2\na 1 b 1\nb 1 2\na 2 b 2\n")
    lines = ["a_0001 1", "a_0002 1", "a_0001 0", "b_0001 0", "b_0001 2", "b_0002 2", "a_0002 0", "b_0002 0"]
    (tmp_path / "pairs_CALFW.txt").write_text("\n".join(f"{line.replace(' ', '.jpg ')}" for line in lines))
    images = [(tmp_path / line[0] / f"{line.split()[0]}.jpg").read_bytes() for line in lines]
    write_bin(tmp_path / "set.bin", images, SAME)
    return tmp_path


def test_every_format_holds_the_same_pairs(photographs: Path) -> None:
    benchmarks = [
        lfw(photographs, 16),
        calfw(photographs, 16, "calfw", "pairs_CALFW.txt", folds=2),
        bin_file(photographs / "set.bin", 16, folds=2),
    ]
    for benchmark in benchmarks:
        benchmark.check()
        assert benchmark.pairs.same.tolist() == SAME
        levels = [float(benchmark.images()[i]["image"].float().mean()) for i in range(8)]
        assert levels == pytest.approx([40 * level for level in (0, 1, 0, 2, 2, 3, 1, 3)], abs=2)


def test_scores_follow_the_pairs(photographs: Path) -> None:
    near, far = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    embeddings = torch.stack([near, near, near, far, far, far, near, far])
    metrics = lfw(photographs, 16).score({"original": embeddings, "flipped": embeddings}).metrics
    assert (metrics["accuracy"], metrics["eer"], metrics["auc"]) == (1.0, 0.0, 1.0)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"agedb\.bin: cannot be read"):
        bin_file(tmp_path / "agedb.bin", 16).check()
