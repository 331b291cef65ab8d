from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from support_toy import toy
from torch import Tensor, nn

from src.errors import UserError
from src.models.suppression.training import FeatureDataModule, fit_on_features

DATA = toy(20, 5)


class Recorder(L.LightningModule):
    """Keeps what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.batches: list[dict[str, Tensor]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.batches.append({name: tensor.cpu() for name, tensor in batch.items()})
        return self.factor.square()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def record(**options: Any) -> list[dict[str, Tensor]]:
    module = Recorder()
    embeddings, attributes, labels = DATA
    fit_on_features(module, embeddings, labels, attributes, **{"epochs": 2, "batch_size": 32, **options})
    return module.batches


def test_a_batch_holds_rows_of_the_data() -> None:
    for batch in record():
        assert {name: tensor.dtype for name, tensor in batch.items()} == {
            "feature": torch.float32,
            "label": torch.int64,
            "attribute": torch.int64,
        }
        rows = [int((DATA.embeddings == feature).all(1).nonzero()) for feature in batch["feature"]]
        assert torch.equal(batch["label"], DATA.labels[rows])
        assert torch.equal(batch["attribute"], DATA.attributes[rows])


def test_only_full_batches_are_drawn() -> None:
    batches = record()
    assert [len(batch["label"]) for batch in batches] == [32] * 6


def test_without_balance_every_embedding_is_drawn_once() -> None:
    (first, second) = record(batch_size=100, balanced=False)
    assert not torch.equal(first["feature"], second["feature"])
    for batch in (first, second):
        assert batch["label"].bincount().tolist() == [5] * 20


def test_the_order_is_that_of_the_seed_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    labels = [torch.cat([batch["label"] for batch in record(seed=seed)]) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2])


def test_a_module_ends_in_evaluation_mode() -> None:
    module = Recorder()
    fit_on_features(module, DATA.embeddings, DATA.labels, DATA.attributes, epochs=1, batch_size=32)
    assert not module.training
    assert module.factor < 1


def test_weights_of_two_women_and_four_men() -> None:
    attributes = torch.tensor([0, 1, 1, 1, 1, 0])
    data = FeatureDataModule(torch.eye(6), torch.arange(6), attributes, batch_size=2, balanced=True, seed=0)
    assert data.weights.tolist() == [3, 1.5, 1.5, 1.5, 1.5, 3]
    drawn = torch.cat([batch["attribute"] for _ in range(200) for batch in data.train_dataloader()])
    assert len(drawn) == 1200


def test_balanced_batches_hold_both_genders_equally_often() -> None:
    attributes = torch.tensor([0] * 10 + [1] * 190)
    data = FeatureDataModule(torch.zeros(200, 2), torch.arange(200), attributes, batch_size=200, balanced=True, seed=0)
    loader = data.train_dataloader()
    share = torch.cat([batch["attribute"] for _ in range(20) for batch in loader]).double().mean()
    assert share == pytest.approx(0.5, abs=0.03)


def test_the_data_names_the_gender_of_every_identity() -> None:
    data = FeatureDataModule(
        torch.zeros(4, 2),
        torch.tensor([0, 0, 3, 1]),
        torch.tensor([1, 1, 0, 1]),
        batch_size=2,
        balanced=True,
        seed=0,
    )
    assert data.num_classes == 4
    assert data.class_attributes.tolist() == [1, 1, -1, 0]
    assert data.class_attributes.dtype == torch.int8


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size=101: expected between 1 and 100"):
        record(batch_size=101)
