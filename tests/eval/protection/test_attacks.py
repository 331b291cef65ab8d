from __future__ import annotations

import logging
import math

import pytest
from support_protection import LIGHT, coded_faces

from src.errors import UserError
from src.eval.protection.attacks import Attacks, Findings
from src.eval.protection.faces import CodedFaces, mated_pairs
from src.eval.protection.keys import KEY_TYPES


def attack(faces: CodedFaces, attacks: Attacks = LIGHT, told: list[str] | None = None) -> Findings:
    return attacks.run(faces, mated_pairs(faces.labels), None if told is None else told.append)


def test_announces_the_metrics_it_gives() -> None:
    told: list[str] = []
    found = attack(coded_faces(), told=told)
    assert tuple(found.metrics) == LIGHT.metric_names
    assert not any(math.isinf(value) for value in found.metrics.values())
    assert told[: len(KEY_TYPES)] == [f"linking {key_type.title}" for key_type in KEY_TYPES]
    assert told[-1] == "collisions of codes"
    assert len(found.curves.linkability) == sum(len(key_type.scores) for key_type in KEY_TYPES)


def test_the_same_seed_gives_the_same_numbers() -> None:
    metrics = [attack(coded_faces(), Attacks(**(vars(LIGHT) | {"seed": seed}))).metrics for seed in (0, 0, 1)]
    assert repr(metrics[0]) == repr(metrics[1])  # NaN is not equal to itself
    assert repr(metrics[0]) != repr(metrics[2])


@pytest.mark.parametrize("q", [2, 4, 16])
def test_other_alphabets(q: int) -> None:
    metrics = attack(coded_faces(q=q)).metrics
    assert metrics["dsys_identifier"] < metrics["dsys_chance"] + 0.05
    assert metrics["dsys_stores"] > 0.5
    assert metrics["symbol_entropy"] == pytest.approx(math.log2(q), abs=0.1)


def test_tells_when_comparisons_are_few(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        attack(coded_faces())
    assert [record.getMessage()[:25] for record in caplog.records] == ["D_sys of 2000 comparisons"]


@pytest.mark.slow
def test_what_is_found_at_full_size() -> None:
    faces = coded_faces(people=100, images=6, m=512, d=512)
    metrics = attack(faces, Attacks(keys=6, key_pairs=10, inverted=40, records=[1])).metrics
    assert metrics["dsys_identifier"] < metrics["dsys_chance"] + 0.02 < 0.04
    assert metrics["dsys_stores"] > 0.99
    assert metrics["dsys_lut_shared_relabelled"] > 0.99
    assert metrics["dsys_lut_position_relabelled"] < 0.03
    assert metrics["renewed_passes"] == 1
    assert metrics["linear_cos"] == pytest.approx(0.837, abs=0.01)
    assert metrics["collision_error"] < 0.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": 1}, "keys: expected at least 2, found 1"),
        ({"keys": 4, "key_pairs": 7}, "key_pairs: there are 6 pairs of 4 keys, found 7"),
        ({"key_pairs": 0}, "key_pairs: expected at least 1"),
        ({"pairs": 999}, "pairs: expected at least 1000, found 999"),
        ({"bins": 1}, "bins: expected at least 2, or null; found 1"),
        ({"integral": "mean"}, "integral: expected sum or trapz"),
        ({"inverted": 0}, "inverted: expected at least 1"),
        ({"records": [0, 1]}, "records: expected at least 1, found 0"),
        ({"records": []}, "records: expected at least 1"),
        ({"seed": -1}, "seed: expected at least 0"),
    ],
)
def test_refuses(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Attacks(**options)
