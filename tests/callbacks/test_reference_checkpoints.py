from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.reference_checkpoints import ReferenceCheckpoints
from src.models.networks.privacy_weights import read_header, read_layer

EPOCHS, STEPS = 6, 3


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Loss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3, bias=False)


class Finetune(L.LightningModule):
    """A layer and a classifier of three identities, and what they were at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.loss = Layer(), Loss()
        self.seen: dict[int, tuple[dict[str, Tensor], Tensor]] = {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.loss.head(self.layer(batch[0])), batch[1])

    def on_train_epoch_end(self) -> None:
        layer = {name: value.clone() for name, value in self.layer.state_dict().items()}
        self.seen[self.global_step] = (layer, self.loss.head.weight.detach().clone())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.1)


def fit(folder: Path, **options: int) -> Finetune:
    torch.manual_seed(0)
    module, data = Finetune(), TensorDataset(torch.randn(12, 4), torch.arange(12) % 3)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[ReferenceCheckpoints(folder, **options)],
    )
    trainer.fit(module, DataLoader(data, batch_size=12 // STEPS))
    return module


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"every_n_epochs": 1, "min_step": 0}, {3, 6, 9, 12, 15, 18}),
        ({"every_n_epochs": 2, "min_step": 0}, {6, 12, 18}),
        ({"every_n_epochs": 2, "min_step": 6}, {12, 18}),
        ({"every_n_epochs": 4, "min_step": 5}, {12}),
        ({}, set()),
    ],
)
def test_files_are_written_at_the_epochs_that_are_due(options: dict[str, int], steps: set[int], tmp_path: Path) -> None:
    fit(tmp_path / "reference", **options)
    expected = {f"{step}{name}.pth" for step in steps for name in ("ftn_layers", "header")}
    assert {path.name for path in tmp_path.glob("reference/*")} == expected


def test_files_hold_the_weights_of_their_step(tmp_path: Path) -> None:
    module = fit(tmp_path, every_n_epochs=3, min_step=0)
    assert {path.name for path in tmp_path.glob("*ftn_layers.pth")} == {"9ftn_layers.pth", "18ftn_layers.pth"}
    for step in (9, 18):
        layer, weight = module.seen[step]
        found = read_layer(tmp_path / f"{step}ftn_layers.pth")
        assert list(found) == ["proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias"]
        assert all(torch.equal(found[name], layer[name]) for name in layer)
        content = torch.load(tmp_path / f"{step}header.pth", weights_only=True)
        assert list(content) == ["kernel"]
        assert content["kernel"].shape == (4, 3)
        assert torch.equal(content["kernel"].T, weight)
        assert torch.equal(read_header(tmp_path / f"{step}header.pth"), weight)
