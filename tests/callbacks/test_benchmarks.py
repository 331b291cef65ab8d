from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from support_codes import random_hash
from torch import Tensor, nn
from torch.utils.data import Dataset

from src.callbacks.benchmarks import BenchmarkCallback
from src.datamodules.evaluation_images import NumberedImage
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.collector import Collected, EmbeddingCollector
from src.eval.embedding_cache import EmbeddingCache
from src.eval.matching import Matcher, SymbolMatcher
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated
from src.models.embedding_module import EmbeddingModule
from src.ops.hashing import RankHash


class Numbers(Dataset[NumberedImage]):
    """Image i is the constant i."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.to_embed = np.arange(count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> NumberedImage:
        return NumberedImage(image=torch.full((4, 4, 3), index, dtype=torch.uint8), index=index)


class Sum:
    """A benchmark whose metric is the sum of all embeddings."""

    metric_names = ("sum",)

    def __init__(self, count: int) -> None:
        self.count = count
        self.fingerprint = f"{count} numbers"

    def check(self) -> None:
        pass

    def images(self) -> Numbers:
        return Numbers(self.count)

    def collector(self, alphabet: int | None = None) -> EmbeddingCollector:
        return EmbeddingCollector(self.count, "sum", alphabet=alphabet)

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        return BenchmarkScore({"sum": float(collected["original"].sum())})


class Brightness(nn.Module):
    """Embedding of one number, that of the image."""

    embedding_size = 1

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += len(image)
        return ((image[:, :1, 0, 0] + 1) * 127.5).round() * self.factor


class Trained(EmbeddingModule):
    """Has a training step that learns nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.backbone.factor * 0.0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def no_source() -> Any:
    raise AssertionError("evaluation opens no training data")


def datamodule(**benchmarks: Any) -> FaceDataModule:
    return FaceDataModule(no_source, batch_size=7, num_workers=0, benchmarks=benchmarks)


def make_trainer(tmp_path: Path, callback: BenchmarkCallback, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        **options,
    )


def total(count: int) -> float:
    return count * (count - 1) / 2


def test_embeddings_of_every_benchmark_are_collected(tmp_path: Path) -> None:
    callback = BenchmarkCallback()
    trainer = make_trainer(tmp_path, callback)
    trainer.validate(EmbeddingModule(Brightness()), datamodule=datamodule(a=Sum(20), b=Sum(12)), verbose=False)
    assert callback.collected["a"]["original"].flatten().tolist() == list(range(20))
    assert torch.equal(callback.collected["b"]["flipped"], torch.arange(12.0)[:, None])
    assert not trainer.callback_metrics


def train_one_epoch(
    tmp_path: Path, callback: BenchmarkCallback, benchmarks: dict[str, Any], module: EmbeddingModule | None = None
) -> L.Trainer:
    class Data(FaceDataModule):
        def train_dataloader(self) -> Any:
            return [{"image": torch.zeros(1, 4, 4, 3, dtype=torch.uint8)}]

        def setup(self, stage: str) -> None:
            pass

        def teardown(self, stage: str) -> None:
            pass

    data = Data(no_source, batch_size=7, num_workers=0, benchmarks=benchmarks)
    trainer = make_trainer(tmp_path, callback, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False)
    trainer.fit(module or Trained(Brightness()), datamodule=data)
    return trainer


def test_training_scores_and_logs(tmp_path: Path) -> None:
    callback = BenchmarkCallback()
    trainer = train_one_epoch(tmp_path, callback, {"a": Sum(20)})
    assert trainer.callback_metrics["val/a/sum"] == total(20)
    assert callback.collected == {}


def test_privacy_is_measured_while_training(tmp_path: Path) -> None:
    class Nosy(Sum):
        def privacy(
            self, name: str, benchmarks: Any, evaluated: Evaluated, *, unprotected: Evaluated | None, **options: Any
        ) -> BenchmarkScore:
            seen = float(len(evaluated.scores))
            before = {} if unprotected is None else {"pic": unprotected.scores[name].privacy["known"]}
            return replace(evaluated.scores[name], privacy={"known": seen, **before})

    callback = BenchmarkCallback()
    benchmarks = {"a": Nosy(20), "b": Sum(12)}
    trainer = train_one_epoch(tmp_path, callback, benchmarks)
    assert trainer.callback_metrics["val/a/known"] == 2
    assert "val/a/pic" not in trainer.callback_metrics
    callback.unprotected = Evaluated({}, {"a": BenchmarkScore({}, privacy={"known": 5.0})})
    assert train_one_epoch(tmp_path, callback, benchmarks).callback_metrics["val/a/pic"] == 5


class Coded(Trained):
    """Its codes of image i are the two symbols i and 19 - i."""

    alphabet = 32

    def __init__(self) -> None:
        super().__init__(Brightness())

    def forward(self, image: Tensor) -> Tensor:
        brightness = self.backbone(image)
        return torch.cat([brightness, 19 - brightness], dim=1).to(torch.uint8)

    @property
    def matcher(self) -> SymbolMatcher:
        return SymbolMatcher(32)

    def rank_hash(self) -> RankHash:
        return random_hash(2, 32)


def test_codes_reach_benchmarks_with_what_compares_and_made_them(tmp_path: Path) -> None:
    class Nosy(Sum):
        def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
            assert isinstance(matcher, SymbolMatcher)
            assert collected["original"].tolist() == [[i, 19 - i] for i in range(20)]
            assert collected["original"].dtype == torch.uint8
            return BenchmarkScore({"sum": float(matcher.pairs(collected["original"], collected["flipped"]).sum())})

        def privacy(self, name: str, benchmarks: Any, evaluated: Evaluated, **options: Any) -> BenchmarkScore:
            assert evaluated.rank_hash is not None
            return replace(evaluated.scores[name], privacy={"q": float(evaluated.rank_hash.q)})

    trainer = train_one_epoch(tmp_path, BenchmarkCallback(), {"a": Nosy(20)}, Coded())
    assert trainer.callback_metrics["val/a/sum"] == 20
    assert trainer.callback_metrics["val/a/q"] == 32
    callback = BenchmarkCallback()
    callback.cache = EmbeddingCache(tmp_path / "cache")
    for _ in range(2):  # from the network, then from the cache
        make_trainer(tmp_path, callback).validate(Coded(), datamodule=datamodule(a=Sum(20)), verbose=False)
        assert callback.collected["a"]["flipped"].dtype == torch.uint8


def test_a_limited_validation_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, BenchmarkCallback(), limit_val_batches=1)
    with pytest.raises(UserError, match="7 embeddings for 40 images"):
        trainer.validate(EmbeddingModule(Brightness()), datamodule=datamodule(a=Sum(40)), verbose=False)


def test_what_is_cached_is_not_embedded_again(tmp_path: Path) -> None:
    callback = BenchmarkCallback()
    callback.cache = EmbeddingCache(tmp_path / "cache")
    trainer = make_trainer(tmp_path, callback)

    def images_embedded(network: Brightness, **benchmarks: Any) -> int:
        before = network.calls
        trainer.validate(EmbeddingModule(network), datamodule=datamodule(**benchmarks), verbose=False)
        assert {name: float(collected["original"].sum()) for name, collected in callback.collected.items()} == {
            name: pytest.approx(total(benchmark.count) * network.factor.item())
            for name, benchmark in benchmarks.items()
        }
        return network.calls - before

    network = Brightness()
    assert images_embedded(network, a=Sum(20)) == 2 * 20
    assert images_embedded(network, a=Sum(20)) == 0
    assert images_embedded(network, a=Sum(20), b=Sum(12)) == 2 * 12
    assert images_embedded(network, other_name=Sum(12)) == 0
    with torch.no_grad():
        network.factor.fill_(2.0)
    assert images_embedded(network, a=Sum(20), b=Sum(12)) == 2 * 32
    callback.cache = None
    assert images_embedded(network, a=Sum(20)) == 2 * 20


@pytest.mark.slow
def test_two_processes_embed_every_image_once(tmp_path: Path) -> None:
    callback = BenchmarkCallback()
    callback.cache = EmbeddingCache(tmp_path / "cache")
    network = Brightness()
    for options in ({"devices": 2, "strategy": "ddp_spawn"}, {"devices": 1}):
        trainer = make_trainer(tmp_path, callback, **options)
        trainer.validate(EmbeddingModule(network), datamodule=datamodule(a=Sum(21), b=Sum(8)), verbose=False)
    assert network.calls == 0  # the two processes left their joint embeddings in the cache
    assert callback.collected["a"]["original"].flatten().tolist() == list(range(21))


def test_flipped_embedding_is_that_of_the_mirror_image() -> None:
    module = EmbeddingModule(nn.Flatten())
    image = torch.arange(24.0).view(2, 3, 2, 2)
    output = EmbeddingModule.validation_step(module, {"image": image, "index": torch.arange(2)}, 0)
    assert torch.equal(output["embedding"], image.flatten(1))
    assert torch.equal(output["flipped"], image.flip(-1).flatten(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
        lambda: nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh()),
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double(),
    ],
)
def test_fingerprints_tell_networks_apart(change: Callable[[], nn.Module]) -> None:
    def fingerprint(make: Callable[[], nn.Module], seed: int = 0) -> str:
        torch.manual_seed(seed)
        return EmbeddingModule(make()).fingerprint()

    def original() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), nn.Tanh())

    assert fingerprint(original) == fingerprint(original) != fingerprint(original, seed=1)
    assert fingerprint(change) != fingerprint(original)
