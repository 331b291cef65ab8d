from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from support_gan import NETWORK, fit, gan, pairs
from torch import Tensor, nn

from src.callbacks.generated_faces import rows_of_people
from src.callbacks.generative_metrics import GenerativeMetricsCallback
from src.callbacks.loggers import RunCSVLogger
from src.errors import UserError
from src.eval.generative.features import RecogniserFeatures
from src.eval.generative.path_length import feature_distance, perceptual_path_length
from src.models.networks.stylegan2 import Generator

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
    callback = GenerativeMetricsCallback(every_kimg=0.008, images=30, extractors={"pooled": extractor}, path_samples=4)
    trainer = fit(gan(kimg=0.020), tmp_path, callbacks=[callback], logger=RunCSVLogger(tmp_path))
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("Metrics/fid@pooled")]
    assert [int(row["step"]) for row in rows] == [2, 4, 5]
    expected = {"fid@pooled", "fid_NIR@pooled", "kid@pooled", "precision@pooled", "edge_agreement"}
    assert {f"Metrics/{name}" for name in expected} <= {name for name, value in rows[-1].items() if value}
    assert trainer.callback_metrics["Metrics/fid@pooled"] == pytest.approx(float(rows[-1]["Metrics/fid@pooled"]))
    # Real images once, of both spectra; path lengths at the end.
    assert extractor.calls == [24, 24, 30, 30, 30, 30, 30, 30, 4, 4, 4, 4]
    assert rows[-1]["Progress/kimg"] == "0.02"
    assert {"Metrics/ppl@pooled", "Metrics/ppl_NIR@pooled"} <= set(trainer.callback_metrics)
    assert trainer.callback_metrics["Metrics/fid@pooled"] == pytest.approx(callback.measured.metrics["fid@pooled"])


def test_untrained_generator_is_measured_on_request(tmp_path: Path) -> None:
    callback = GenerativeMetricsCallback(images=8, at_start=True)
    fit(gan(kimg=0.008), tmp_path, callbacks=[callback], logger=RunCSVLogger(tmp_path))
    with open(tmp_path / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("Metrics/edge_agreement")]
    assert steps == [0, 2]


def test_same_images_every_time(tmp_path: Path) -> None:
    generator, data = gan().average, pairs()
    state = torch.get_rng_state()
    one, other = (GenerativeMetricsCallback(images=8).measure(generator, data).metrics for _ in range(2))
    assert one == other
    assert torch.equal(torch.get_rng_state(), state)


class Toy(nn.Module):
    """Embeds images of any size by their colours."""

    size = None

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def recogniser(**options: Any) -> GenerativeMetricsCallback:
    arguments: dict[str, Any] = {
        "images": 12,
        "extractors": {"toy": RecogniserFeatures(Toy())},
        "identities": 4,
        "samples": 3,
    }
    return GenerativeMetricsCallback(**(arguments | options))


def test_a_recogniser_tells_synthetic_people_apart() -> None:
    found = recogniser().measure(gan().average, pairs())
    expected = {"eer", "auc", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "fdr", "decidability"}
    expected |= {"nearest_training", "fid", "fid_NIR", "kid", "kid_NIR", "precision", "precision_NIR", "recall"}
    assert {name for name in found.metrics if name.endswith("@toy")} == {
        f"{name}@toy" for name in expected | {"recall_NIR"}
    }
    curve = found.identities["toy"].curve
    assert (len(curve.genuine), len(curve.impostor)) == (4 * 3, 9 * 4 * 3 // 2)
    assert found.metrics["genuine_mean@toy"] == pytest.approx(curve.genuine.mean())
    assert len(found.real["toy"].curve.genuine) == 6  # 12 of 24 images of 6 people


def test_every_synthetic_person_has_one_identity_feature() -> None:
    given: list[Tensor] = []
    generator, data = gan().average, pairs()
    generator.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    recogniser().measure(generator, data)
    rows = [int(row) for (row,) in rows_of_people(data, 4, 1, 0)]
    assert torch.equal(given[-1], data.label_bank.labels[rows].repeat_interleave(3, dim=0))


def test_no_people_without_identities() -> None:
    found = recogniser(identities=0).measure(gan().average, pairs())
    assert found.identities == {}
    assert "eer@toy" not in found.metrics
    unconditional = gan(generator=Generator(**NETWORK, z_dim=8, w_dim=8, mapping_layers=2)).average
    found = recogniser(path_samples=4).measure(unconditional, pairs(), path_lengths=True)
    assert "eer@toy" not in found.metrics
    assert found.metrics["ppl@toy"] > 0


def test_path_lengths_on_request() -> None:
    generator, data = gan().average, pairs()
    callback = recogniser(path_samples=6)
    assert "ppl@toy" not in callback.measure(generator, data).metrics
    found = callback.measure(generator, data, path_lengths=True).metrics
    conditions = data.label_bank.draw(6, torch.Generator().manual_seed(0))
    vis, nir = perceptual_path_length(generator, feature_distance(Toy()), conditions)  # type: ignore[arg-type]
    assert (found["ppl@toy"], found["ppl_NIR@toy"]) == (pytest.approx(vis), pytest.approx(nir))
    assert "ppl@toy" not in recogniser(path_samples=0).measure(generator, data, path_lengths=True).metrics


def test_names_of_what_is_logged_at_intervals() -> None:
    callback = recogniser()
    found = {f"Metrics/{name}" for name in callback.measure(gan().average, pairs()).metrics}
    of_people = {"Metrics/edge_agreement_real", "Metrics/edge_agreement_shuffled_real"}
    assert set(callback.metric_names) == found - of_people


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"images": 9}, "callbacks.metrics.images: expected at least 10, found 9"),
        ({"identities": 1}, "expected two people or more and two images or more of each, or no people; found 1 and 3"),
        ({"samples": 1}, "found 4 and 1"),
    ],
)
def test_too_few_to_measure(options: dict[str, int], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        recogniser(**options)
