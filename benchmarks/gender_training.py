"""How long the gender-angular method trains on embeddings that were computed once, against the usual ways.

Run as ``python -m benchmarks.gender_training``: five minutes. ``--epochs 5`` takes seconds.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial

import lightning as L
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.evaluating.measure import cpu_seconds
from src.losses.gender_angular import GenderAngularLoss
from src.losses.heads import NormalizedSoftmaxHead
from src.models.gender_angular import GenderAngular
from src.models.networks.mini import MiniFaceNet
from src.models.networks.privacy_layer import PrivacyLayer
from src.models.suppression.training import FeatureDataModule

IMAGES, PEOPLE, DIMENSIONS, BATCH = 10_000, 500, 512, 128
STEPS = IMAGES // BATCH


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100, help="epochs of the rows on embeddings")
    epochs = parser.parse_args().epochs
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # layers this small gain nothing from a second thread, which waits busily
    seconds = {
        "backbone of 1.2 M parameters on 64 pixels in every step": cpu_seconds(backbone_epoch, 1) * epochs,
        "embeddings, a plain loop": cpu_seconds(partial(plain_loop, epochs), 1),
        "embeddings, GenderAngular by Lightning's Trainer": cpu_seconds(partial(by_trainer, epochs), 1),
    }
    table = Table("way", "CPU seconds", "ms per step", "ratio", title=f"{epochs} epochs of {IMAGES:,} x {DIMENSIONS}")
    reference = next(iter(seconds.values()))
    for name, value in seconds.items():
        table.add_row(name, f"{value:.1f}", f"{1000 * value / (epochs * STEPS):.2f}", f"{reference / value:.1f}x")
    console = Console(width=110)
    console.print(table)
    console.print("The first row is one epoch, times their number, and has no privacy layer.")


def backbone_epoch() -> None:
    """Embed every image of an epoch once, as training on images does."""
    network = MiniFaceNet(DIMENSIONS, 64).eval()
    images = torch.rand(BATCH, 3, 64, 64)
    with torch.no_grad():
        for _ in range(STEPS):
            network(images)


def plain_loop(epochs: int) -> None:
    """Train the layer and the class centres by a loop without a framework."""
    features, labels, attributes = population()
    layer = PrivacyLayer(DIMENSIONS)
    loss = make_loss(embedding_size=DIMENSIONS, class_attributes=torch.arange(PEOPLE) % 2)
    optimizer = torch.optim.Adam([*layer.parameters(), *loss.parameters()], lr=1e-3)
    for _ in range(epochs * STEPS):
        rows = torch.randint(IMAGES, (BATCH,))
        optimizer.zero_grad()
        loss(layer(features[rows]), labels[rows], attributes[rows]).loss.backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 5.0)
        optimizer.step()


def by_trainer(epochs: int) -> None:
    """Train the LightningModule, with balanced batches."""
    features, labels, attributes = population()
    backbone = nn.Identity()
    backbone.embedding_size = DIMENSIONS  # type: ignore[assignment]
    module = GenderAngular(backbone, PrivacyLayer, make_loss, partial(torch.optim.Adam, lr=1e-3))
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=5.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = FeatureDataModule(features, labels, attributes, batch_size=BATCH, balanced=True, seed=0)
    trainer.fit(module, datamodule=data)


def make_loss(embedding_size: int, class_attributes: Tensor) -> GenderAngularLoss:
    """The published loss."""
    return GenderAngularLoss(embedding_size, class_attributes, NormalizedSoftmaxHead)


def population() -> tuple[Tensor, Tensor, Tensor]:
    """Unit embeddings float32 [N, D] of made-up people, identities int64 [N] and genders int64 [N]."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(IMAGES) % PEOPLE
    people = torch.randn(PEOPLE, DIMENSIONS, generator=generator)
    people[:, 0] += 20 * (torch.arange(PEOPLE) % 2) - 10
    features = F.normalize(people[labels] + 0.5 * torch.randn(IMAGES, DIMENSIONS, generator=generator))
    return features, labels, labels % 2


if __name__ == "__main__":
    main()
