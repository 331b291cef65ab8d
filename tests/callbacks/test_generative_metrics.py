from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from support_gan import fit, gan
from torch import Tensor, nn

from src.callbacks.generative_metrics import GenerativeMetricsCallback
from src.callbacks.loggers import RunCSVLogger

pytestmark = pytest.mark.filterwarnings("ignore")


class Pooled(nn.Module):
    """Coarse pixels as features."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return nn.functional.adaptive_avg_pool2d(images, 1).flatten(1)


def test_metrics_at_intervals_and_at_the_end(tmp_path: Path) -> None:
    extractor = Pooled()
    callback = GenerativeMetricsCallback(every_kimg=0.008, images=30, extractors={"pooled": extractor})
    trainer = fit(gan(kimg=0.020), tmp_path, callbacks=[callback], logger=RunCSVLogger(tmp_path))
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("Metrics/fid@pooled")]
    assert [int(row["step"]) for row in rows] == [2, 4, 5]
    expected = {"fid@pooled", "fid_NIR@pooled", "kid@pooled", "precision@pooled", "edge_agreement"}
    assert {f"Metrics/{name}" for name in expected} <= {name for name, value in rows[-1].items() if value}
    assert trainer.callback_metrics["Metrics/fid@pooled"] == pytest.approx(float(rows[-1]["Metrics/fid@pooled"]))
    assert extractor.calls == [24, 24, 30, 30, 30, 30, 30, 30]  # real images once, of both spectra


def test_untrained_generator_is_measured_on_request(tmp_path: Path) -> None:
    callback = GenerativeMetricsCallback(images=8, at_start=True)
    fit(gan(kimg=0.008), tmp_path, callbacks=[callback], logger=RunCSVLogger(tmp_path))
    with open(tmp_path / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("Metrics/edge_agreement")]
    assert steps == [0, 2]


def test_same_images_every_time(tmp_path: Path) -> None:
    module = gan(kimg=0.004)
    fit(module, tmp_path)
    callback = GenerativeMetricsCallback(images=8)
    data = module.trainer.datamodule  # type: ignore[attr-defined]
    state = torch.get_rng_state()
    one, other = (torch.cat([vis for vis, _ in callback._generated(module, data)]) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
