from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from src.callbacks.benchmarks import BenchmarkCallback
from src.datamodules.verification_sets import VerificationSet
from src.eval.benchmark import VerificationBenchmark
from src.models.embedding_module import EmbeddingModule


class Numbered(Dataset):
    """Image i is the constant i."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": torch.full((3, 4, 4), float(index)), "index": index}


class Angle(nn.Module):
    """Images 2i and 2i + 1 of a genuine pair differ by little, those of an impostor pair by much."""

    embedding_size = 2

    def forward(self, image: Tensor) -> Tensor:
        number = image[:, 0, 0, 0]
        odd, impostor = number % 2, (number // 2) % 2
        angle = number // 2 * 0.01 + odd * (0.1 + impostor)
        return torch.stack([angle.cos(), angle.sin()], 1)


class Pairs(VerificationBenchmark):
    def __init__(self, count: int) -> None:
        same = np.arange(count) % 2 == 0
        super().__init__(lambda: VerificationSet("pairs", [b""] * (2 * count), same, folds=2), size=4)  # type: ignore[list-item]

    def images(self) -> Numbered:  # type: ignore[override]
        return Numbered(len(self.pairs.images))


class Data(L.LightningDataModule):
    def __init__(self, benchmarks: dict[str, Any]) -> None:
        super().__init__()
        self.benchmarks = benchmarks

    def val_dataloader(self) -> list[DataLoader]:
        return [DataLoader(benchmark.images(), batch_size=7) for benchmark in self.benchmarks.values()]


def test_every_benchmark_is_scored_and_logged(tmp_path: Path) -> None:
    callback = BenchmarkCallback()
    trainer = L.Trainer(
        accelerator="cpu", callbacks=[callback], logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    data = Data({"easy": Pairs(20), "other": Pairs(12)})
    trainer.validate(EmbeddingModule(Angle()), datamodule=data, verbose=False)
    assert callback.scores["easy"].metrics["accuracy"] == 1.0
    assert callback.scores["other"].metrics["eer"] == 0.0
    assert trainer.callback_metrics["val/easy/accuracy"] == 1.0
    assert {name.split("/")[1] for name in trainer.callback_metrics} == {"easy", "other"}


def test_a_limited_validation_is_refused(tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[BenchmarkCallback()],
        logger=False,
        enable_progress_bar=False,
        limit_val_batches=1,
        default_root_dir=tmp_path,
    )
    with pytest.raises(ValueError, match="7 embeddings for 40 images"):
        trainer.validate(EmbeddingModule(Angle()), datamodule=Data({"easy": Pairs(20)}), verbose=False)


def test_flipped_embedding_is_that_of_the_mirror_image() -> None:
    module = EmbeddingModule(nn.Flatten())
    image = torch.arange(24.0).view(2, 3, 2, 2)
    output = EmbeddingModule.validation_step(module, {"image": image, "index": torch.arange(2)}, 0)
    assert torch.equal(output["embedding"], image.flatten(1))
    assert torch.equal(output["flipped"], image.flip(-1).flatten(1))
