from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support_protection import coded_faces

from src.eval.protection.faces import CodedFaces, draw_non_mated, mated_pairs
from src.eval.protection.inversion import InversionSettings, inversion_metric_names, invert
from src.eval.protection.operating import operating_scores


def inverted(faces: CodedFaces, count: int = 50, impostors: int = 3000) -> dict[str, float]:
    pairs = mated_pairs(faces.labels), draw_non_mated(faces.labels, impostors, np.random.default_rng(0))
    return invert(faces, operating_scores(faces.codes, *pairs), *pairs, InversionSettings(count, (1, 2), 0))


@pytest.fixture(scope="module")
def metrics() -> dict[str, float]:
    return inverted(coded_faces(people=60, images=4, m=512, d=512))


def test_codes_and_weights_give_faces_away(metrics: dict[str, float]) -> None:
    assert tuple(metrics) == inversion_metric_names((1, 2))
    assert metrics["linear_cos"] > 0.8
    assert metrics["gradient_cos"] > metrics["linear_cos"]
    assert metrics["gradient_match"] > 0.99
    assert metrics["gradient_match_fresh"] > metrics["linear_match_fresh"] > 0.55
    assert metrics["accepted@eer"] == metrics["accepted@1e-3"] == metrics["accepted_fresh@1e-3"] == 1
    assert metrics["records_cos@2"] > metrics["records_cos@1"] + 0.05


def test_templates_alone_give_noise(metrics: dict[str, float]) -> None:
    assert metrics["templates_cos"] < 0.08
    assert metrics["templates_cos"] == pytest.approx(math.sqrt(2 / math.pi / 512), abs=0.015)
    assert abs(metrics["typical_cos"]) < 0.05


def test_a_typical_face_is_known_without_theft() -> None:
    assert inverted(coded_faces(mean=0.5))["typical_cos"] == pytest.approx(0.5**0.5, abs=0.05)


def test_without_thresholds_nothing_is_accepted_or_refused() -> None:
    metrics = inverted(coded_faces(), impostors=999)
    assert math.isnan(metrics["accepted@1e-3"])
    assert math.isnan(metrics["accepted_fresh@1e-3"])
    assert metrics["accepted@eer"] == 1


def test_short_codes_and_unlike_images_pass_less_often() -> None:
    faces = coded_faces(m=32, cosine=0.3, d=512)
    metrics = inverted(faces)
    assert metrics["accepted@1e-3"] == 1
    assert metrics["accepted_fresh@1e-3"] < 0.5
    assert metrics["genuine_fresh@1e-3"] < metrics["genuine_fresh@eer"] < 1


def test_at_most_so_many_people_are_attacked(metrics: dict[str, float]) -> None:
    faces = coded_faces(people=60, images=4, m=512, d=512)
    broken = replace(faces, embeddings=torch.where(torch.from_numpy(faces.labels)[:, None] < 5, faces.embeddings, 1.0))
    assert inverted(broken, count=5)["linear_cos"] == pytest.approx(0.83, abs=0.03)
