"""Training on pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from src.errors import UserError
from src.losses.heads import CosFaceHead
from src.models.infrared_recognizer import InfraredRecognizer
from src.models.networks.infrared import InfraredBackbone
from src.models.networks.mini import MiniFaceNet
from src.models.optimization import cosine


class Pairs(L.LightningDataModule):
    """People whose visible images are all alike: only the near infrared tells them apart."""

    num_classes = 4
    batch_size = 10

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(0)
        patterns = torch.randn(4, 1, 16, 16, generator=generator)
        label = torch.arange(40) % 4
        nir = patterns[label] + 0.3 * torch.randn(40, 1, 16, 16, generator=generator)
        rows = [{"image": torch.zeros(3, 16, 16), "nir": row, "label": n} for row, n in zip(nir, label, strict=True)]
        return DataLoader(rows, batch_size=10)  # type: ignore[arg-type]


OPTIONS = {
    "head": partial(CosFaceHead, margin=0.2, scale=16.0),
    "optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "scheduler": partial(cosine, warmup_epochs=1),
}


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training batches")
def test_learns_from_the_near_infrared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = InfraredRecognizer(InfraredBackbone(MiniFaceNet(embedding_size=8, size=16)), **OPTIONS)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=12,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=Pairs())
    assert trainer.callback_metrics["train/loss"] < 1  # of guesses, at least log 4


def test_refuses_a_network_for_colours() -> None:
    with pytest.raises(UserError, match="MiniFaceNet takes no near infrared; choose model/backbone=vis_nir"):
        InfraredRecognizer(MiniFaceNet(embedding_size=8, size=16), **OPTIONS)
