from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from src.losses.heads import ArcFaceHead
from src.models.networks.mini import MiniFaceNet
from src.models.optimization import cosine
from src.models.recognizer import FaceRecognizer


class Data(L.LightningDataModule):
    num_classes = 5
    batch_size = 10

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(0)
        label = torch.arange(40) % 5
        image = torch.randn(5, 3, 16, 16, generator=generator)[label] + 0.3 * torch.randn(
            40, 3, 16, 16, generator=generator
        )
        return DataLoader(TensorDataset(image, label), batch_size=10, collate_fn=to_sample)


def to_sample(rows: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    images, labels = zip(*rows, strict=True)
    return {"image": torch.stack(images), "label": torch.stack(labels)}


def recognizer(**options: object) -> FaceRecognizer:
    return FaceRecognizer(
        MiniFaceNet(embedding_size=8, size=16),
        head=partial(ArcFaceHead, margin=0.2, scale=16.0),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        scheduler=partial(cosine, warmup_epochs=1),
        **options,  # type: ignore[arg-type]
    )


def fit(module: FaceRecognizer, tmp_path: Path, **options: object) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=6,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,  # type: ignore[arg-type]
    )
    trainer.fit(module, datamodule=Data())
    return trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training batches")
class TestTraining:
    def test_the_loss_falls_and_the_schedule_ends_at_zero(self, tmp_path: Path) -> None:
        L.seed_everything(0, verbose=False)
        module = recognizer()
        trainer = fit(module, tmp_path)
        assert module.head is not None
        assert module.head.weight.shape == (5, 8)
        assert trainer.global_step == 24
        assert trainer.callback_metrics["train/loss"] < 1.0
        assert trainer.callback_metrics["train/target_cosine"] > 0.5
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)

    def test_accumulated_batches_count_as_one_step(self, tmp_path: Path) -> None:
        trainer = fit(recognizer(), tmp_path, accumulate_grad_batches=2)
        assert trainer.global_step == 12
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)

    def test_norms_and_biases_can_be_spared_weight_decay(self, tmp_path: Path) -> None:
        trainer = fit(recognizer(decay_norm_and_bias=False), tmp_path)
        decay = [group["weight_decay"] for group in trainer.optimizers[0].param_groups]
        sizes = [max(p.ndim for p in group["params"]) for group in trainer.optimizers[0].param_groups]
        assert decay == [0, 0]
        assert sizes[1] == 1


def test_a_recognizer_that_only_embeds_has_no_head() -> None:
    module = recognizer().eval()
    assert module.head is None
    assert module(torch.zeros(2, 3, 16, 16)).shape == (2, 8)
