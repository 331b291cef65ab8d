from __future__ import annotations

import pytest

from src.eval.metric_format import format_metric, is_percentage, lower_is_better, metric_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fid@demo", "FID (demo)"),
        ("fid_NIR@demo", "FID, near infrared (demo)"),
        ("precision_NIR@inception", "precision, near infrared (inception)"),
        ("is_std@inception", "Inception score, deviation (inception)"),
        ("ppl@demo", "perceptual path length (demo)"),
        ("edge_agreement_real", "agreement of edges, real pairs"),
        ("eer@demo", "EER (demo)"),
        ("nearest_training@demo", "cosine to the nearest real person (demo)"),
        ("nearest_training", "cosine to the nearest real person"),
        ("genuine_mean", "cosine of one person's images"),
        ("membership_auc", "who was trained on, attacker AUC"),
        ("tar@1e-4", "TAR @ FAR 1e-4"),
        ("something_new@x", "something new@x"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert metric_title(name) == title


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("fid@demo", 12.3456, "12.35"),
        ("fid_NIR@demo", 151.4318, "151.4"),
        ("kid@demo", -0.000123456, "-0.0001235"),
        ("precision_NIR@demo", 0.90625, "90.62"),
        ("eer@demo", 0.125, "12.50"),
        ("breached", 0.001, "0.10"),
        ("eer_threshold", 0.35, "0.3500"),
        ("decidability@demo", 2.34567, "2.346"),
        ("edge_agreement", 0.5, "0.5000"),
        ("ppl@demo", float("nan"), "—"),
    ],
)
def test_values(name: str, value: float, text: str) -> None:
    assert format_metric(name, value) == text


def test_rates_are_percentages() -> None:
    assert all(is_percentage(name) for name in ("recall_NIR@demo", "eer@demo", "breached"))
    assert not any(is_percentage(name) for name in ("fid@demo", "auc@demo", "membership_auc", "eer_threshold"))


def test_distances_are_best_where_they_are_lowest() -> None:
    assert all(lower_is_better(name) for name in ("fid@demo", "kid_NIR@demo", "ppl@demo"))
    assert not any(lower_is_better(name) for name in ("accuracy", "edge_agreement", "tar@1e-4"))
